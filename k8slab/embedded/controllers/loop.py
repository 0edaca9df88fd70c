"""The engine under every controller: a queue of keys and a function that makes one key right.

A controller is level-triggered. Events say only *that* something about a key changed;
`reconcile` reads the present state, compares it with what is wanted, and takes the
steps that are missing. Therefore keys can be merged: a key that is waiting is not
added twice, and one that changes while it is worked on is worked on once more.

A failure is logged with its key and retried with growing delay, for this key only.
A worker gives the event loop back after `SLICE` seconds, so that no burst of keys
holds up the API. Workers exist only while there is work.

A key that takes long, such as a ReplicaSet with a thousand pods, is looked at again only
after a rest in proportion, unless somebody waits for it: a burst of changes of its pods then
costs a tenth of the time and not the square of their number.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from k8slab.errors import ApiStatusError, ReviewPendingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

log = logging.getLogger(__name__)

Item = TypeVar("Item")

SLICE = 0.003
"""Seconds of work after which a worker lets others run; the limit of the house is 5 ms."""

LONG = 0.001
"""Seconds on the event loop after which a key rests, `RESTS` times as long as it took."""
RESTS = 9
LONGEST_REST = 0.1

FIRST_DELAY = 0.005
"""Delay before the first retry, doubled by each failure: client-go's default rate limiter."""

LONGEST_DELAY = 30.0
DOUBLINGS = 20
"""How often the delay is doubled at most: it is the longest long before."""


