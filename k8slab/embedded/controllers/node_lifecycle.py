"""The life of nodes as the control plane sees it: alive, silent, cordoned, gone.

A kubelet renews its lease. A node whose lease stays the same for the grace period is not known to
be alive: its conditions become Unknown, its pods not Ready (so that they leave the slices), and
taints keep new pods away and, in time, evict the old ones (`taint_eviction`). What no kubelet will
end is ended here (`pod_garbage`). Only time during which this process ran counts, so that a
suspended laptop does not wake up with dead nodes. Source: ``pkg/controller/nodelifecycle``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import conditions, pods, times
from k8slab.embedded.controllers.index import Index, node_name
from k8slab.embedded.controllers.loop import Loop
from k8slab.embedded.controllers.nodes import LEASE_NAMESPACE
from k8slab.embedded.controllers.pod_garbage import PodGarbage
from k8slab.objects.meta import Object, name_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from k8slab.embedded.controllers.context import Context

GRACE_SECONDS = 50.0
"""``--node-monitor-grace-period``: 50 s since 1.32, 40 s before."""

MONITOR_SECONDS = 5.0
"""``--node-monitor-period``."""

LEASES = "leases.coordination.k8s.io"
COMPONENT = "node-controller"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
POSTED = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
"""The conditions that a kubelet posts."""

ALL = "all nodes"


@dataclass(slots=True)
class _Silence:
    renewed: str
    seconds: float = 0.0


class NodeLifecycle:
    """The loop over all nodes."""

    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._api = context.api
        self.clock = clock
        self._last = clock()
        self._silence: dict[str, _Silence] = {}
        self._garbage = PodGarbage(self._api)
        self._on_node = Index(self._api, "pods", node_name)
        self.loop = Loop("nodelifecycle", self._look)
        self._unsubscribe: list[Callable[[], None]] = [
            self._on_node.close,
            self._api.subscribe("nodes", lambda _: self.loop.add(ALL)),
        ]
        self.loop.add(ALL)

    async def close(self) -> None:
        """Stop the loop."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        await self.loop.close()

    def _look(self, _: str) -> Awaitable[float]:
        """Look at the nodes at once, so that the loop rests after many, and then at their pods."""
        now = self.clock()
        elapsed = min(now - self._last, 2 * MONITOR_SECONDS)
        self._last = now
        for node in self._api.list("nodes"):
            self._check(node, elapsed)
        nodes = {name_of(node): node for node in self._api.list("nodes")}
        for gone in self._silence.keys() - nodes.keys():
            del self._silence[gone]
        return self._collect(nodes, elapsed)

    async def _collect(self, nodes: Mapping[str, Object], elapsed: float) -> float:
        await self._garbage.collect(nodes, elapsed)
        return MONITOR_SECONDS

    def _check(self, node: Object, elapsed: float) -> None:
        name = name_of(node)
        lease = self._api.get(LEASES, name, LEASE_NAMESPACE) or {}
        renewed = str((lease.get("spec") or {}).get("renewTime"))
        silence = self._silence.get(name)
        if silence is None or silence.renewed != renewed:
            silence = self._silence[name] = _Silence(renewed)
        else:
            silence.seconds += elapsed
        if silence.seconds > GRACE_SECONDS:
            node = self._lose(node)
        state = ready_state(node)
        if state in ("False", "Unknown"):
            self._unready_pods(name)
        taints = wanted_taints(node, times.text())
        if taints != (node["spec"].get("taints") or []):
            rest = {key: value for key, value in node["spec"].items() if key != "taints"}
            spec = {**rest, "taints": taints} if taints else rest
            self._api.update("nodes", {**node, "spec": spec})

    def _lose(self, node: Object) -> Object:
        """Note that nobody knows how the node is."""
        if ready_state(node) == "Unknown":
            return node
        found: list[Object] = (node.get("status") or {}).get("conditions") or []
        for kind in POSTED:
            known = conditions.find(found, kind)
            words = (
                ("NodeStatusUnknown", "Kubelet stopped posting node status.")
                if known
                else ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
            )
            unknown = {"type": kind, "status": "Unknown", "reason": words[0], "message": words[1]}
            found = conditions.put(found, {**(known or {}), **unknown, "lastTransitionTime": None})
        text = f"Node {name_of(node)} status is now: NodeNotReady"
        self._context.events.record(node, "NodeNotReady", text, component=COMPONENT)
        status = {**(node.get("status") or {}), "conditions": _stamped(found)}
        return self._api.update_status("nodes", {**node, "status": status})

    def _unready_pods(self, node: str) -> None:
        for pod in self._on_node.get(node):
            if not pods.is_ready(pod):
                continue
            status = pod["status"]
            ready = conditions.find(status["conditions"], "Ready") or {}
            lost = {**ready, "status": "False", "lastTransitionTime": times.text()}
            found = conditions.put(status["conditions"], lost)
            self._api.update_status("pods", {**pod, "status": {**status, "conditions": found}})
            record = self._context.events.record
            record(pod, "NodeNotReady", "Node is not ready", component=COMPONENT, warning=True)


def ready_state(node: Object) -> str:
    """Return ``True``, ``False``, ``Unknown``, or an empty string before the first report."""
    found = conditions.find((node.get("status") or {}).get("conditions"), "Ready") or {}
    return str(found.get("status") or "")


def wanted_taints(node: Object, now: str) -> list[Object]:
    """Return the taints of a node: those of others, and ours by its state; `now` is a time."""
    state = ready_state(node)
    ours: list[tuple[str, str]] = []
    if node["spec"].get("unschedulable"):
        ours.append((UNSCHEDULABLE, "NoSchedule"))
    if state == "Unknown":
        ours += [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
    elif state == "False":
        ours += [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]
    elif not state:
        ours.append((NOT_READY, "NoSchedule"))
    present = node["spec"].get("taints") or []
    managed = (NOT_READY, UNREACHABLE, UNSCHEDULABLE)
    kept = [
        taint
        for taint in present
        if taint["key"] not in managed or (taint["key"], taint["effect"]) in ours
    ]
    there = {(taint["key"], taint["effect"]) for taint in kept}
    return kept + [
        {"key": key, "effect": effect, "timeAdded": now}
        for key, effect in ours
        if (key, effect) not in there
    ]


def _stamped(found: list[Object]) -> list[Object]:
    """Return the conditions with the time of the transitions that have just happened."""
    now = times.text()
    return [{**one, "lastTransitionTime": one.get("lastTransitionTime") or now} for one in found]
