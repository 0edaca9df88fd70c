"""Everything that decides about flows, compiled once: pods, namespaces, Services, policies.

A decision takes three steps: find both sides (a Service stands for its pods: policy is
decided after DNAT), then ask the source's egress policies, then the destination's ingress
policies. Direction is resolved once, into the subject and its peer. One question costs the
policies of two namespaces; the compiled estate never changes.

Traffic that policies cannot stop is decided first: a pod to itself, and a pod's own node to
the pod (Kubernetes documentation, "Network Policies"). From a pod to its own node its egress
policies hold, as with Calico, which asks them before its DefaultEndpointToHostAction (Felix
configuration reference). Pods with hostNetwork are their node: no policy selects them, and
to others they are an address.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from k8slab.errors import UsageError
from k8slab.objects import meta, selectors
from k8slab.policy.flow import WORKLOADS, Flow, Party
from k8slab.policy.rules import EGRESS, INGRESS, Peer, Pod, Policy, compile_policy, first_admitting
from k8slab.policy.tiers import (
    ACCEPT,
    ADMIN,
    BASELINE,
    DENY,
    KIND,
    ClusterPolicy,
    compile_cluster_policies,
    first_match,
)
from k8slab.policy.verdict import Action, Miss, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from k8slab.objects.meta import Object
    from k8slab.policy.rules import Address

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that the API server puts on every namespace (KEP-2161)."""

FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Estate:
    """A compiled world; ask it with `decide`."""

    pods: Mapping[str, Pod]
    policies: Mapping[str, tuple[Policy, ...]]
    """By namespace."""
    services: Mapping[str, Object]
    nodes: Mapping[str, tuple[Address, ...]]
    ready: frozenset[str]
    """Keys of the pods that a Service sends traffic to."""
    cluster_policies: tuple[ClusterPolicy, ...] = ()
    """In the order in which they are asked."""
    owners: Mapping[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)
    """Pods of a workload: kind, namespace and name to pod keys."""

    def decide(self, flow: Flow) -> Verdict:
        """Say whether the policies allow a flow, and why.

        Workloads and Services stand for all their pods: allowed only if all pairs are.
        Raises `UsageError` for a party that the estate does not know.
        """
        reasons: list[Reason] = []
        action = Action.ALLOW
        destinations = self._destinations(flow)
        if not destinations:
            text = f"{flow.destination} has no ready pod: there is nothing to decide"
            return Verdict(flow, action, (Reason(INGRESS, str(flow.destination), action, text),))
        for source in self._sides(flow.source):
            for destination, port in destinations:
                found = self._pair(source, destination, port, flow.protocol)
                reasons += [reason for reason in found if reason not in reasons]
                if any(reason.action is Action.DENY for reason in found):
                    action = Action.DENY
        return Verdict(flow, action, tuple(reasons))

    def _pair(self, source: Peer, destination: Peer, port: int, protocol: str) -> list[Reason]:
        if free := self._beyond_policy(source, destination):
            return [Reason(INGRESS, destination.name, Action.ALLOW, free)]
        source, destination = _one_family(source, destination)
        ask = (port, protocol, _pod(destination))
        return [
            self._side(EGRESS, source, (self._as_peer(destination), *ask)),
            self._side(INGRESS, destination, (self._as_peer(source), *ask)),
        ]

    def _side(self, direction: str, subject: Peer, ask: tuple) -> Reason:
        pod = _pod(subject)
        if pod is None:
            text = "no policy can select it (it is not in a pod network)"
            return Reason(direction, subject.name, Action.ALLOW, text)
        if reason := self._tier(ADMIN, direction, pod, ask):
            return reason
        isolating = [
            policy
            for policy in self.policies.get(pod.namespace, ())
            if direction in policy.rules and policy.selects(pod)
        ]
        names = tuple(policy.key for policy in isolating)
        if not isolating and (reason := self._tier(BASELINE, direction, pod, ask)):
            return reason
        if not isolating:
            text = f"no policy selects it for {direction}"
            return Reason(direction, subject.name, Action.ALLOW, text)
        admitted, misses = first_admitting(isolating, direction, ask)
        if admitted:
            text = f"a rule of {admitted} admits it"
            return Reason(direction, subject.name, Action.ALLOW, text, names, admitted)
        text = f"isolated by {', '.join(names)}, and no rule admits it"
        told = tuple(Miss(*miss) for miss in misses)
        return Reason(direction, subject.name, Action.DENY, text, names, "", told)

    def _tier(self, tier: str, direction: str, pod: Pod, ask: tuple) -> Reason | None:
        """Return what the tier decides, ``None`` when it leaves that to the next one."""
        asked = [p for p in self.cluster_policies if p.tier == tier and p.selects(pod)]
        action, place = first_match(asked, direction, ask)
        if action == DENY:
            names = tuple(policy.key for policy in asked)
            return Reason(direction, pod.key, Action.DENY, f"{place} denies it", names)
        if action == ACCEPT:
            return Reason(direction, pod.key, Action.ALLOW, f"{place} accepts it")
        return None

    def _beyond_policy(self, source: Peer, destination: Peer) -> str:
        if source.pod is not None and source.pod == destination.pod:
            return "a pod always reaches itself"
        pod = _pod(destination)
        if pod is None or not pod.node or _pod(source) is not None:
            return ""
        if set(source.addresses) & set(self.nodes.get(pod.node, ())):
            return f"the pod's own node {pod.node} always reaches it"
        return ""

    def _as_peer(self, side: Peer) -> Peer:
        return side if _pod(side) else replace(side, pod=None)

    def _destinations(self, flow: Flow) -> list[tuple[Peer, int]]:
        if flow.destination.kind == "svc":
            return self._backends(flow)
        return [(side, _port(flow, side)) for side in self._sides(flow.destination)]

    def _sides(self, party: Party) -> list[Peer]:
        key = f"{party.namespace}/{party.name}"
        match party.kind:
            case "pod" if key in self.pods:
                return [self._peer(key)]
            case "ip":
                return [self._by_address(party.name)]
            case "node" if party.name in self.nodes:
                return [Peer(str(party), self.nodes[party.name])]
            case kind if kind in WORKLOADS and (kind, party.namespace, party.name) in self.owners:
                return [self._peer(key) for key in self.owners[kind, party.namespace, party.name]]
        raise UsageError(f"nothing is known about {party}", hint="is the name right?")

    def _peer(self, key: str) -> Peer:
        pod = self.pods[key]
        addresses = self.nodes.get(pod.node, ()) if pod.host_network else pod.addresses
        return Peer(key, addresses, pod)

    def _by_address(self, text: str) -> Peer:
        address = ipaddress.ip_address(text)
        for key, pod in self.pods.items():
            if not pod.host_network and address in pod.addresses:
                return Peer(key, (address,), pod)
        return Peer(text, (address,))

    def _backends(self, flow: Flow) -> list[tuple[Peer, int]]:
        key = f"{flow.destination.namespace}/{flow.destination.name}"
        service = self.services.get(key)
        if service is None:
            raise UsageError(f"there is no Service {key}")
        spec = service.get("spec") or {}
        port = next((p for p in spec.get("ports") or () if _is_port(p, flow)), None)
        if port is None:
            raise UsageError(f"Service {key} has no port {flow.port}/{flow.protocol}")
        if not spec.get("selector"):
            return []
        selector = selectors.from_labels(spec["selector"])
        found = []
        for name in sorted(self.ready):
            pod = self.pods[name]
            if pod.namespace != flow.destination.namespace or not selector.matches(pod.labels):
                continue
            target = port.get("targetPort") or port["port"]
            if isinstance(target, str):
                target = pod.ports.get((flow.protocol, target))
            if target is not None:
                found.append((self._peer(name), target))
        return found


def _one_family(source: Peer, destination: Peer) -> tuple[Peer, Peer]:
    """Leave each side the addresses of one IP family: that of the destination's first one."""
    if not destination.addresses:
        return source, destination
    version = destination.addresses[0].version

    def kept(side: Peer) -> Peer:
        return replace(side, addresses=tuple(a for a in side.addresses if a.version == version))

    return kept(source), kept(destination)


def _pod(side: Peer) -> Pod | None:
    return side.pod if side.pod is not None and not side.pod.host_network else None


def _port(flow: Flow, side: Peer) -> int:
    if isinstance(flow.port, int):
        return flow.port
    number = side.pod.ports.get((flow.protocol, flow.port)) if side.pod else None
    if number is None:
        raise UsageError(f"{side.name} has no port named {flow.port}")
    return number


