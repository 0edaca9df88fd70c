"""Trying answers by brute force does not pay: after three failed checks the next one waits.

The wait is short, grows with the number of failures within the last minute, and counts from
the last of them, so whoever looks at the counterexample first waits for nothing. It is counted
in the journal: a new kernel, or a second one, has the same memory. Authors' tests check without
a pace.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.grading import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k8slab.course.journal import Event

WINDOW = 60.0
"""Seconds in which failures count."""

FREE = 3
"""Failed checks within the window after which the next one waits."""

STEP, LONGEST = 5.0, 20.0
"""Seconds that each failure from the third on adds, and the most that anybody waits."""


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)  # Ctrl-C interrupts it


@dataclass(frozen=True)
class Pace:
    """How long a learner waits before a check; clock and sleep are given by tests."""

    clock: Callable[[], float] = time.time
    """Seconds since 1970, as the journal has them."""
    sleep: Callable[[float], None] = _sleep

    def wait(self, checks: Iterable[Event], told: Callable[[str], None]) -> float:
        """Wait as long as the earlier checks of an exercise ask for; return the seconds."""
        now = self.clock()
        # A clock that was set back makes events of the future: they count for nothing.
        failed = [
            event.time
            for event in checks
            if event.data.get("status") == Status.FAILED.value and 0 <= now - event.time < WINDOW
        ]
        if len(failed) < FREE:
            return 0.0
        pause = min(LONGEST, STEP * (len(failed) - FREE + 1))
        left = max(failed) + pause - now
        if left <= 0:
            return 0.0
        told(
            f"{len(failed)} checks failed within a minute: this one begins in {left:.0f} s. "
            "Meanwhile read the example above and try that flow by hand"
        )
        self.sleep(left)
        return left
