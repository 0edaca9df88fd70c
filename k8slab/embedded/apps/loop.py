"""A loop over ready sockets, for apps of which there may be a hundred.

A pod's process is forked from a warm zygote and shares its memory until it writes.
An asyncio loop would make each idle pod 1.3 MB bigger than this one, so the apps
inside pods use epoll(7) directly: one callback for each watched socket, one heap of timers.
"""

from __future__ import annotations

import heapq
import select
import time
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

Callback = Callable[[int], None]


class Loop:
    """Call back when a socket is ready or a moment has come; one thread, no locks."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._exit_code: int | None = None
        self._polling = self._told = False

    def watch(self, sock: socket.socket, events: int, callback: Callback) -> None:
        """Call ``callback(events)`` whenever `sock` is ready; a second call changes the first."""
        number = sock.fileno()
        if number in self._callbacks:
            self._epoll.modify(number, events)
        else:
            self._epoll.register(number, events)
        self._callbacks[number] = callback

    def unwatch(self, sock: socket.socket) -> None:
        """Stop watching `sock`; call it before the socket is closed."""
        number = sock.fileno()
        if self._callbacks.pop(number, None) is not None:
            self._epoll.unregister(number)

    def call_later(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` once, after `seconds`."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), action))

    def stop(self, exit_code: int = 0) -> None:
        """Let `run` return this exit code after the callback that is running."""
        self._exit_code = exit_code

    def leave(self) -> None:
        """Have `run` raise `SystemExit` as soon as nothing is half done: for a signal's handler."""
        if self._polling:
            raise SystemExit(0)
        self._told = True

    def run(self) -> int:
        """Serve until `stop`; return its exit code."""
        while self._exit_code is None:
            for number, events in self._poll():
                if callback := self._callbacks.get(number):
                    callback(events)
            self._run_timers()
        return self._exit_code

    def close(self) -> None:
        """Release the epoll descriptor."""
        self._epoll.close()

    def _poll(self) -> list[tuple[int, int]]:
        self._polling = True
        try:
            if self._told:
                self._told = False
                raise SystemExit(0)
            return self._epoll.poll(self._patience())
        finally:
            self._polling = False

    def _patience(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
