"""Pods that nobody else removes: of lost nodes, deleted ones that wait, too many that have ended.

One that has not ended is `Failed` before it goes. Who waits for its end, a Job that replaces only
pods that have ended, would wait for ever else: a finalizer may hold the object, and nobody
reports for it.
Source: ``pkg/controller/podgc``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.disruption import disrupted
from k8slab.embedded.controllers import conditions, pods
from k8slab.embedded.controllers.index import node_name
from k8slab.embedded.controllers.loop import each_in_turn
from k8slab.errors import ApiStatusError
from k8slab.objects.meta import Object, is_deleting, key_of, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.embedded.apiserver.api import Api

log = logging.getLogger(__name__)

ORPHAN_SECONDS = 40.0
"""How long a node must be gone before its pods are (``quarantineTime``)."""

MOST_TERMINATED = 12_500
"""How many pods that have ended may stay (``--terminated-pod-gc-threshold``)."""

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""The taint by which an administrator says that a silent node is off and stays off (KEP-2268)."""


class PodGarbage:
    """End, from time to time, what nobody else will."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._gone: dict[str, float] = {}
        """For how many seconds nodes have been missing that pods are bound to."""

    async def collect(self, nodes: Mapping[str, Object], elapsed: float) -> None:
        """End the pods that are due; `elapsed` seconds have passed since the last call.

        `nodes` are those that there are. What is refused keeps no other pod, and is tried again at
        the next call: the nodes are not to wait for it.
        """
        found = self._api.list("pods")
        missing = {name for pod in found for name in node_name(pod)} - nodes.keys()
        self._gone = {name: self._gone.get(name, -elapsed) + elapsed for name in missing}
        due = [pod for pod in found if self._is_orphan(pod) or _waits(pod, nodes)]
        await each_in_turn([*_surplus(found), *due], self._try_to_end)

    def _is_orphan(self, pod: Object) -> bool:
        return any(self._gone.get(name, 0.0) >= ORPHAN_SECONDS for name in node_name(pod))

    def _try_to_end(self, pod: Object) -> None:
        try:
            self._end(pod)
        except ApiStatusError as error:
            log.warning("the pod %s was not removed, which is tried again: %s", key_of(pod), error)

    def _end(self, listed: Object) -> None:
        """Make a pod one that has failed, unless it has ended, and remove it."""
        name, namespace = name_of(listed), namespace_of(listed)
        pod = self._api.get("pods", name, namespace)
        if pod is None or uid_of(pod) != uid_of(listed):
            return  # others had their turn meanwhile
        if not pods.is_finished(pod):
            if self._is_orphan(pod):
                pod = disrupted(pod, "DeletionByPodGC", "PodGC: node no longer exists")
            failed = {**(pod.get("status") or {}), "phase": "Failed"}
            self._api.update_status("pods", {**pod, "status": failed})
        self._api.delete("pods", name, namespace, grace=0, uid=uid_of(pod))


def _surplus(found: Sequence[Object]) -> Sequence[Object]:
    """Return those pods that have ended and are too many: first the evicted, then the oldest."""
    ended = [pod for pod in found if pods.is_finished(pod)]
    if len(ended) <= MOST_TERMINATED:
        return ()
    return sorted(ended, key=_by_eviction_and_age)[: len(ended) - MOST_TERMINATED]


def _by_eviction_and_age(pod: Object) -> tuple[bool, str, str]:
    stays = pod["status"].get("reason") != "Evicted"
    return stays, pod["metadata"]["creationTimestamp"], name_of(pod)


def _waits(pod: Object, nodes: Mapping[str, Object]) -> bool:
    """Say whether a pod is being deleted where no kubelet works, or on no node at all."""
    if not is_deleting(pod):
        return False
    bound = node_name(pod)
    return not bound or any(_is_out_of_service(nodes[name]) for name in bound if name in nodes)


def _is_out_of_service(node: Object) -> bool:
    taints = node["spec"].get("taints") or ()
    ready = conditions.is_true((node.get("status") or {}).get("conditions"), "Ready")
    return not ready and any(taint["key"] == OUT_OF_SERVICE for taint in taints)
