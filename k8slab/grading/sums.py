"""Points of several exercises together: the core, which everybody does, and what goes beyond it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.grading.result import Result


@dataclass(frozen=True, slots=True)
class Sum:
    """Points that were made, of those there were to make."""

    points: float = 0
    max_points: float = 0

    @property
    def percent(self) -> float:
        """Return the points in percent of those there were to make; 0 without any."""
        return 100 * self.points / self.max_points if self.max_points else 0.0

    def __str__(self) -> str:
        """Return it for a text."""
        return f"{self.points:g} of {self.max_points:g}"


def of(results: Iterable[Result]) -> Sum:
    """Add results up."""
    found = [*results]
    return Sum(sum(one.points for one in found), sum(one.max_points for one in found))


def core(results: Iterable[Result]) -> Sum:
    """Add up what everybody does."""
    return of(one for one in results if not one.stretch)


def stretch(results: Iterable[Result]) -> Sum:
    """Add up what goes beyond the core."""
    return of(one for one in results if one.stretch)


def told(results: Sequence[Result], unit: str = "") -> str:
    """Say the sum, and where there is both, how much of it is the core's and how much is beyond."""
    every = f"{of(results)}{unit}"
    if len({one.stretch for one in results}) < 2:
        return every
    return f"{every} (core {core(results)}, stretch {stretch(results)})"
