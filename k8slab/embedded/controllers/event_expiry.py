"""Events go an hour after they were last written (kube-apiserver's ``--event-ttl``).

An hour that has passed, not one by which somebody set the clock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers import times
from k8slab.embedded.controllers.loop import Loop
from k8slab.objects.meta import Object, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.controllers.context import Context

TTL_SECONDS = 3600.0
LOOK_SECONDS = 60.0
AT_ONCE = 200
"""Events looked at before others have their turn."""


def last_written(event: Object) -> str:
    """Return the last moment that an Event names; moments in this form sort as text."""
    series = event.get("series") or {}
    return max(
        event["metadata"].get("creationTimestamp") or "",
        event.get("lastTimestamp") or "",
        event.get("eventTime") or "",
        series.get("lastObservedTime") or "",
    )


class EventExpiry:
    """The loop that looks at all Events from time to time."""

    def __init__(self, context: Context, elapsed: Callable[[float], float] = clock.elapsed) -> None:
        self._api = context.api
        self.elapsed = elapsed
        self.loop = Loop("eventexpiry", self._look)
        self.loop.add_after("events", LOOK_SECONDS)

    async def close(self) -> None:
        """Stop the loop."""
        await self.loop.close()

    async def _look(self, _: str) -> float:
        for number, event in enumerate(self._api.list("events"), 1):
            if self.elapsed(times.seconds(last_written(event))) > TTL_SECONDS:
                self._forget(event)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return LOOK_SECONDS

    def _forget(self, event: Object) -> None:
        name, namespace = name_of(event), namespace_of(event)
        found = self._api.get("events", name, namespace)
        if found is not None and uid_of(found) == uid_of(event):
            self._api.delete("events", name, namespace)
