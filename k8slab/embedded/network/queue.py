"""The one thread on which the kernel is written to, in the order of asking.

The event loop hands over a function and awaits its result, which is the acknowledgement.
Since everything that knows or changes the kernel's state runs here, it needs no lock.
Slow deletions have a second thread, on which nobody waits. What several nodes are told may be
written by helpers, side by side, while the one thread waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

_SWITCH_SECONDS = 0.0002

_log = logging.getLogger(__name__)


class KernelQueue:
    """Runs functions one after the other on a thread of its own."""

    def __init__(self) -> None:
        # A thread that comes back from the kernel asks for the interpreter lock and waits for
        # this long when the event loop is busy; with the usual 5 ms, attaching a pod with its
        # some 40 calls took 170 ms under load, with this 20 ms.
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="kernel")
        self._helpers = ThreadPoolExecutor(
            max(2, os.cpu_count() or 1), thread_name_prefix="kernel-helper"
        )
        self._reaper = ThreadPoolExecutor(1, thread_name_prefix="kernel-reaper")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` when everything before it is done; return or raise what it did.

        Whoever is cancelled while waiting does not undo it: the function runs all the same.
        """
        return await asyncio.shield(
            asyncio.wrap_future(self._writer.submit(function, *args, **kwargs))
        )

    def each(self, function: Callable[[S], T], items: Sequence[S]) -> Iterable[T]:
        """Call `function` for all items, as `map`, at the same time where there are processors.

        For what runs on the kernel thread, which waits meanwhile: so nothing else is written to.
        The items must have nothing in common. Threads that are in the kernel do not wait for
        each other.
        """
        return self._helpers.map(function, items) if len(items) > 1 else map(function, items)

    def later(self, function: Callable[[], object], finish: Callable[[], object]) -> None:
        """Run something slow that nobody waits for, then `finish`.

        What goes wrong is logged; what has not begun when the queue closes is left out,
        but `finish` is called all the same.
        """

        def done(future: Future[object]) -> None:
            finish()
            if not future.cancelled() and (error := future.exception()):
                _log.error("a deletion in the background failed: %s", error)

        self._reaper.submit(function).add_done_callback(done)

    async def close(self) -> None:
        """Let what was asked for finish, and end the threads."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._writer.shutdown)
        await loop.run_in_executor(None, self._helpers.shutdown)
        await loop.run_in_executor(None, partial(self._reaper.shutdown, cancel_futures=True))