class Loop:
    """Call ``reconcile(key)`` for every key added, one run of a key at a time.

    `reconcile` may be a coroutine function. It returns the seconds after which it wants
    to see the key again, or ``None``.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[str], float | Awaitable[float | None] | None],
        *,
        workers: int = 1,
    ) -> None:
        self.name = name
        self._reconcile = reconcile
        self._limit = workers
        self._queue: dict[str, None] = {}
        self._running: set[str] = set()
        self._again: set[str] = set()
        """Keys that changed while they were running or resting."""
        self._resting: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._reviews: dict[str, asyncio.Task[None]] = {}
        """Keys whose work waits for what admission webhooks say."""
        self._closed = False

    def add(self, key: str) -> None:
        """Have `key` looked at as soon as possible."""
        if self._closed:
            return
        if key in self._running or key in self._resting or key in self._reviews:
            self._again.add(key)
            return
        self._queue[key] = None
        if len(self._workers) < self._limit:
            worker = asyncio.get_running_loop().create_task(self._work(), name=self.name)
            self._workers.add(worker)

    def add_after(self, key: str, seconds: float) -> None:
        """Have `key` looked at after `seconds`, or earlier if that was asked before."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._due, key)

    async def settle(self, key: str) -> None:
        """Return when a run of `key` that began after this call is over; raise its error."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(waiter)
        if rest := self._resting.pop(key, None):
            rest.cancel()
            self._again.discard(key)
        self.add(key)
        await waiter

    async def idle(self) -> None:
        """Return when no key is queued or running (timers may be); nothing rests any longer."""
        while self._workers or not self._again.isdisjoint(self._resting):
            for key, rest in tuple(self._resting.items()):
                rest.cancel()
                self._rested(key)
            if self._workers:
                await asyncio.wait(set(self._workers))

    async def close(self) -> None:
        """Stop: forget all keys, cancel what runs and wait until it has ended."""
        self._closed = True
        self._queue.clear()
        self._again.clear()
        for timer in (*self._timers.values(), *self._resting.values()):
            timer.cancel()
        workers = {*self._workers, *self._reviews.values()}
        for worker in workers:
            worker.cancel()
        if workers:
            await asyncio.wait(workers)
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.cancel()

    def _rested(self, key: str) -> None:
        del self._resting[key]
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _due(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    async def _work(self) -> None:
        try:
            await self._drain()
        finally:
            # At once, not in a callback of the task: a key that is added in between must
            # find that nobody is there and start a worker.
            worker = asyncio.current_task()
            assert worker is not None
            self._workers.discard(worker)

    async def _drain(self) -> None:
        begun = time.perf_counter()
        while self._queue:
            key = next(iter(self._queue))
            del self._queue[key]
            self._running.add(key)
            waiters = self._waiting.pop(key, ())
            try:
                error = await self._run(key)
            except asyncio.CancelledError:
                for waiter in waiters:
                    waiter.cancel()
                raise
            finally:
                self._running.discard(key)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error) if error else waiter.set_result(None)
            if key in self._again and key not in self._resting and key not in self._reviews:
                self._again.discard(key)
                self._queue[key] = None
            if time.perf_counter() - begun > SLICE:
                await asyncio.sleep(0)
                begun = time.perf_counter()

    async def _run(self, key: str) -> Exception | None:
        """Make one key right; log and book an error, and return it."""
        begun = time.perf_counter()
        try:
            result = self._reconcile(key)
            self._rest(key, time.perf_counter() - begun)
            wait = await result if inspect.isawaitable(result) else result
        except ReviewPendingError as pending:
            self._review(key, pending)
            return None
        except ApiStatusError as error:
            if error.reason != "Conflict":
                log.exception("%s: %s failed; will be retried", self.name, key)
            self._retry(key)
            return error
        except Exception as error:
            log.exception("%s: %s failed; will be retried", self.name, key)
            self._retry(key)
            return error
        self._failures.pop(key, None)
        if wait is not None:
            self.add_after(key, wait)
        return None

    def _review(self, key: str, pending: ReviewPendingError) -> None:
        """Have webhooks asked about what a key's work would create; then do it again.

        The worker goes on with other keys. A real controller's worker waits.
        """
        task = asyncio.ensure_future(pending.answered())
        self._reviews[key] = task

        def answered(done: asyncio.Task[None]) -> None:
            del self._reviews[key]
            self._again.discard(key)
            if done.cancelled():
                return
            if error := done.exception():
                log.error("%s: %s: asking webhooks failed", self.name, key, exc_info=error)
                self._retry(key)
                return
            self.add(key)

        task.add_done_callback(answered)

    def _rest(self, key: str, seconds: float) -> None:
        if seconds > LONG and key not in self._waiting and not self._closed:
            delay = min(seconds * RESTS, LONGEST_REST)
            loop = asyncio.get_running_loop()
            self._resting[key] = loop.call_later(delay, self._rested, key)

    def _retry(self, key: str) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # Bounded: a power of that many is no float any more after a night.
        self.add_after(key, min(FIRST_DELAY * 2 ** min(failures, DOUBLINGS), LONGEST_DELAY))


async def each_in_turn(items: Iterable[Item], work: Callable[[Item], object]) -> None:
    """Call ``work(item)`` for each item; let others run every `SLICE` seconds.

    `items` may be a generator, which is asked right before each call: it can stop when what its
    items stand on has changed meanwhile.
    """
    begun = time.perf_counter()
    for item in items:
        work(item)
        if time.perf_counter() - begun > SLICE:
            await asyncio.sleep(0)
            begun = time.perf_counter()


async def try_each_in_turn(
    items: Iterable[Item], work: Callable[[Item], object]
) -> ApiStatusError | None:
    """Do as `each_in_turn` does, but let one refusal hinder no other item; return the first."""
    refused: list[ApiStatusError] = []

    def attempt(item: Item) -> None:
        try:
            work(item)
        except ApiStatusError as error:
            refused.append(error)

    await each_in_turn(items, attempt)
    return refused[0] if refused else None


async def start_slowly(
    items: Iterable[Item], work: Callable[[Item], object]
) -> ApiStatusError | None:
    """Do as `try_each_in_turn` does in batches of 1, 2, 4 and so on, none after a refusal.

    What is refused once is mostly refused for all, a quota for instance, and each refusal costs a
    write and an Event. Source: ``slowStartBatch`` of ``pkg/controller``.
    """
    refused: ApiStatusError | None = None

    def attempt(item: Item) -> None:
        nonlocal refused
        try:
            work(item)
        except ApiStatusError as error:
            refused = refused or error

    def batches() -> Iterator[Item]:
        for number, item in enumerate(items, start=1):
            if refused and not number & (number - 1):  # a power of two begins the next batch
                return
            yield item

    await each_in_turn(batches(), attempt)
    return refused


async def take_turns(pending: set[str], work: Callable[[str], None]) -> None:
    """Call ``work(key)`` until no key is pending; let others run every `SLICE` seconds.

    A key goes when its work is done, so one that fails stays; more may come meanwhile.
    """
    begun = time.perf_counter()
    while pending:
        key = next(iter(pending))
        work(key)
        pending.discard(key)
        if time.perf_counter() - begun > SLICE:
            await asyncio.sleep(0)
            begun = time.perf_counter()
