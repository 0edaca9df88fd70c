"""kube-proxies that write seldom: how changed Services reach a node late, as on a real cluster.

Upstream's kube-proxy lets `minSyncPeriod` pass between two writes (its BoundedFrequencyRunner), a
second by default and more in large clusters: the first change is written at once, those that follow
wait, and then all of them are written together. Here that time is 0, unless a kube-proxy starts
with another one. What has come in vain is only late, never lost: whoever had to wait is written
by a timer, which is set as long as anything waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_NONE: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Lag:
    period: float
    free: float = 0.0
    """When it may write again, by the loop's clock."""
    timer: asyncio.TimerHandle | None = None


class Lags:
    """Which nodes' kube-proxies have to wait; on the event loop."""

    def __init__(self, write: Callable[[str], Coroutine[None, None, None]]) -> None:
        """Have `write` called with a node's name when its time has come."""
        self._write = write
        self._lags: dict[str, _Lag] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def pace(self, node: str, seconds: float) -> None:
        """Let so much time pass between two writes of a node from now on.

        What waits there is the caller's to write.
        """
        self.forget(node)
        if seconds > 0:
            self._lags[node] = _Lag(seconds)

    def forget(self, node: str) -> None:
        """Let a node write when it wants, or know of it no more."""
        old = self._lags.pop(node, None)
        if old and old.timer:
            old.timer.cancel()

    def held(self) -> frozenset[str]:
        """Return the nodes that have to wait, of which each will be written; the others write now.

        Called once for each change of the Services.
        """
        return frozenset(name for name in self._lags if self._waits(name)) if self._lags else _NONE

    async def close(self) -> None:
        """Write nothing more."""
        for node in [*self._lags]:
            self.forget(node)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _waits(self, node: str) -> bool:
        lag, loop = self._lags[node], asyncio.get_running_loop()
        if lag.timer is None and loop.time() >= lag.free:
            lag.free = loop.time() + lag.period
            return False
        if lag.timer is None:
            lag.timer = loop.call_at(lag.free, self._due, node)
        return True

    def _due(self, node: str) -> None:
        lag, loop = self._lags[node], asyncio.get_running_loop()
        lag.timer, lag.free = None, loop.time() + lag.period
        task = loop.create_task(self._write(node))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