def _is_port(port: Mapping, flow: Flow) -> bool:
    same = flow.port in (port.get("port"), port.get("name"))
    return same and (port.get("protocol") or "TCP") == flow.protocol


def compile_estate(objects: Iterable[Object], *, blocks_match_pods: bool = True) -> Estate:
    """Compile the objects of a cluster or of manifests; kinds that say nothing are passed over.

    `blocks_match_pods` says whether ipBlock matches pod addresses: so with Calico, not with
    Cilium. Raises `ManifestError` for a policy that the API would refuse.
    """
    kinds: dict[str, list[Object]] = defaultdict(list)
    for obj in objects:
        kinds[obj.get("kind", "")].append(obj)
    spaces = {meta.name_of(obj): meta.labels_of(obj) for obj in kinds["Namespace"]}
    live = [obj for obj in kinds["Pod"] if obj.get("status", {}).get("phase") not in FINISHED]
    policies: dict[str, list[Policy]] = defaultdict(list)
    for obj in kinds["NetworkPolicy"]:
        policy = compile_policy(obj, blocks_match_pods=blocks_match_pods)
        policies[policy.namespace].append(policy)
    return Estate(
        pods={pod.key: pod for pod in (_compile_pod(obj, spaces) for obj in live)},
        policies={
            space: tuple(sorted(found, key=lambda p: p.key)) for space, found in policies.items()
        },
        services={_key(obj): obj for obj in kinds["Service"]},
        nodes={meta.name_of(obj): _node_addresses(obj) for obj in kinds["Node"]},
        ready=frozenset(_key(obj) for obj in live if _is_ready(obj)),
        cluster_policies=compile_cluster_policies(kinds[KIND]),
        owners=_owners(live, kinds["ReplicaSet"]),
    )


def _key(obj: Object) -> str:
    return f"{meta.namespace_of(obj) or 'default'}/{meta.name_of(obj)}"


def _compile_pod(obj: Object, spaces: Mapping[str, Mapping[str, str]]) -> Pod:
    namespace = meta.namespace_of(obj) or "default"
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    addresses = [entry.get("ip") for entry in status.get("podIPs") or ()] or [status.get("podIP")]
    ports = {
        (port.get("protocol") or "TCP", port["name"]): port["containerPort"]
        for container in [*(spec.get("containers") or ()), *_sidecars(spec)]
        for port in container.get("ports") or ()
        if port.get("name")
    }
    return Pod(
        key=_key(obj),
        namespace=namespace,
        labels=meta.labels_of(obj),
        namespace_labels={NAMESPACE_NAME: namespace, **spaces.get(namespace, {})},
        addresses=tuple(ipaddress.ip_address(text) for text in addresses if text),
        node=spec.get("nodeName") or "",
        host_network=bool(spec.get("hostNetwork")),
        ports=ports,
    )


def _sidecars(spec: Mapping) -> list[Mapping]:
    """Return init containers that keep running (KEP-753): their ports count too."""
    return [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]


def _node_addresses(obj: Object) -> tuple[Address, ...]:
    found = obj.get("status", {}).get("addresses") or ()
    return tuple(
        ipaddress.ip_address(entry["address"])
        for entry in found
        if entry.get("type") in ("InternalIP", "ExternalIP")
    )


def _is_ready(obj: Object) -> bool:
    """Say whether a Service sends to the pod; without a status (a manifest) it counts as ready."""
    if meta.is_deleting(obj):
        return False
    if not obj.get("status"):
        return True
    conditions = obj["status"].get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _owners(
    pods: Iterable[Object], replica_sets: Iterable[Object]
) -> dict[tuple[str, str, str], tuple[str, ...]]:
    above = {_key(obj): meta.controller_of(obj) for obj in replica_sets}
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for pod in pods:
        namespace = meta.namespace_of(pod) or "default"
        owner = meta.controller_of(pod)
        while owner:
            found[owner["kind"].lower(), namespace, owner["name"]].append(_key(pod))
            is_set = owner["kind"] == "ReplicaSet"
            owner = above.get(f"{namespace}/{owner['name']}") if is_set else None
    return {key: tuple(sorted(keys)) for key, keys in found.items()}
