"""Look again until it is stable, never for a fixed time.

Real clusters are asynchronous: what was applied a moment ago may not be in force yet. So a
wish that is not fulfilled is looked at again, at growing intervals, until

- it is fulfilled (twice in a row, so that a passing moment does not count), or
- nothing changes any more: the same was seen `SETTLED` times in a row and the objects are
  settled; or, where a provider enforces at its leisure, until the deadline.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SETTLED = 2
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


@dataclass(frozen=True)
class Polling(Generic[T]):
    """How to look: `look` sees, `good` judges.

    `quiet` says whether nothing is under way that could still change what was seen.
    """

    look: Callable[[], T]
    good: Callable[[T], bool]
    quiet: Callable[[T], bool]
    deadline: float
    same: Callable[[T, T], bool] = field(default=lambda one, other: one == other)
    settled: int = SETTLED
    """How often in a row the same must be seen."""
    longest_pause: float = LONGEST_PAUSE
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = _pause

    def run(self) -> T:
        """Return what was seen last: good and stable, or as it will stay."""
        ends = self.clock() + self.deadline
        seen, times, wait, quiet = self.look(), 1, FIRST_PAUSE, False
        while True:
            if times >= self.settled and (quiet or self.good(seen)):
                return seen
            if self.clock() >= ends:
                return seen
            # Asked before the look that it speaks for: what is quiet only afterwards has changed.
            quiet = times + 1 >= self.settled and not self.good(seen) and self.quiet(seen)
            self.pause(wait)
            wait = min(2 * wait, self.longest_pause)
            again = self.look()
            lasting = self.same(seen, again) or (self.good(seen) and self.good(again))
            times = times + 1 if lasting else 1
            seen = again
