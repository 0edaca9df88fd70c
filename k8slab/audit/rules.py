"""Rules that do nothing: they match nobody, another one covers them, or a policy says it twice."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from k8slab.audit.catalogue import CHECKS
from k8slab.policy.inventory import NAMESPACE_NAME
from k8slab.policy.model import ACCEPT, INGRESS, NETWORK, BlockPeer, PodPeer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.audit.finding import Finding
    from k8slab.audit.world import World
    from k8slab.objects.selectors import Requirement, Selector
    from k8slab.policy.model import Matcher, Policy, PortMatch, Rule


SYSTEM_SPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
"""Namespaces that every cluster has, whether or not somebody's manifests speak of them."""


def peers_path(rule: Rule, number: int) -> str:
    """Return the field of one peer."""
    return f"{rule.path}.{'from' if rule.direction == INGRESS else 'to'}[{number}]"


def never_matches(world: World) -> Iterator[Finding]:
    """Find peers that mean nobody, and named ports that no destination has."""
    for policy in world.isolating:
        subject = world.subject(policy)
        for rule in policy.every_rule():
            found = [world.members(peer, rule.direction) for peer in rule.peers or ()]
            for number, (peer, bits) in enumerate(zip(rule.peers or (), found, strict=True)):
                if not bits and not _is_elsewhere(world, peer):
                    yield _nobody(world, policy, rule, number)
            everyone = world.index.everything if rule.peers is None else 0
            for bits in found:
                everyone |= bits
            destination = subject if rule.direction == INGRESS else everyone
            if rule.names and destination & world.pods:
                yield from _names(world, policy, rule, destination)


def _is_elsewhere(world: World, peer: Matcher) -> bool:
    """Say whether a peer may mean pods of a system namespace that is not among the objects."""
    return (
        isinstance(peer, PodPeer)
        and peer.namespaces is not None
        and any(
            name not in world.spaces and peer.namespaces.matches({NAMESPACE_NAME: name})
            for name in SYSTEM_SPACES
        )
    )


def _nobody(world: World, policy: Policy, rule: Rule, number: int) -> Finding:
    assert rule.peers is not None
    peer, path = rule.peers[number], peers_path(rule, number)
    source = world.source(policy)
    if isinstance(peer, PodPeer) and peer.namespaces is not None:
        spaces = world.space_labels
        if not any(peer.namespaces.matches(labels) for labels in spaces):
            told = f"no namespace is labelled {peer.namespaces}"
            return source.finding(CHECKS["unknown-namespace-label"], told, path)
    return source.finding(CHECKS["never-matches"], f"{peer}: there are none", path)


def _names(world: World, policy: Policy, rule: Rule, destination: int) -> Iterator[Finding]:
    for number, match in enumerate(rule.ports or ()):
        if (
            isinstance(match.port, str)
            and not world.named(match.protocol, match.port) & destination
        ):
            told = f"no destination has a {match.protocol} port named {match.port}"
            path = f"{rule.path}.ports[{number}]"
            yield world.source(policy).finding(CHECKS["unknown-named-port"], told, path)


def duplicates(world: World) -> Iterator[Finding]:
    """Find policies whose specs are equal, of one namespace and kind."""
    for policy, first in world.first_saying.items():
        if first is not policy:
            told = f"it says the same as {first.key}"
            yield world.source(policy).finding(CHECKS["duplicate"], told, "spec")


def shadowed(world: World) -> Iterator[Finding]:
    """Find rules that another rule covers, whatever pods come: by their words, not by today's pods.

    A rule covers another when it has at least its subject, its peers and its ports. Of two
    equal ones the later is reported; duplicates of whole policies are not looked at again.
    Only rules that accept are compared, since their order does not matter.
    """
    first = world.first_saying
    for policies in world.by_namespace.values():
        plain = [p for p in policies if _only_accepts(p) and first[p] is p]
        by_subject: dict[Matcher, list[Policy]] = defaultdict(list)
        for policy in plain:
            by_subject[policy.subject].append(policy)
        for subject, group in by_subject.items():
            wider = [
                other
                for candidate, others in by_subject.items()
                if candidate is subject or covers(candidate, subject)
                for other in others
            ]
            for policy in group:
                yield from _shadowed_in(world, policy, wider)


