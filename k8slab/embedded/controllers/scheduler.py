"""The scheduler: give each new pod a node.

Two steps, as upstream's: filters leave the nodes on which the pod can run, scores choose
among them. The filters are pure functions that answer with the reason for which a node does
not do; their sum is the message of ``FailedScheduling``, in upstream's words. The score
spreads: the node with the fewest pods of the same owner (or namespace and labels) comes
first, then the one with the fewest pods.
Sources: the plugins NodeName, NodeUnschedulable, TaintToleration, NodeAffinity, NodePorts,
NodeResourcesFit, PodTopologySpread, InterPodAffinity of kube-scheduler.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import affinity, conditions, pods, taints, topology
from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.index import Index, node_name
from k8slab.embedded.controllers.kubelet import resources
from k8slab.objects import quantities
from k8slab.objects.meta import (
    Object,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.affinity import NamespaceLabels
    from k8slab.embedded.controllers.context import Context

NAME = "default-scheduler"

AGAIN_SECONDS = 300.0
"""A pod that fits nowhere is tried again after this time, whatever nobody has told of.

Source: the scheduling queue's ``DefaultPodMaxInUnschedulablePodsDuration``.
"""

_ROOM_COULD_BE_MADE = (
    "Insufficient ",
    "Too many pods",
    "node(s) didn't have free ports",
    "node(s) didn't match pod anti-affinity rules",
    "node(s) didn't satisfy existing pods anti-affinity rules",
    "node(s) didn't match pod topology spread constraints",
)
"""Reasons that would go if other pods did; nobody is evicted here for a pod of more priority.

