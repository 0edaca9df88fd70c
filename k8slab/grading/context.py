"""What every check is given: the cluster, the place, and what was true at the set-up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from k8slab.errors import ApiStatusError
from k8slab.grading import moment
from k8slab.grading.starting import is_ready, may_be_ready, may_listen_soon, slices_lag
from k8slab.objects import meta
from k8slab.policy import Party
from k8slab.probes.targets import Snapshot, one_pod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from k8slab.errors import K8slabError
    from k8slab.objects.meta import Object

POLICY_KINDS = (
    "namespaces", "nodes", "pods", "services", "endpointslices.discovery.k8s.io", "replicasets.apps"
)  # fmt: skip
POLICIES = "networkpolicies.networking.k8s.io"
CLUSTER_POLICIES = "clusternetworkpolicies.policy.networking.k8s.io"


@dataclass(frozen=True)
class Context:
    """One run of a grader over one exercise."""

    cluster: Any
    namespace: str
    setup: Sequence[Object] = ()
    """The exercise's set-up manifests, with their namespaces filled in."""
    baseline: frozenset[str] = frozenset()
    """The flows (as text) that were open right after the set-up."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """What the learner typed, newest, by question; an address as the cluster has it today."""
    deadline: float = 10.0
    """Seconds until what does not become true counts as not true."""
    measured: Sequence[Sequence[Any]] = ()
    """Every other flow as it was right after the set-up (`collateral.measure`)."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What was right at the start, by question, of answers that say ``at_start``."""
    given: Mapping[str, Sequence[str]] | None = field(default_factory=dict)
    """What the cluster itself put into the fresh set-up (`additions.given`); ``None``: unknown."""
    typed: Mapping[str, str] = field(default_factory=dict)
    """The same answers letter by letter."""
    askers: Mapping[Party, Party] = field(default_factory=dict)
    """The grader's own pods, by the pod or workload in whose place they ask (`askers`)."""

    unasked: Mapping[Party, K8slabError] = field(default_factory=dict)
    """Those in whose place no pod of the grader's could ask, and why."""

    def asker(self, text: str) -> Party:
        """Return the pod that asks where a check says `text`; raises `ProbeError` without any.

        Raises what is `unasked` where the grader's own pod could not take its place.
        """
        party = Party.parse(text, self.namespace)
        if error := self.unasked.get(party):
            raise error
        return self.askers.get(party) or one_pod(self.cluster, party)

    @property
    def prompt(self) -> bool:
        """Say whether the provider enforces before it answers (see `Polling`)."""
        return bool("probe" in self.cluster.capabilities)

    def quiet(self, *, listening: bool = True) -> bool:
        """Say whether nothing is under way that could change what was seen.

        Where a server was seen not to be `listening`, a program that has just started may be
        about to. Where the provider does not enforce before it answers, nobody can know: false.
        """
        if not self.prompt:
            return False
        there = self.read()
        if not self.settled(there) or slices_lag(self, there):
            return False
        return listening or not may_listen_soon(self, there)

    def looks(self, first: Snapshot | None = None) -> Callable[[], Snapshot]:
        """Return what gives a snapshot for each look: `first`, read just now, then new ones."""
        given = [first] if first else []
        return lambda: given.pop() if given else self.read()

    def read(self) -> Snapshot:
        """Begin a snapshot with the workloads, so that it has their pods of a later moment.

        What then says that a roll-out has ended says it of these pods. Read the other way round,
        pods of before the end would be taken for those that it left.
        """
        there = Snapshot(self.cluster)
        for resource in _ROLLED_OUT:
            self.listed(there, resource)
        return there

    def settled(self, there: Snapshot | None = None) -> bool:
        """Say whether, as the API tells, no pod of the exercise's namespaces comes or goes.

        `there` is one of `read`.
        """
        there = there or self.read()
        pods = self.listed(there, "pods")
        return all(map(_settled, pods)) and all(
            self._still(resource, obj, pods)
            for resource in _ROLLED_OUT
            for obj in self.listed(there, resource)
        )

    def _still(self, resource: str, obj: Object, pods: Sequence[Object]) -> bool:
        """Say whether a roll-out has ended, or nothing more is to be expected of it.

        One that is paused does not go on: a Deployment then scales alone. One that is not keeps
        pods of before until the new ones are ready: these would be judged. A StatefulSet or
        DaemonSet replaces a pod in its place, and then waits until it is ready, for good where it
        never is: as with a pod that is `stuck`, nobody else has to wait for that. What has just
        started may be ready soon.
        """
        if _ended(resource, obj) or not _seen(obj):
            return _ended(resource, obj)
        if resource not in _KINDS:
            return bool(obj["spec"].get("paused"))
        late = [pod for pod in pods if _holds_up(resource, obj, pod)]
        if not late:
            return False
        now, most = moment.now(self), timedelta(seconds=self.deadline)
        return not any(may_be_ready(pod, now, most) for pod in late)

    def under_way(self, there: Snapshot, party: Party) -> bool:
        """Say whether a workload has not ended its roll-out, be it one that never will."""
        found = self._workload(there, party)
        return found is not None and not _ended(f"{party.kind}s.apps", found)

    def paused(self, there: Snapshot, party: Party) -> bool:
        """Say whether a workload is a Deployment whose roll-outs are paused."""
        found = self._workload(there, party)
        return found is not None and bool(found["spec"].get("paused"))

    def _workload(self, there: Snapshot, party: Party) -> Object | None:
        resource = f"{party.kind}s.apps"
        if resource not in _ROLLED_OUT:
            return None
        return there.objects(resource, party.namespace).get(party.name)

    def listed(self, there: Snapshot, resource: str) -> list[Object]:
        """Return the objects of the exercise's namespaces in a snapshot."""
        return [obj for space in self.namespaces for obj in there.objects(resource, space).values()]

    @property
    def namespaces(self) -> list[str]:
        """The exercise's own namespace, and those that its set-up made."""
        made = [meta.name_of(obj) for obj in self.setup if obj["kind"] == "Namespace"]
        return list(dict.fromkeys([self.namespace, *made]))

    def policy_objects(self) -> list[Object]:
        """Return everything that decides about flows, for the policy engine."""
        kinds = dict.fromkeys((*POLICY_KINDS, POLICIES))
        return [
            *(obj for kind in kinds for obj in self.cluster.list(kind)),
            *cluster_policies(self.cluster),
        ]


