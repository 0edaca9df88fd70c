"""Collect garbage when nobody waits for the event loop.

Nearly all that the daemon keeps are API objects: trees without cycles, which reference counting
frees. A full collection looks at all of them all the same, 30 ms for each thousand pods, and
Python makes one whenever their number has grown by a quarter: in the midst of a rollout. So full
collections by themselves are made rare, and one is made on purpose soon after much was created,
when the event loop has nothing to do. What survives it is frozen: it is looked at again only by
the next one of this kind.

Cycles that die young (tasks, exceptions, short connections) go with the small collections as ever.
"""

from __future__ import annotations

import asyncio
import gc

PERIOD_SECONDS = 5.0
"""How often to look whether there is reason for a full collection."""

YOUNG, MIDDLE, OLD = 700, 10, 200
"""Python's own thresholds, but the last: a full collection after 1.4 million new containers."""

REASON = 20
"""Collections of the middle generation, 140,000 new containers, that are reason for a full one."""

IDLE_SECONDS, LATE_SECONDS = 0.05, 0.005
"""The event loop is idle when a timer of the first length is less late than the second."""


def begin() -> None:
    """Freeze what is there, and let Python collect from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    gc.enable()


async def collect_when_idle() -> None:
    """Make full collections in quiet moments, for ever."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(PERIOD_SECONDS)
        if gc.get_count()[2] < REASON:
            continue
        began = clock()
        await asyncio.sleep(IDLE_SECONDS)
        if clock() - began < IDLE_SECONDS + LATE_SECONDS:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
