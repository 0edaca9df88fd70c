"""DaemonSets: one pod on every node that the template's rules allow.

The pod is bound by the scheduler, through an affinity for its node's name; it tolerates
what befalls nodes. Source: ``pkg/controller/daemon``.
"""

from __future__ import annotations

import dataclasses
import random
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import pods, taints
from k8slab.embedded.controllers.affinity import REQUIRED, matches_node, required_node_terms
from k8slab.embedded.controllers.children import Children, while_unchanged
from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.deployments import template_hash
from k8slab.embedded.controllers.loop import start_slowly, try_each_in_turn
from k8slab.embedded.controllers.revisions import HASH_LABEL, Revisions
from k8slab.embedded.controllers.rollout import amount
from k8slab.objects import selectors
from k8slab.objects.meta import (
    Object,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from k8slab.embedded.controllers.context import Context
    from k8slab.errors import ApiStatusError

RESOURCE = "daemonsets.apps"
COMPONENT = "daemonset-controller"
TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """The nodes that are to get a pod, and the pods that are to go."""

    create: list[str] = dataclasses.field(default_factory=list)
    delete: list[Object] = dataclasses.field(default_factory=list)


class DaemonSets(Controller):
    """The loop over DaemonSets."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "daemonsets")
        self._pods = self._own(Children(context.api, RESOURCE, "pods", self.loop))
        self._revisions = self._own(Revisions(context.api))
        self._follow("nodes", self._node_event)

    def _node_event(self, _: object) -> None:
        for owner in self._context.api.list(RESOURCE):
            self.loop.add(key_of(owner))

    def _reconcile(self, key: str) -> Awaitable[float | None] | float | None:
        namespace, name = key.split("/", 1)
        owner = self._context.api.get(RESOURCE, name, namespace)
        if owner is None:
            return None
        owned = self._pods.claim(owner)
        # In an order that changes, as that of upstream's cache does: one node whose pod is refused
        # keeps the pods of others waiting, and is not to do so for good.
        found = self._context.api.list("nodes")
        nodes = {name_of(node): node for node in random.sample(found, len(found))}
        if is_deleting(owner):
            return self._write_status(owner, nodes)
        hashes = {labels_of(pod).get(HASH_LABEL, "") for pod in owned}
        self._revisions.note(owner, [f"{name}-{one}" for one in hashes])
        return self._bring_about(owner, owned, nodes)

    async def _bring_about(
        self, owner: Object, owned: Sequence[Object], nodes: Mapping[str, Object]
    ) -> float | None:
        """Place its pods, replace older ones if nothing was refused, and write the status."""
        refused = await self._take(owner, self._place(owner, owned, nodes))
        if not refused:
            refused = await self._take(owner, self._roll(owner, nodes))
        wait = self._write_status(owner, nodes)
        if refused:
            raise refused
        return wait

    async def _take(self, owner: Object, steps: Steps) -> ApiStatusError | None:
        """Create, then delete, what is due; return the first refusal (``syncNodes``)."""
        due = partial(while_unchanged, self._context.api, RESOURCE, owner)
        refused = await start_slowly(due(steps.create), lambda node: self._create(owner, node))
        delete = partial(self._delete, owner)
        return await try_each_in_turn(due(steps.delete), delete) or refused

    def _place(self, owner: Object, owned: Sequence[Object], nodes: Mapping[str, Object]) -> Steps:
        """Return what makes it one pod on each eligible node, and none elsewhere."""
        steps = Steps()
        present: dict[str, list[Object]] = {}
        for pod in owned:
            if is_deleting(pod):
                continue
            if pods.is_finished(pod):
                steps.delete.append(pod)  # a daemon never ends: it is made again
            else:
                present.setdefault(target_node(pod), []).append(pod)
        waiting = {target_node(pod) for pod in owned if is_deleting(pod)}
        for name, node in nodes.items():
            here = present.pop(name, [])
            if not eligible(owner, node):
                if not eligible(owner, node, effects=("NoExecute",)):
                    present[name] = here
                continue
            if not here and name not in waiting:
                steps.create.append(name)
            steps.delete.extend(spare_pods(owner, here))
        steps.delete.extend(chain.from_iterable(present.values()))  # misplaced
        return steps

    def _roll(self, owner: Object, nodes: Mapping[str, Object]) -> Steps:
        """Return what replaces older pods within ``maxUnavailable`` or ``maxSurge``."""
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return Steps()
        current = template_hash(owner["spec"]["template"])
        living = [p for p in self._pods.of(owner) if not is_deleting(p)]
        order = {name: number for number, name in enumerate(nodes)}  # see `_reconcile`
        living.sort(key=lambda pod: order.get(target_node(pod), len(order)))
        old = [p for p in living if labels_of(p).get(HASH_LABEL) != current]
        wanted = sum(1 for node in nodes.values() if eligible(owner, node))
        rolling = strategy.get("rollingUpdate") or {}
        if surge := amount(rolling.get("maxSurge", 0), wanted, up=True):
            return self._surge(owner, old, living, surge)
        allowed = max(1, amount(rolling.get("maxUnavailable", 1), wanted, up=True))
        minimum = owner["spec"].get("minReadySeconds") or 0
        available = sum(1 for p in living if pods.is_available(p, minimum))
        spare = max(0, allowed - (wanted - available))
        # A pod that serves nobody may go without counting.
        going = [pod for pod in old if not pods.is_available(pod, minimum)]
        serving = [pod for pod in old if pods.is_available(pod, minimum)]
        return Steps(delete=[*going, *serving[:spare]])

    def _surge(
        self, owner: Object, old: Sequence[Object], living: Sequence[Object], limit: int
    ) -> Steps:
        """Return what starts new pods beside old ones, which go when those are available."""
        minimum = owner["spec"].get("minReadySeconds") or 0
        outdated = {target_node(pod): pod for pod in old}
        new = {target_node(pod) for pod in living if pod not in old}
        under_way = sum(1 for node in outdated if node in new)
        steps = Steps()
        for node, pod in outdated.items():
            if node in new:
                continue
            # A pod that serves nobody is replaced without counting.
            if not pods.is_available(pod, minimum):
                steps.create.append(node)
            elif under_way < limit:
                under_way += 1
                steps.create.append(node)
        return steps

    def _create(self, owner: Object, node: str) -> None:
        template = owner["spec"]["template"]
        pod = pods.from_template(owner, template)
        pod["metadata"]["generateName"] = f"{name_of(owner)}-"
        pod["metadata"]["labels"][HASH_LABEL] = template_hash(template)
        pod["spec"] = _bound_to(template["spec"], node)
        made = pods.create(self._context, owner, pod, component=COMPONENT)
        text = f"Created pod: {name_of(made)}"
        self._context.events.record(owner, "SuccessfulCreate", text, component=COMPONENT)

    def _delete(self, owner: Object, pod: Object) -> None:
        record = partial(self._context.events.record, owner, component=COMPONENT)
        name, node = name_of(pod), target_node(pod)
        if pods.is_finished(pod):
            phase = pod["status"]["phase"]
            found = f"Found {phase.lower()} daemon pod {namespace_of(pod)}/{name} on node {node}"
            bad = phase == "Failed"
            text = f"{found}, will try to {'kill' if bad else 'delete'} it"
            record(f"{phase}DaemonPod", text, warning=bad)
        pods.delete(self._context, pod)
        record("SuccessfulDelete", f"Deleted pod: {name}")

    def _write_status(self, owner: Object, nodes: Mapping[str, Object]) -> float | None:
        current = template_hash(owner["spec"]["template"])
        minimum = owner["spec"].get("minReadySeconds") or 0
        right = {name for name, node in nodes.items() if eligible(owner, node)}
        living = [p for p in self._pods.of(owner) if not (pods.is_finished(p) and is_deleting(p))]
        # A node's oldest pod counts: while another surges beside it, and while it ends. Of two of
        # the same second the one of the older template.
        new = {uid_of(p): labels_of(p).get(HASH_LABEL) == current for p in living}
        living.sort(key=lambda p: (p["metadata"]["creationTimestamp"], new[uid_of(p)]))
        placed = {target_node(p): p for p in reversed(living)}
        here = [pod for node, pod in placed.items() if node in right]
        ready = [p for p in here if pods.is_ready(p)]
        waits = [pods.available_in(p, minimum) for p in ready]
        available = sum(1 for wait in waits if wait <= 0)
        status: Object = {
            "currentNumberScheduled": len(here),
            "numberMisscheduled": len(placed) - len(here),
            "desiredNumberScheduled": len(right),
            "numberReady": len(ready),
            "observedGeneration": owner["metadata"].get("generation", 1),
        }
        updated = sum(new[uid_of(p)] for p in here)
        for field, count in (
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", len(right) - available),
        ):
            if count:
                status[field] = count
        api = self._context.api
        latest = api.get(RESOURCE, name_of(owner), namespace_of(owner))
        if latest is None or uid_of(latest) != uid_of(owner):
            return None  # others had their turn: it went, or is another one
        if latest.get("status") != status:
            api.update_status(RESOURCE, {**latest, "status": status})
        return min((wait for wait in waits if wait > 0), default=None)


def eligible(
    owner: Object, node: Object, *, effects: Sequence[str] = ("NoSchedule", "NoExecute")
) -> bool:
    """Say whether a DaemonSet's pod belongs on a node.

    With `effects` of ``NoExecute`` alone: whether one that is there may stay.
    """
    spec = owner["spec"]["template"]["spec"]
    pod = {"metadata": {}, "spec": spec}
    tolerations = [*(spec.get("tolerations") or ()), *_tolerations()]
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] in effects and not any(taints.tolerates(t, taint) for t in tolerations):
            return False
    if not selectors.from_labels(spec.get("nodeSelector") or {}).matches(labels_of(node)):
        return False
    terms = required_node_terms(pod)
    return terms is None or matches_node(terms, node)


def spare_pods(owner: Object, here: Sequence[Object]) -> list[Object]:
    """Return which pods of one node have to go, so that one is left.

    With ``maxSurge`` an old pod stays beside the new one until that is available.
    """
    if len(here) < 2:
        return []
    current = template_hash(owner["spec"]["template"])
    minimum = owner["spec"].get("minReadySeconds") or 0
    new = [pod for pod in here if labels_of(pod).get(HASH_LABEL) == current]
    old = [pod for pod in here if pod not in new]
    strategy = owner["spec"].get("updateStrategy") or {}
    surging = (strategy.get("rollingUpdate") or {}).get("maxSurge", 0) not in (0, "0%")
    if not (surging and new and old):
        return [*new, *old][1:]
    if any(pods.is_available(pod, minimum) for pod in new):
        return [*new[1:], *old]
    kept = [pod for pod in old if pods.is_available(pod, minimum)][:1]
    return [*new[1:], *(pod for pod in old if pod not in kept)]


def target_node(pod: Object) -> str:
    """Return the node that a daemon's pod is for, bound or not."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    for term in required_node_terms(pod) or ():
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name":
                return str(field["values"][0])
    return ""


def _bound_to(spec: Object, node: str) -> Object:
    """Return the pod's spec with the affinity for its node and the daemon's tolerations."""
    affinity = dict(spec.get("affinity") or {})
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity["nodeAffinity"] = {
        **(affinity.get("nodeAffinity") or {}),
        REQUIRED: {"nodeSelectorTerms": [here]},
    }
    tolerations = [*(spec.get("tolerations") or ()), *_tolerations()]
    return {**spec, "affinity": affinity, "tolerations": tolerations}


def _tolerations() -> list[Object]:
    return [{"key": key, "operator": "Exists", "effect": effect} for key, effect in TOLERATED]