def cluster_policies(cluster: Any) -> list[Object]:
    """Return the ClusterNetworkPolicies; none where the cluster does not serve them."""
    try:
        return list(cluster.list(CLUSTER_POLICIES))
    except ApiStatusError as error:
        if error.code != 404:
            raise
        return []


_STUCK = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"}
)
"""Reasons for which a container waits until somebody changes something."""


def _settled(pod: Object) -> bool:
    status = pod.get("status") or {}
    if meta.is_deleting(pod) or status.get("phase") is None:
        return False
    return status["phase"] != "Pending" or stuck(pod)


def stuck(pod: Object) -> bool:
    """Say whether a pod waits for good: no node takes it, or a container cannot start."""
    status = pod.get("status") or {}
    unscheduled = any(
        found.get("type") == "PodScheduled" and found.get("reason") == "Unschedulable"
        for found in status.get("conditions") or ()
    )
    waiting = [
        (container.get("state") or {}).get("waiting") or {}
        for container in status.get("containerStatuses") or ()
    ]
    return unscheduled or any(found.get("reason") in _STUCK for found in waiting)


def _deployed(spec: Object, status: Object) -> bool:
    wanted = spec.get("replicas", 1)
    return all(status.get(key, 0) == wanted for key in ("replicas", "updatedReplicas"))


def _ordered(spec: Object, status: Object) -> bool:
    """Say it of a StatefulSet; pods below the partition stay as they are, and all with OnDelete."""
    wanted, strategy = spec.get("replicas", 1), spec.get("updateStrategy") or {}
    kept = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    new = 0 if strategy.get("type") == "OnDelete" else max(0, wanted - kept)
    return bool(status.get("replicas", 0) == wanted and status.get("updatedReplicas", 0) >= new)


def _on_nodes(spec: Object, status: Object) -> bool:
    by_hand = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    number = "currentNumberScheduled" if by_hand else "updatedNumberScheduled"
    return bool(status.get(number, 0) == status.get("desiredNumberScheduled", 0))


_ROLLED_OUT = {
    "deployments.apps": _deployed,
    "statefulsets.apps": _ordered,
    "daemonsets.apps": _on_nodes,
}
"""Whether a roll-out has ended, by kind: as kubectl rollout status asks (kubectl,
pkg/polymorphichelpers/rollout_status.go), but for readiness, which the flows find out."""

_KINDS = {"statefulsets.apps": "StatefulSet", "daemonsets.apps": "DaemonSet"}


def _seen(obj: Object) -> bool:
    """Say whether the status speaks of the spec that there is."""
    generation = obj["metadata"].get("generation", 0)
    return bool((obj.get("status") or {}).get("observedGeneration", 0) >= generation)


def _ended(resource: str, obj: Object) -> bool:
    return _seen(obj) and _ROLLED_OUT[resource](obj.get("spec") or {}, obj.get("status") or {})


def _holds_up(resource: str, obj: Object, pod: Object) -> bool:
    """Say whether a workload waits for a pod of its own before it goes on.

    With Parallel a StatefulSet replaces pods of before though they are not ready; in order it
    waits for them too (processReplica, "known issue" of StatefulSet's forced rollback).
    """
    owner = {"kind": _KINDS[resource], "name": meta.name_of(obj)}.items()
    own = owner <= (meta.controller_of(pod) or {}).items()
    if not own or meta.namespace_of(pod) != meta.namespace_of(obj) or is_ready(pod):
        return False
    newest = (obj.get("status") or {}).get("updateRevision", "")
    new = meta.labels_of(pod).get("controller-revision-hash", "") == newest
    return bool(new or obj["spec"].get("podManagementPolicy") != "Parallel")