def _only_accepts(policy: Policy) -> bool:
    return policy.tier == NETWORK and all(
        rule.action == ACCEPT and not rule.without for rule in policy.every_rule()
    )


def _shadowed_in(world: World, policy: Policy, wider: Iterable[Policy]) -> Iterator[Finding]:
    for rule in policy.every_rule():
        for other in wider:
            cover = next((r for r in other.rules.get(rule.direction, ()) if _wider(r, rule)), None)
            if cover is None or (_wider(rule, cover) and _comes_before(rule, cover)):
                continue
            told = f"{cover.path} of {other.key} admits all of it"
            yield world.source(policy).finding(CHECKS["shadowed"], told, rule.path)
            break


def _comes_before(rule: Rule, other: Rule) -> bool:
    return (rule.policy, rule.index) < (other.policy, other.index)


def _wider(wide: Rule, rule: Rule) -> bool:
    """Say whether one rule admits at least what another one does."""
    if wide is rule or wide.subject is not None or rule.subject is not None:
        return False
    return _peers_cover(wide, rule) and _ports_cover(wide, rule)


def _peers_cover(wide: Rule, rule: Rule) -> bool:
    if wide.peers is None:
        return True
    if rule.peers is None:
        return False
    return all(any(covers(each, peer) for each in wide.peers or ()) for peer in rule.peers)


def _ports_cover(wide: Rule, rule: Rule) -> bool:
    if wide.ports is None:
        return True
    if rule.ports is None:
        return False
    return all(any(_port_covers(each, port) for each in wide.ports) for port in rule.ports)


def _port_covers(wide: PortMatch, port: PortMatch) -> bool:
    if wide == port:
        return True
    if wide.protocol != port.protocol:
        return False
    return wide.port is None or (
        not isinstance(port.port, str)
        and wide.of(None).covers(port.of(None))
        and bool(port.of(None))
    )


def covers(wide: Matcher, peer: Matcher) -> bool:
    """Say whether one matcher means everything that another one means, whatever pods there are."""
    if wide == peer:
        return True
    if isinstance(wide, BlockPeer) and isinstance(peer, BlockPeer):
        return wide.pods_too == peer.pods_too and wide.addresses.covers(peer.addresses)
    if not isinstance(wide, PodPeer) or not isinstance(peer, PodPeer):
        return False
    if wide.namespaces is None:
        same = peer.namespaces is None and wide.own_namespace == peer.own_namespace
        return same and implies(peer.pods, wide.pods)
    if peer.namespaces is None:
        return not wide.namespaces.requirements and implies(peer.pods, wide.pods)
    return implies(peer.namespaces, wide.namespaces) and implies(peer.pods, wide.pods)


def implies(narrow: Selector | None, wide: Selector | None) -> bool:
    """Say whether whatever fulfils one selector fulfils the other; ``None`` demands nothing."""
    if wide is None:
        return True
    given = narrow.requirements if narrow else ()
    return all(any(_implies(each, wanted) for each in given) for wanted in wide.requirements)


def _implies(given: Requirement, wanted: Requirement) -> bool:
    if given.key != wanted.key:
        return False
    match wanted.operator:
        case "In":
            return given.operator == "In" and set(given.values) <= set(wanted.values)
        case "NotIn":
            if given.operator == "In":
                return not set(given.values) & set(wanted.values)
            return given.operator == "DoesNotExist" or (
                given.operator == "NotIn" and set(given.values) >= set(wanted.values)
            )
        case "Exists":
            return given.operator in ("In", "Exists")
    return given.operator == "DoesNotExist"
