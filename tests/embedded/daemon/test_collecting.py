"""Full collections: none while others work, one when the event loop is idle."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import pytest

from k8slab.embedded.daemon import collecting


class Cycle:
    """Garbage that only a collection can free."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def _quick(monkeypatch):
    """Look all the time, and let nothing else collect."""
    thresholds = gc.get_threshold()
    monkeypatch.setattr(collecting, "PERIOD_SECONDS", 0.01)
    monkeypatch.setattr(collecting, "LATE_SECONDS", 0.03)
    monkeypatch.setattr(collecting, "REASON", 0)
    collecting.begin()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def old_garbage():
    """Return an event that comes when a cycle goes which was frozen and has died."""
    gone = asyncio.Event()
    cycle = Cycle()
    weakref.finalize(cycle, gone.set)
    gc.freeze()
    return gone


@pytest.mark.usefixtures("_quick")
def test_what_was_frozen_and_died_goes_when_the_loop_is_idle():
    async def main():
        gone = old_garbage()
        gc.collect()
        assert not gone.is_set()  # no other collection looks at it
        task = asyncio.create_task(collecting.collect_when_idle())
        await asyncio.wait_for(gone.wait(), 60)
        task.cancel()

    asyncio.run(main())


@pytest.mark.usefixtures("_quick")
def test_a_busy_loop_is_not_held_up():
    async def main():
        gone = old_garbage()
        task = asyncio.create_task(collecting.collect_when_idle())
        for _ in range(5):
            time.sleep(0.1)  # noqa: ASYNC251  work that keeps the loop
            await asyncio.sleep(0)
        assert not gone.is_set()
        await asyncio.wait_for(gone.wait(), 60)
        task.cancel()

    asyncio.run(main())


@pytest.mark.usefixtures("_quick")
def test_without_much_that_is_new_there_is_no_reason(monkeypatch):
    monkeypatch.setattr(collecting, "REASON", 1_000_000)

    async def main():
        gone = old_garbage()
        task = asyncio.create_task(collecting.collect_when_idle())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gone.wait(), 0.3)
        task.cancel()

    asyncio.run(main())
