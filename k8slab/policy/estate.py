"""Everything that decides about flows, compiled once: pods, namespaces, Services, policies.

A decision takes three steps: find both sides (a Service stands for its pods: policy is
decided after DNAT), then ask the source's egress policies, then the destination's ingress
policies. Direction is resolved once, into the subject and its peer. The compiled estate
never changes.

Traffic that policies cannot stop is decided first: a pod to its own address, and a pod's own
node to the pod (Kubernetes documentation, "Network Policies"). From a pod to its own node its
egress policies hold, as with Calico, which asks them before its DefaultEndpointToHostAction
(Felix configuration reference). Pods with hostNetwork are their node: no policy selects them,
and to others they are an address.

Whether a flow is allowed is read from the profiles of its two sides (`reach`), in some
microseconds; why, from a walk through the rules (`walk`), and only when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from k8slab.errors import UsageError
from k8slab.policy import calico, cluster_policies, inventory, network_policies, walk
from k8slab.policy.addresses import family
from k8slab.policy.index import ClassIndex, Vocabulary, numbers_of
from k8slab.policy.inventory import NAMESPACE_NAME, Kinds
from k8slab.policy.model import EGRESS, INGRESS, Mode
from k8slab.policy.parties import Leg, Parties, Place
from k8slab.policy.ports import NUMBERS
from k8slab.policy.profiles import Profiler
from k8slab.policy.reach import Reach, reach
from k8slab.policy.routes import Exposure, read_exposures
from k8slab.policy.services import read_services
from k8slab.policy.verdict import Action, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from k8slab.objects.meta import Object
    from k8slab.policy.addresses import AddressSet
    from k8slab.policy.flow import Flow, Party
    from k8slab.policy.listing import Connections
    from k8slab.policy.model import Pod, Policy, Rule, Side
    from k8slab.policy.openings import Opening
    from k8slab.policy.services import Service
    from k8slab.policy.ways import WayIn

FOREIGN = {
    "AdminNetworkPolicy": "policy.networking.k8s.io/v1alpha1 gave way to ClusterNetworkPolicy",
    "BaselineAdminNetworkPolicy": "it gave way to ClusterNetworkPolicy of the tier Baseline",
    "CiliumNetworkPolicy": "Cilium's own policies are not understood",
    "CiliumClusterwideNetworkPolicy": "Cilium's own policies are not understood",
    "HostEndpoint": "policies for host endpoints are not understood",
    "NetworkSet": "selectors that choose network sets are not understood",
    "GlobalNetworkSet": "selectors that choose network sets are not understood",
}
"""Kinds that would change the answer and that the engine cannot judge."""


class Peers(NamedTuple):
    """What the peers of a rule match: keys of pods, and addresses outside."""

    pods: tuple[str, ...]
    outside: AddressSet


@dataclass(frozen=True)
class Estate:
    """A compiled world; ask it with `decide`, or for everything with `connections`."""

    namespaces: Mapping[str, Mapping[str, str]]
    nodes: Mapping[str, tuple[int, ...]]
    pods: Mapping[str, Pod]
    """By key: ``shop/web-1``, and ``shop/deployment/web`` for a template."""
    workloads: Mapping[Party, tuple[str, ...]]
    """To the keys of their pods; a bare pod is its own workload."""
    policies: tuple[Policy, ...]
    """In the order in which they are asked."""
    services: Mapping[str, Service]
    exposures: tuple[Exposure, ...] = ()
    blocks_match_pods: bool = True
    _base: Profiler | None = field(default=None, repr=False)
    """An index that was made for other policies and has the words of these."""
    _reach: Reach | None = field(default=None, repr=False)

    def decide(self, flow: Flow) -> Verdict:
        """Say whether the policies allow a flow; why is found when it is asked for.

        Workloads and Services stand for all their pods: allowed only if all pairs are.
        Raises `UsageError` for a party that the estate does not know.
        """
        source, destination = flow.source, flow.destination
        if source.kind == destination.kind == "pod" and isinstance(flow.port, int):
            start = f"{source.namespace}/{source.name}"
            end = f"{destination.namespace}/{destination.name}"
            one, other = self._classes.get(start), self._classes.get(end)
            if one is not None and other is not None:
                place = NUMBERS[flow.protocol] << 16 | flow.port
                allowed = start == end or self.reach.has(one, other, place)
                action = Action.ALLOW if allowed else Action.DENY
                return Verdict(flow, action, partial(self._explain, flow))
        legs = list(self.parties.legs(flow))
        allowed = all(self._allows(leg, flow.protocol) for leg in legs)
        action = Action.ALLOW if allowed else Action.DENY
        translated = partial(self.parties.translations, flow)
        return Verdict(flow, action, partial(self._explain, flow), translated)

    @cached_property
    def _classes(self) -> dict[str, int]:
        """Return the classes of pods that policies can decide about: no node, no hostNetwork."""
        found = self.profiler.index.class_of
        return {key: found[key] for key, pod in self.pods.items() if not pod.host_network}

    def _allows(self, leg: Leg, protocol: str) -> bool:
        if not leg.plain or not self._indexed(leg.source, leg.destination):
            return all(reason.action is Action.ALLOW for reason in self._reasons(leg, protocol))
        if self.parties.beyond_policy(leg.source, leg.destination, through=leg.through):
            return True
        assert leg.source.bit is not None
        assert leg.destination.bit is not None
        place = NUMBERS[protocol] << 16 | leg.port
        return self.reach.has(leg.source.bit, leg.destination.bit, place)

    def _indexed(self, *places: Place) -> bool:
        """Say whether the index knows both sides, and that they have a common IP family."""
        found = [place.families for place in places]
        if any(place.bit is None for place in places):
            return False
        return not all(found) or bool(set(found[0]) & set(found[1]))

    def _explain(self, flow: Flow) -> tuple[Reason, ...]:
        reasons: list[Reason] = []
        for leg in self.parties.legs(flow):
            reasons += [each for each in self._reasons(leg, flow.protocol) if each not in reasons]
        if not reasons:
            text = f"{flow.destination} has no ready pod: there is nothing to decide"
            reasons.append(Reason(INGRESS, str(flow.destination), Action.ALLOW, text))
        return tuple(reasons)

    def _reasons(self, leg: Leg, protocol: str) -> list[Reason]:
        free = self.parties.beyond_policy(leg.seen, leg.destination, through=leg.through)
        if free and leg.seen is leg.source:
            return [Reason(INGRESS, leg.destination.side.name, Action.ALLOW, free)]
        source, destination = one_family(leg.source.side, leg.towards.side)
        out = walk.Question(EGRESS, source, destination, leg.asked, protocol)
        source, destination = one_family(leg.seen.side, leg.destination.side)
        into = walk.Question(INGRESS, destination, source, leg.port, protocol)
        found = [walk.decide(out, self._asked(out.subject))]
        if free:
            found.append(Reason(INGRESS, leg.destination.side.name, Action.ALLOW, free))
        else:
            found.append(walk.decide(into, self._asked(into.subject)))
        return found

    def _asked(self, subject: Side) -> tuple[Policy, ...]:
        return self._by_namespace(subject.pod.namespace if subject.pod else "")

    @cached_property
    def _spread(self) -> dict[str, tuple[Policy, ...]]:
        return {}

    def _by_namespace(self, name: str) -> tuple[Policy, ...]:
        """Return the policies that may select pods of a namespace, in order."""
        if name not in self._spread:
            found = [*self._of_namespace.get(name, ()), *self._of_namespace.get("", ())]
            self._spread[name] = tuple(sorted(found, key=lambda policy: policy.rank))
        return self._spread[name]

    @cached_property
    def _of_namespace(self) -> dict[str, list[Policy]]:
        found: dict[str, list[Policy]] = defaultdict(list)
        for policy in self.policies:
            found[policy.namespace].append(policy)
        return found

    @cached_property
    def parties(self) -> Parties:
        """Return who finds the sides of a flow."""
        return Parties(self)

    @cached_property
    def profiler(self) -> Profiler:
        """Return the index of everybody, with what is known about rules."""
        if self._base is not None:
            return self._base
        return Profiler(ClassIndex(self.pods, self.nodes, Vocabulary.of(self.policies)))

    @cached_property
    def reach(self) -> Reach:
        """Return the profiles of everybody."""
        if self._reach is not None:
            return self._reach
        return reach(self.profiler, self.policies)

    def connections(self) -> Connections:
        """Return all connections between workloads and with the outside."""
        return self._connections

    @cached_property
    def _connections(self) -> Connections:
        from k8slab.policy.listing import Connections  # noqa: PLC0415  it needs an Estate

        return Connections(self)

    def openings(self) -> tuple[Opening, ...]:
        """Return who could come or be reached beyond what exists now."""
        from k8slab.policy.openings import openings  # noqa: PLC0415  it needs an Estate

        return openings(self)

    def ways_in(self) -> tuple[WayIn, ...]:
        """Return the ways in from outside, followed to workloads and who is admitted there."""
        from k8slab.policy.ways import ways_in  # noqa: PLC0415  seldom asked for

        return ways_in(self)

    def selected(self, policy: Policy) -> tuple[str, ...]:
        """Return the keys of the pods that a policy selects."""
        return self._keys(self.profiler.selected(policy))

    def matched(self, rule: Rule) -> Peers:
        """Return whom the peers of a rule match, for a subject of any family."""
        index, found = self.profiler.index, 0
        for families in index.by_families:
            for peer in rule.peers or ():
                found |= self.profiler.members(peer, Mode(rule.direction, families))
        if rule.peers is None:
            found = index.everything
        return Peers(self._keys(found), index.addresses_of(found))

    def _keys(self, bits: int) -> tuple[str, ...]:
        index = self.profiler.index
        inside = bits & (1 << index.width) - 1
        return tuple(sorted(k for n in numbers_of(inside) for k in index.classes[n].keys))

    def replace(self, *objects: Any, remove: Iterable[str] = ()) -> Estate:
        """Return the estate with other policies: new ones, or others of the same name.

        `remove` has keys (`Policy.key`). What the difference does not concern is kept, so
        this costs little in a large estate. Raises `ManifestError`, and `UsageError` for a key
        that is not there.
        """
        kinds = Kinds.sort(objects)
        made = {p.key: p for p in read_policies(kinds, blocks_match_pods=self.blocks_match_pods)}
        if unknown := set(remove) - self._by_key.keys():
            raise UsageError(f"there is no {min(unknown)}")
        gone = [self._by_key[key] for key in {*remove, *made} if key in self._by_key]
        fresh = [policy for key, policy in made.items() if key not in remove]
        changed = replace(
            self, policies=_exchanged(self.policies, gone, fresh), _base=None, _reach=None
        )
        if not self.profiler.index.words.covers(Vocabulary.of(fresh)):
            return changed
        return replace(changed, _base=self.profiler, _reach=self._changed_reach(gone, fresh))

    @cached_property
    def _by_key(self) -> dict[str, Policy]:
        return {policy.key: policy for policy in self.policies}

    def _changed_reach(self, gone: list[Policy], fresh: list[Policy]) -> Reach:
        concerned = {EGRESS: 0, INGRESS: 0}
        for policy in (*gone, *fresh):
            for direction in policy.rules:
                concerned[direction] |= self.profiler.selected(policy)
        spaces = {policy.namespace for policy in (*gone, *fresh)}
        asked = self.policies
        if "" not in spaces:  # policies of other namespaces cannot select these pods
            names = {*spaces, ""}
            here = (policy for name in names for policy in self._of_namespace.get(name, ()))
            asked = tuple(sorted(here, key=_rank))
        return self.reach.changed(self.profiler, _exchanged(asked, gone, fresh), concerned)


def _exchanged(
    policies: tuple[Policy, ...], gone: list[Policy], fresh: list[Policy]
) -> tuple[Policy, ...]:
    """Return policies in order, with some taken out and others put in."""
    found = list(policies)
    for policy in gone:
        del found[bisect_left(found, policy.rank, key=_rank)]
    for policy in fresh:
        insort(found, policy, key=_rank)
    return tuple(found)


def _rank(policy: Policy) -> tuple[Any, ...]:
    return policy.rank


def one_family(source: Side, destination: Side) -> tuple[Side, Side]:
    """Leave each side the addresses of one IP family: see `model.Mode`."""
    offered = [family(address) for address in destination.addresses]
    if not offered:
        return source, destination
    spoken = {family(address) for address in source.addresses}
    version = next((each for each in offered if each in spoken), offered[0])

    def kept(side: Side) -> Side:
        return replace(side, addresses=tuple(a for a in side.addresses if family(a) == version))

    return kept(source), kept(destination)


def compile_estate(objects: Iterable[Any], *, blocks_match_pods: bool = True) -> Estate:
    """Compile the objects of a cluster or of manifests; kinds that say nothing are passed over.

    `objects` are plain values, or have ``object`` and ``place`` (``file:line``).
    `blocks_match_pods` says whether ipBlock matches pod addresses: so with Calico, not with
    Cilium. Raises `ManifestError` for what the API would refuse, and for policies of kinds
    that would change the answer and are not understood.
    """
    kinds = Kinds.sort(objects)
    for kind, why in FOREIGN.items():
        for obj in kinds[kind]:
            kinds.read(obj, partial(_refuse, kind, why))
    found = inventory.take(kinds)
    policies = read_policies(kinds, blocks_match_pods=blocks_match_pods)
    services = read_services(kinds)
    implied = {pod.namespace for pod in found.pods.values()} | {p.namespace for p in policies}
    spaces = {name: {NAMESPACE_NAME: name} for name in sorted(implied - {""})}
    return Estate(
        {**spaces, **found.namespaces},
        found.nodes,
        found.pods,
        found.workloads,
        tuple(sorted(policies, key=lambda policy: policy.rank)),
        services,
        read_exposures(kinds),
        blocks_match_pods,
    )


def _refuse(kind: str, why: str, obj: Object) -> None:
    del obj
    hint = "leave these objects out to judge by the other policies alone"
    raise UsageError(f"{kind} is not understood: {why}", hint=hint)


def read_policies(kinds: Kinds, *, blocks_match_pods: bool = True) -> Sequence[Policy]:
    """Compile the policies of all dialects."""
    found: list[Policy] = []
    for obj in (*kinds["NetworkPolicy"], *kinds["GlobalNetworkPolicy"]):
        manifest = kinds.manifest(obj)
        if str(obj.get("apiVersion", "")).partition("/")[0] in calico.GROUPS:
            reader = partial(calico.read, manifest=manifest)
        else:
            reader = partial(
                network_policies.read, manifest=manifest, blocks_match_pods=blocks_match_pods
            )
        found.append(kinds.read(obj, reader))
    found += (
        kinds.read(obj, partial(cluster_policies.read, manifest=kinds.manifest(obj)))
        for obj in kinds["ClusterNetworkPolicy"]
    )
    return found
