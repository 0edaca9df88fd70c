"""Sets of whole numbers as their boundaries: canonical, exact, small.

A set is the sorted tuple of the numbers at which membership changes: ``(80, 81, 443, 444)``
is {80, 443}. Equal sets have equal tuples, whatever way they were made, so they can be
compared and hashed. A number is inside when an odd number of boundaries lies at or below
it. Every operation is one walk along the boundaries of both sides: its cost grows with the
number of ranges and not with their length, so that all ports, and all IPv6 addresses, cost
two boundaries. Results of the operations are remembered, because policies repeat
themselves: an estate with thousands of rules has a few dozen sets of ports.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

Bounds = tuple[int, ...]

REMEMBERED = 1 << 16
"""Results kept for each operation."""


@dataclass(frozen=True, slots=True, order=True)
class IntervalSet:
    """A set of whole numbers; `bounds` are the places where membership changes."""

    bounds: Bounds = ()

    @classmethod
    def span(cls, first: int, last: int) -> Self:
        """Return the set of all numbers from `first` to `last`, both included."""
        return cls((first, last + 1)) if first <= last else cls()

    @classmethod
    def union(cls, parts: Iterable[IntervalSet]) -> Self:
        """Return everything that is in any part."""
        bounds: Bounds = ()
        for part in parts:
            bounds = unite(bounds, part.bounds)
        return cls(bounds)

    def __or__(self, other: Self) -> Self:
        return type(self)(unite(self.bounds, other.bounds))

    def __and__(self, other: Self) -> Self:
        return type(self)(meet(self.bounds, other.bounds))

    def __sub__(self, other: Self) -> Self:
        return type(self)(lessen(self.bounds, other.bounds))

    def __bool__(self) -> bool:
        return bool(self.bounds)

    def __contains__(self, number: int) -> bool:
        return bool(bisect_right(self.bounds, number) & 1)

    def __len__(self) -> int:
        """Return how many ranges there are (numbers would not fit into a length)."""
        return len(self.bounds) // 2

    def covers(self, other: Self) -> bool:
        """Say whether all of `other` is in this set."""
        return not lessen(other.bounds, self.bounds)

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges as first and last number, in order."""
        bounds = self.bounds
        return ((bounds[i], bounds[i + 1] - 1) for i in range(0, len(bounds), 2))


def _walk(left: Bounds, right: Bounds, keep: Callable[[int, int], int]) -> Bounds:
    """Return the boundaries of what `keep` keeps, given membership left and right (0 or 1)."""
    found: list[int] = []
    i = j = inside = 0
    while i < len(left) or j < len(right):
        if j == len(right) or (i < len(left) and left[i] <= right[j]):
            place = left[i]
            j += j < len(right) and right[j] == place
            i += 1
        else:
            place = right[j]
            j += 1
        now = keep(i & 1, j & 1)
        if now != inside:
            found.append(place)
            inside = now
    return tuple(found)


@lru_cache(REMEMBERED)
def unite(left: Bounds, right: Bounds) -> Bounds:
    """Return the boundaries of what is in any of two sets."""
    return _walk(left, right, lambda a, b: a | b)


@lru_cache(REMEMBERED)
def meet(left: Bounds, right: Bounds) -> Bounds:
    """Return the boundaries of what is in both sets."""
    return _walk(left, right, lambda a, b: a & b)


@lru_cache(REMEMBERED)
def lessen(left: Bounds, right: Bounds) -> Bounds:
    """Return the boundaries of what is in the left set alone."""
    return _walk(left, right, lambda a, b: a & ~b & 1)
