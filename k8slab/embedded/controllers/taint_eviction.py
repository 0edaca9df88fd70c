"""Eviction by taints: a pod leaves a node whose NoExecute taints it does not tolerate.

A toleration with ``tolerationSeconds`` holds for that long. Every pod gets 300 seconds for
``not-ready`` and ``unreachable`` at admission, daemons get them without end. Finished pods go too.
Source: ``pkg/controller/tainteviction``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.disruption import disrupted
from k8slab.embedded.controllers.index import Index, node_name
from k8slab.embedded.controllers.loop import Loop
from k8slab.embedded.controllers.taints import tolerates
from k8slab.objects.meta import Object, is_deleting, key_of, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context

COMPONENT = "taint-eviction-controller"
WHY = "Taint manager: deleting due to NoExecute taint"


def evicted_after(taints: Iterable[Object], tolerations: Sequence[Object]) -> float | None:
    """Return after how many seconds a pod has to go; ``None`` when it may stay."""
    found = [taint for taint in taints if taint["effect"] == "NoExecute"]
    limits = []
    for taint in found:
        matching = [one for one in tolerations if tolerates(one, taint)]
        if not matching:
            return 0.0
        limits += [
            max(0.0, float(one["tolerationSeconds"]))
            for one in matching
            if one.get("tolerationSeconds") is not None
        ]
    return min(limits, default=None)


class TaintEviction:
    """The loop over pods on tainted nodes."""

    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._api = context.api
        self.clock = clock
        self._since: dict[str, float] = {}
        self._on_node = Index(self._api, "pods", node_name)
        self.loop = Loop("tainteviction", self._reconcile)
        self._unsubscribe: list[Callable[[], None]] = [
            self._on_node.close,
            self._api.subscribe("pods", self._pod_event),
            self._api.subscribe("nodes", self._node_event),
        ]
        for node in self._api.list("nodes"):
            self._add_pods(node)

    async def close(self) -> None:
        """Stop the loop."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        await self.loop.close()

    def _pod_event(self, event: Event) -> None:
        if event.type == "DELETED":
            self._since.pop(uid_of(event.object), None)
        elif event.old is None or node_name(event.old) != node_name(event.object):
            self.loop.add(key_of(event.object))

    def _node_event(self, event: Event) -> None:
        before = (event.old or {}).get("spec", {}).get("taints")
        if event.object["spec"].get("taints") != before:
            self._add_pods(event.object)

    def _add_pods(self, node: Object) -> None:
        for pod in self._on_node.get(name_of(node)):
            self.loop.add(key_of(pod))

    def _reconcile(self, key: str) -> float | None:
        namespace, name = key.split("/", 1)
        pod = self._api.get("pods", name, namespace)
        if pod is None or is_deleting(pod):
            return None
        node = self._api.get("nodes", pod["spec"].get("nodeName") or "")
        taints = node["spec"].get("taints") or () if node else ()
        limit = evicted_after(taints, pod["spec"].get("tolerations") or ())
        if limit is None:
            if self._since.pop(uid_of(pod), None) is not None:
                self._tell(pod, f"Cancelling deletion of Pod {key}")
            return None
        left = self._since.setdefault(uid_of(pod), self.clock()) + limit - self.clock()
        if left > 0:
            return left
        self._tell(pod, f"Marking for deletion Pod {key}")
        self._evict(pod)
        return None

    def _tell(self, pod: Object, text: str) -> None:
        self._context.events.record(pod, "TaintManagerEviction", text, component=COMPONENT)

    def _evict(self, pod: Object) -> None:
        self._api.update_status("pods", disrupted(pod, "DeletionByTaintManager", WHY))
        self._api.delete("pods", name_of(pod), namespace_of(pod), uid=uid_of(pod))
