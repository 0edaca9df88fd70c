"""What every check is given: the cluster, the place, and what was true at the set-up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.errors import ApiStatusError
from k8slab.grading.starting import may_listen_soon, slices_lag
from k8slab.objects import meta
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    given: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What the cluster itself put into the fresh set-up (`additions.given`)."""
    typed: Mapping[str, str] = field(default_factory=dict)
    """The same answers letter by letter."""

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
        there = Snapshot(self.cluster)
        if not self.settled(there) or slices_lag(self, there):
            return False
        return listening or not may_listen_soon(self, there)

    def looks(self, first: Snapshot | None = None) -> Callable[[], Snapshot]:
        """Return what gives a snapshot for each look: `first`, read just now, then new ones."""
        given = [first] if first else []
        return lambda: given.pop() if given else Snapshot(self.cluster)

    def settled(self, there: Snapshot | None = None) -> bool:
        """Say whether, as the API tells, no pod of the exercise's namespaces comes or goes."""
        there = there or Snapshot(self.cluster)
        pods = self.listed(there, "pods")
        return all(_settled(pod) for pod in pods) and self.rolled_out(there)

    def rolled_out(self, there: Snapshot) -> bool:
        """Say whether every Deployment of the exercise's namespaces has the pods it wants."""
        return all(_rolled_out(obj) for obj in self.listed(there, "deployments.apps"))

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


def _rolled_out(obj: Object) -> bool:
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    generation = obj.get("metadata", {}).get("generation", 0)
    wanted = spec.get("replicas", 1)
    seen = bool(status.get("observedGeneration", 0) >= generation)
    return seen and all(status.get(key, 0) == wanted for key in ("replicas", "updatedReplicas"))
