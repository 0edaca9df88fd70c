"""Events: what happened to an object, in words, as ``kubectl describe`` lists them.

Recording must not slow down what is recorded: an Event is queued and written when the
event loop has nothing more urgent. An Event that repeats (same object, source, reason
and message) raises the count of the one that is there, as client-go's correlator does.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import times
from k8slab.embedded.controllers.loop import Loop
from k8slab.errors import ApiStatusError
from k8slab.objects.meta import Object, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api

REMEMBERED = 4096
"""client-go's event correlator keeps as many (``maxLruCacheEntries``)."""


class Recorder:
    """Write Events for objects; `component` is who says so (``kubelet``, ...)."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._loop = Loop("events", self._write)
        self._pending: dict[str, Object] = {}
        self._names: dict[tuple[str, ...], str] = {}

    def record(
        self,
        obj: Object,
        reason: str,
        message: str,
        *,
        component: str,
        warning: bool = False,
        host: str = "",
        field: str = "",
    ) -> None:
        """Note that something happened to `obj`; `field` is a field path such as a container's."""
        identity = (uid_of(obj), component, host, reason, message, field)
        name = self._names.get(identity)
        if name is None:
            if len(self._names) >= REMEMBERED:
                self._names.clear()
            # As client-go names them: in order of time, which readers rely on within a second.
            name = f"{name_of(obj)}.{time.time_ns():x}"
            self._names[identity] = name
        namespace = namespace_of(obj) or "default"
        key = f"{namespace}/{name}"
        now = times.text()
        pending = self._pending.get(key)
        if pending is not None:
            self._pending[key] = {**pending, "count": pending["count"] + 1, "lastTimestamp": now}
            return
        source = {"component": component, **({"host": host} if host else {})}
        self._pending[key] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": _reference(obj, field),
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "source": source,
            "reportingComponent": component,
            "reportingInstance": host,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._loop.add_after(key, 0)

    async def settle(self) -> None:
        """Return when every Event recorded so far is written."""
        for key in tuple(self._pending):
            await self._loop.settle(key)

    async def close(self) -> None:
        """Stop writing."""
        await self._loop.close()

    def _write(self, key: str) -> None:
        event = self._pending.pop(key, None)
        if event is None:
            return
        namespace, name = key.split("/", 1)
        old = self._api.get("events", name, namespace)
        try:
            if old is None:
                self._api.create("events", event, owned=True)
            else:
                count = (old.get("count") or 1) + event["count"]
                changed = {**old, "count": count, "lastTimestamp": event["lastTimestamp"]}
                self._api.update("events", changed)
        except ApiStatusError as error:
            # A namespace that is going away takes no new objects; nobody could read the Event.
            if error.code not in (403, 404):
                raise


def _reference(obj: Object, field: str) -> Object:
    reference = {
        "kind": obj.get("kind", ""),
        "namespace": namespace_of(obj),
        "name": name_of(obj),
        "uid": uid_of(obj),
        "apiVersion": obj.get("apiVersion", ""),
        "resourceVersion": obj["metadata"].get("resourceVersion", ""),
        "fieldPath": field,
    }
    return {key: value for key, value in reference.items() if value}