Source: the plugins' status ``Unschedulable``, and not ``UnschedulableAndUnresolvable``.
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node with the pods that are on it."""

    node: Object
    pods: Sequence[Object] = field(default=())
    kin: int = 0
    """How many of them are kin to the pod that is to be placed: counted by an index, since a
    look at all pods for each new one would make the cost of a large Deployment quadratic."""
    keeping_apart: Sequence[Object] = field(default=())
    """Those of the pods that require others to be far; few in most clusters."""


def why_not(pod: Object, candidate: Candidate) -> str:
    """Return the first reason for which the pod cannot run on a node; empty when it can."""
    for check in (_unschedulable, _taints, _affinity, _ports, _room, _resources):
        if reason := check(pod, candidate):
            return reason
    return ""


def choose(
    pod: Object, candidates: Sequence[Candidate], where: NamespaceLabels = affinity.no_labels
) -> tuple[str, dict[str, str]]:
    """Return the best node's name (or ``""``) and, by node, why the others cannot be.

    `where` gives the labels of a namespace by its name. Equal nodes are taken in order of their
    names, so that the same cluster spreads the same pods the same way.
    """
    reasons: dict[str, str] = {}
    fitting = []
    for candidate in candidates:
        reason = why_not(pod, candidate)
        if reason:
            reasons[name_of(candidate.node)] = reason
        else:
            fitting.append(candidate)
    spread = topology.spreads(pod, candidates) if fitting else ()
    if spread:
        judged = [(c, topology.why_not(spread, labels_of(c.node))) for c in fitting]
        reasons.update({name_of(c.node): why for c, why in judged if why})
        fitting = [c for c, why in judged if not why]
    if fitting:
        judged = affinity.between_pods(pod, fitting, candidates, where)
        reasons.update({name_of(c.node): why for c, why in judged if why})
        fitting = [c for c, why in judged if not why]
    if not fitting:
        return "", reasons
    return name_of(min(fitting, key=lambda c: _cost(pod, c)).node), reasons


def message(total: int, reasons: Iterable[str], *, nowhere: str = "") -> str:
    """Return the text of ``FailedScheduling`` for the reasons of all nodes, or of none."""
    found = list(reasons)
    if not total:
        return "no nodes available to schedule pods"
    counted = sorted(f"{count} {reason}" for reason, count in Counter(found).items())
    if nowhere:
        counted, found = [nowhere], [nowhere] * total
    vain = Counter(
        "No preemption victims found for incoming pod"
        if reason.startswith(_ROOM_COULD_BE_MADE) and reason != topology.UNLABELLED
        else "Preemption is not helpful for scheduling"
        for reason in found
    )
    preemption = sorted(f"{count} {words}" for words, count in vain.items())
    return (
        f"0/{total} nodes are available: {', '.join(counted)}. no new claims to deallocate, "
        f"preemption: 0/{total} nodes are available: {', '.join(preemption)}."
    )


def why_nowhere(pod: Object, claim: Callable[[str], Object | None]) -> str:
    """Return why no node does before any is looked at; `claim` finds a claim by its name.

    Source: the plugin VolumeBinding (PreFilter). Nothing binds a claim here (`claims`).
    """
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            name = volume["persistentVolumeClaim"].get("claimName", "")
            if claim(name) is None:
                return f'persistentvolumeclaim "{name}" not found'
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""


def _unschedulable(pod: Object, candidate: Candidate) -> str:
    key = "node.kubernetes.io/unschedulable"
    if not candidate.node["spec"].get("unschedulable"):
        return ""
    taint = {"key": key, "effect": "NoSchedule"}
    return "" if taints.is_tolerated(taint, pod) else "node(s) were unschedulable"


def _taints(pod: Object, candidate: Candidate) -> str:
    taint = taints.untolerated(candidate.node, pod)
    if taint is None:
        return ""
    return f"node(s) had untolerated taint(s) {{{taint['key']}: {taint.get('value', '')}}}"


def _affinity(pod: Object, candidate: Candidate) -> str:
    if affinity.wants_node(pod, candidate.node):
        return ""
    return "node(s) didn't match Pod's node affinity/selector"


def _ports(pod: Object, candidate: Candidate) -> str:
    wanted = host_ports(pod)
    if wanted and any(wanted & host_ports(other) for other in candidate.pods):
        return "node(s) didn't have free ports for the requested pod ports"
    return ""


def host_ports(pod: Object) -> set[tuple[str, int]]:
    """Return protocol and number of each port that the pod takes on its node."""
    return {
        (port.get("protocol", "TCP"), port["hostPort"])
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    }


def _room(_: Object, candidate: Candidate) -> str:
    limit = int((candidate.node.get("status") or {}).get("allocatable", {}).get("pods", 110))
    return "Too many pods" if len(candidate.pods) >= limit else ""


def _resources(pod: Object, candidate: Candidate) -> str:
    """Compare requests with what the node offers: plain book-keeping, as on a real cluster."""
    allocatable = (candidate.node.get("status") or {}).get("allocatable") or {}
    wanted = resources.requests(pod)
    taken = [resources.requests(other) for other in candidate.pods] if wanted else []
    for name, amount in sorted(wanted.items()):
        used = sum(other.get(name, 0) for other in taken)
        if amount + used > quantities.number(allocatable.get(name, 0)):
            return f"Insufficient {name}"
    return ""


def _cost(pod: Object, candidate: Candidate) -> tuple[int, int, int, str]:
    discouraged = sum(
        1
        for taint in candidate.node["spec"].get("taints") or ()
        if taint["effect"] == "PreferNoSchedule" and not taints.is_tolerated(taint, pod)
    )
    preferred = affinity.preference(pod, candidate.node)
    return (discouraged - preferred, candidate.kin, len(candidate.pods), name_of(candidate.node))


def kinship(pod: Object) -> list[str]:
    """Return what makes others kin to `pod`, the first of which it is spread by.

    That is its owner, or where it has none its namespace.
    """
    owner = controller_of(pod)
    return [*([owner["uid"]] if owner else ()), namespace_of(pod)]


def _apart_on_node(pod: Object) -> list[str]:
    return [] if pods.is_finished(pod) or not affinity.keeps_apart(pod) else node_name(pod)


def _kin_on_node(pod: Object) -> list[str]:
    nodes = () if pods.is_finished(pod) else node_name(pod)
    return [f"{node}/{kin}" for node in nodes for kin in kinship(pod)]


class Scheduler(Controller):
    """Bind pods that have no node; try again when nodes or pods change."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "scheduler")
        api = context.api
        self._waiting: set[str] = set()
        self._looking: set[str] = set()
        """Those of the waiting pods whose place depends on where others are."""
        self._on_node = self._own(
            Index(api, "pods", lambda p: () if pods.is_finished(p) else node_name(p))
        )
        self._kin = self._own(Index(api, "pods", _kin_on_node))
        self._apart = self._own(Index(api, "pods", _apart_on_node))
        self._follow("pods", self._pod_event)
        for resource in ("nodes", "persistentvolumeclaims"):
            self._follow(resource, lambda _: self._retry_all())
        for pod in api.list("pods"):
            if _needs_node(pod):
                self.loop.add(key_of(pod))

    def _pod_event(self, event: Event) -> None:
        pod = event.object
        if event.type == "DELETED":
            self._forget(key_of(pod))
            self._retry_all()
        elif _needs_node(pod):
            # An Event of our own condition must not start another attempt.
            if event.old is None or _differ(event.old, pod, "spec", "labels"):
                self.loop.add(key_of(pod))
        elif pods.is_finished(pod):
            self._retry_all()
        elif self._looking and pod["spec"].get("nodeName"):
            self._placed(pod, event.old)

    def _placed(self, pod: Object, old: Object | None) -> None:
        """Try those again that look at a pod which got its node, other labels, or is leaving.

        Source: the queueing hints of InterPodAffinity and PodTopologySpread.
        """
        if old is not None and not _differ(old, pod, "spec", "labels", "deletionTimestamp"):
            return
        forms = [form for form in (pod, old) if form is not None]
        for key in self._looking:
            namespace, name = key.split("/", 1)
            waiting = self._context.api.get("pods", name, namespace)
            if waiting is not None and any(self._looks_at(waiting, form) for form in forms):
                self.loop.add(key)

    def _looks_at(self, waiting: Object, pod: Object) -> bool:
        return topology.looks_at(waiting, pod) or affinity.looks_at(waiting, pod, self._labels)

    def _labels(self, namespace: str) -> Mapping[str, str]:
        return labels_of(self._context.api.get("namespaces", namespace) or {})

    def _forget(self, key: str) -> None:
        self._waiting.discard(key)
        self._looking.discard(key)

    def _retry_all(self) -> None:
        for key in self._waiting:
            self.loop.add(key)

    def _reconcile(self, key: str) -> float | None:
        api = self._context.api
        namespace, name = key.split("/", 1)
        pod = api.get("pods", name, namespace)
        self._forget(key)
        if pod is None or not _needs_node(pod):
            return None
        nodes = sorted(api.list("nodes"), key=name_of)
        if nowhere := why_nowhere(pod, lambda c: api.get("persistentvolumeclaims", c, namespace)):
            self._waiting.add(key)
            self._refuse(pod, message(len(nodes), (), nowhere=nowhere))
            return AGAIN_SECONDS
        kin = kinship(pod)[0]
        candidates = [
            Candidate(
                node,
                self._on_node.get(name_of(node)),
                self._kin.count(f"{name_of(node)}/{kin}"),
                self._apart.get(name_of(node)),
            )
            for node in nodes
        ]
        node, reasons = choose(pod, candidates, self._labels)
        if node:
            self._bind(pod, node)
            return None
        self._waiting.add(key)
        if topology.required(pod) or affinity.looks_at_pods(pod):
            self._looking.add(key)
        self._refuse(pod, message(len(nodes), reasons.values()))
        return AGAIN_SECONDS

    def _bind(self, pod: Object, node: str) -> None:
        bound = bind(self._context, pod, node)
        text = f"Successfully assigned {key_of(pod)} to {node}"
        self._context.events.record(bound, "Scheduled", text, component=NAME)

    def _refuse(self, pod: Object, text: str) -> None:
        context = self._context
        context.events.record(pod, "FailedScheduling", text, component=NAME, warning=True)
        status = pod.get("status") or {}
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": text,
            "lastProbeTime": None,
        }
        put = conditions.put(status.get("conditions"), condition)
        if put != status.get("conditions"):
            context.api.update_status("pods", {**pod, "status": {**status, "conditions": put}})


def bind(context: Context, pod: Object, node: str) -> Object:
    """Write the pod's node, as the binding subresource does."""
    patch = {"spec": {"nodeName": node}}
    api = context.api
    return api.patch("pods", name_of(pod), namespace_of(pod), patch, subresource="binding")


def _differ(old: Object, new: Object, *fields: str) -> bool:
    """Say whether two forms of a pod differ in one of these fields, its own or its metadata's."""
    return any(
        old.get(field) != new.get(field) or old["metadata"].get(field) != new["metadata"].get(field)
        for field in fields
    )


def _needs_node(pod: Object) -> bool:
    return (
        not pod["spec"].get("nodeName")
        and not is_deleting(pod)
        and not pods.is_finished(pod)
        and pod["spec"].get("schedulerName", NAME) == NAME
        and not pod["spec"].get("schedulingGates")
    )
