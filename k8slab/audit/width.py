"""Rules beside the ports that their destinations declare: too wide, or about the wrong ports.

A declared port (``containerPort``) is information and no more: a process may listen without.
So nothing is said about destinations of which some declare none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.audit.catalogue import CHECKS
from k8slab.policy.model import ACCEPT, INGRESS
from k8slab.policy.ports import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.audit.backends import Backends
    from k8slab.audit.finding import Finding
    from k8slab.audit.world import World
    from k8slab.policy.model import Policy, PortMatch, Rule

FEW = 8
"""A destination that declares more ports than this may well mean "all" (RTP, FTP)."""


def unused_ports(world: World, backends: Backends) -> Iterator[Finding]:
    """Find ports in rules on which no destination listens, and rules without ports."""
    for policy in world.isolating:
        for rule in policy.every_rule():
            if rule.action != ACCEPT or not (destination := _destination(world, policy, rule)):
                continue
            if rule.ports is None:
                yield from _all_ports(world, policy, rule, destination)
            for number, match in enumerate(rule.ports or ()):
                if _listens(world, match, destination):
                    continue
                path = f"{rule.path}.ports[{number}]"
                source = world.source(policy)
                if targets := backends.translated(match, destination):
                    told = f"{match} is a port of {targets[0]}, whose pods listen on {targets[1]}"
                    remedy = f"write port {targets[1]}"
                    yield source.finding(CHECKS["service-port"], told, f"{path}.port", remedy)
                else:
                    told = f"no destination of this rule declares {match}"
                    yield source.finding(CHECKS["nobody-listens"], told, path)


def _destination(world: World, policy: Policy, rule: Rule) -> int:
    """Return the pods that the rule leads to; none where some of them declare no port."""
    if rule.direction == INGRESS:
        found = world.subject(policy)
    else:
        found = 0
        for peer in rule.peers or ():
            found |= world.members(peer, rule.direction)
        if found & ~world.pods:  # it leads outside too, of which nothing is known
            return 0
    return found if found and not found & ~world.declaring else 0


def _listens(world: World, match: PortMatch, destination: int) -> bool:
    if isinstance(match.port, str):
        return True  # `unknown-named-port` speaks of those
    ports = match.of(None)
    return any(
        classes & destination and ports.has(protocol, number)
        for (protocol, number), classes in world.listening.items()
        if protocol == match.protocol
    )


def _all_ports(world: World, policy: Policy, rule: Rule, destination: int) -> Iterator[Finding]:
    if rule.peers is None:
        return  # `everybody` speaks of those
    declared = [port for port, classes in world.listening.items() if classes & destination]
    if declared and len(declared) <= FEW:
        used = PortSet.union(PortSet.of(protocol, number) for protocol, number in declared)
        told = f"every port is admitted, and the pods behind it declare {used}"
        yield world.source(policy).finding(CHECKS["all-ports"], told, rule.path)
