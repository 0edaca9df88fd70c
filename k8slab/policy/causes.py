"""Which policies cause a difference between two estates.

A policy is a cause when it was changed, added or removed, and what it *says about the pair* is
not the same as before: the actions and ports of those of its rules that match the peer, as far
as they touch the ports that differ; and that it isolates the subject, where the subject was
isolated in one estate only. So a policy that was rewritten elsewhere, or that says the same in
other words, is no cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from k8slab.policy.model import EGRESS, INGRESS, LOG, NETWORK
from k8slab.policy.ports import NONE, PortSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.policy.estate import Estate
    from k8slab.policy.model import Policy


class Way(NamedTuple):
    """One estate, and the bits of source and destination there; ``None`` who is not there."""

    estate: Estate
    source: int | None
    destination: int | None

    def answer(self, direction: str) -> PortSet | None:
        """Return the ports that one side's policies allow; ``None`` where the pair is not there."""
        if self.source is None or self.destination is None:
            return None
        reach = self.estate.reach
        side = reach.out if direction == EGRESS else reach.into
        return side(self.source, self.destination)

    def policies(self, direction: str) -> tuple[Policy, ...]:
        """Return the policies that select the subject for a direction."""
        subject = self.source if direction == EGRESS else self.destination
        if subject is None:
            return ()
        return self.estate.reach.sides[direction].of[subject].policies

    def said(self, policy: Policy, direction: str, ports: PortSet) -> list[tuple[str, PortSet]]:
        """Return what the rules of a policy do with the pair, as far as these ports go."""
        subject, peer = self.source, self.destination
        if direction == INGRESS:
            subject, peer = peer, subject
        if subject is None or peer is None:
            return []
        profiler = self.estate.profiler
        return [
            (rule.action, touched)
            for rule in policy.rules[direction]
            if rule.action != LOG
            for peers, traffic in profiler.matched(rule, subject)
            if peers >> peer & 1 and (touched := traffic & ports)
        ]


def causes(ways: tuple[Way, Way], changed: PortSet, differing: frozenset[str]) -> Iterator[str]:
    """Yield the keys of the policies (of those that differ) that changed these ports of a pair."""
    for direction in (EGRESS, INGRESS):
        before, after = (way.answer(direction) for way in ways)
        one, other = before or NONE, after or NONE
        ports = ((one - other) | (other - one)) & changed
        if not ports:
            continue
        said = [_said(way, direction, ports, differing) for way in ways]
        known = before is not None and after is not None
        isolating = [
            {p.key for p in way.policies(direction) if p.tier == NETWORK} & differing
            for way in ways
        ]
        turned = known and _isolated(ways[0], direction) != _isolated(ways[1], direction)
        for key in {**said[0], **said[1]} | dict.fromkeys(sorted(isolating[0] ^ isolating[1])):
            apart = said[0].get(key) != said[1].get(key)
            if apart or (turned and key in isolating[0] ^ isolating[1]):
                yield key


def _isolated(way: Way, direction: str) -> bool:
    return any(policy.tier == NETWORK for policy in way.policies(direction))


def _said(way: Way, direction: str, ports: PortSet, keys: frozenset[str]) -> dict[str, tuple]:
    found = {}
    for policy in way.policies(direction):
        if policy.key in keys and (said := way.said(policy, direction, ports)):
            found[policy.key] = (policy.tier, policy.order, said)
    return found
