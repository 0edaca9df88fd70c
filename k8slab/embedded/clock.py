"""The cluster's time: that of the machine, except that it never goes back.

Time stamps in objects are wall-clock time, and much is computed from them: ages, back-offs,
deadlines, the life of tokens and Events. The machine's clock may be set meanwhile, by hand or by
NTP, by hours. So there is one clock for the whole daemon, which stands on CLOCK_BOOTTIME
(clock_gettime(2): it counts while the machine is suspended, and nobody can set it):

- set back, the machine's clock is followed no more, until it has caught up: no time stamp is
  older than one before it;
- set forward, it is followed at once, and the jump is remembered: `elapsed` leaves it out, so
  that nothing expires because somebody set the clock.

What ends with the daemon's life (time-outs of requests, leases of nodes) uses the monotonic
clock, as asyncio does, and nothing from here.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

JUMP_SECONDS = 1.0
"""A smaller step is a correction, and is not remembered as a jump."""

REMEMBERED = 64
"""How many jumps are remembered."""

APART_SECONDS = 0.005
"""Readings of both clocks that are further apart tell of a pause between them, and of no jump."""


class _Jump(NamedTuple):
    until: float
    """The time to which the clock was set."""
    seconds: float


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """A clock of seconds since the epoch; `wall` is the machine's, `steady` cannot be set."""

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _boot_time
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()
        self._jumps: deque[_Jump] = deque(maxlen=REMEMBERED)

    def now(self) -> float:
        """Return the seconds since the epoch; never less than before."""
        before, wall, steady = self._steady(), self._wall(), self._steady()
        step = wall - steady - self._ahead
        if step > 0 and steady - before < APART_SECONDS:
            self._ahead += step
            if step >= JUMP_SECONDS:
                self._jumps.append(_Jump(steady + self._ahead, step))
        return steady + self._ahead

    def elapsed(self, moment: float) -> float:
        """Return how long ago a moment of this clock was, less the jumps since then.

        Jumps of an earlier life of the daemon are not known, and count as time.
        """
        passed = self.now() - moment
        for jump in self._jumps:
            if moment < jump.until:
                passed -= min(jump.seconds, jump.until - moment)
        return passed


CLOCK = Clock()
"""The clock of this process."""


def now() -> float:
    """Return the cluster's time in seconds since the epoch."""
    return CLOCK.now()


def elapsed(moment: float) -> float:
    """Return how many seconds have passed since a moment that `now` gave."""
    return CLOCK.elapsed(moment)
