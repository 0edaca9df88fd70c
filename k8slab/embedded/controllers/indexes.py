"""The numbers of an Indexed Job's pods as runs without gaps: ``0-4,7``.

A Job may have 2^31 - 1 numbers, so nothing here counts through them: a set of numbers is a tuple
of runs, and costs as much as it has gaps. Source: ``pkg/controller/job/indexed_job_utils.go``
(orderedIntervals, firstPendingIndexes).
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NUMBER = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Indexes:
    """A set of numbers; `runs` are (first, last), in order, and none touches the next."""

    runs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, text: str, limit: int) -> Indexes:
        """Read what ``completedIndexes`` says of the numbers below `limit`."""
        found = []
        for part in text.split(","):
            first, _, last = part.partition("-")
            numbers = [int(n) for n in (first, last or first) if _NUMBER.fullmatch(n)]
            if len(numbers) == 2 and numbers[0] < limit:
                found.append((numbers[0], min(numbers[1], limit - 1)))
        return cls(_joined(found))

    def including(self, numbers: Iterable[int]) -> Indexes:
        """Return the set with these numbers in it."""
        return Indexes(_joined([*self.runs, *((number, number) for number in numbers)]))

    def united(self, other: Indexes) -> Indexes:
        """Return the set of the numbers that are in one or the other."""
        return Indexes(_joined([*self.runs, *other.runs]))

    def common(self, other: Indexes) -> int:
        """Return how many numbers are in both."""
        return len(self) + len(other) - len(self.united(other))

    def missing(self, limit: int, count: int) -> list[int]:
        """Return the first `count` numbers below `limit` that are not in the set."""
        found: list[int] = []
        begin = 0
        for first, last in (*self.runs, (limit, limit)):
            end = min(first, limit, begin + count - len(found))
            found.extend(range(begin, end))
            begin = max(begin, last + 1)
        return found

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self.runs, (number, sys.maxsize)) - 1
        return place >= 0 and number <= self.runs[place][1]

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)

    def __str__(self) -> str:
        return ",".join(_text(first, last) for first, last in self.runs)


def _joined(runs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    made: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if made and first <= made[-1][1] + 1:
            made[-1] = (made[-1][0], max(made[-1][1], last))
        else:
            made.append((first, last))
    return tuple(made)


def _text(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"
