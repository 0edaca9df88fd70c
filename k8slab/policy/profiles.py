"""What the policies say about one side, for everybody at once.

A *profile* is a direction's whole answer for a group of subjects: the set of all peers,
divided by the ports on which they may talk with the subjects. Subjects that the same
policies select have the same profile, so there are about as many profiles as there are
different policy subjects, however many pods there are.

It is computed by asking the rules in their order, as `walk` does, but for all peers
together. Every peer is in a *state*: the ports that are allowed, those that are undecided
and those that were passed on to the next tier. A rule moves the peers that it matches from
one state to another; peers in the same state stay together in one integer. A rule costs a
few operations for each state, and there are seldom more than five.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from k8slab.policy.index import numbers_of
from k8slab.policy.intervals import Bounds, lessen, meet, unite
from k8slab.policy.model import ACCEPT, DENY, EGRESS, INGRESS, LOG, NETWORK, TIERS, Mode
from k8slab.policy.ports import ALL, NONE, PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from k8slab.policy.index import ClassIndex
    from k8slab.policy.model import Matcher, Policy, Rule

Parts = tuple[tuple[int, PortSet], ...]
"""Disjoint sets of peers with the ports that are allowed; who may nothing is left out."""


@dataclass(frozen=True, eq=False, slots=True)
class Profile:
    """The subjects and, divided by ports, their peers in one direction."""

    members: int
    parts: Parts
    policies: tuple[Policy, ...] = ()
    """Those that select the subjects, in the order of all."""

    def ports(self, peer: int) -> PortSet:
        """Return the ports on which the subjects may talk with one peer."""
        for peers, ports in self.parts:
            if peers >> peer & 1:
                return ports
        return NONE


class _Bound(NamedTuple):
    """Subjects that are alike, with the policies that select them."""

    members: int
    policies: tuple[Policy, ...]


_OTHER = {INGRESS: EGRESS, EGRESS: INGRESS}


class Profiler:
    """Makes the profiles of one index; remembers what rules match."""

    def __init__(self, index: ClassIndex) -> None:
        self.index = index
        # By identity: comparing selectors costs more than asking them again. The matcher is
        # kept beside the answer, so that its id stays taken.
        self._members: dict[tuple[int, Mode], tuple[Matcher, int]] = {}
        self._by_name: dict[tuple[str, str], dict[int, int]] = {}
        self._subjects: dict[int, tuple[Policy, int]] = {}

    def selected(self, policy: Policy) -> int:
        """Return the pods that a policy selects."""
        found = self._subjects.get(id(policy))
        if found is None:
            bits = policy.subject.members(self.index, Mode(INGRESS, ())) & self.index.selectable
            found = self._subjects[id(policy)] = (policy, bits)  # keeps the id taken
        return found[1]

    def profiles(
        self, direction: str, policies: Sequence[Policy], within: int | None = None
    ) -> list[Profile]:
        """Return the profiles of all pods (or of those `within`) that any policy selects."""
        asked = [policy for policy in policies if direction in policy.rules]
        wanted = self.index.selectable if within is None else within & self.index.selectable
        return [
            Profile(bound.members, self._fold(bound, direction), bound.policies)
            for bound in self._bounds(asked, direction, wanted)
        ]

    def _bounds(self, policies: Sequence[Policy], direction: str, within: int) -> Iterator[_Bound]:
        """Divide the subjects by the policies that select them, a namespace at a time."""
        spaces: dict[str, list[_Bound]] = {}
        for name, everybody in self.index.by_space.items():
            if bits := everybody & within:
                spaces[name] = [_Bound(bits, ())]
        for policy in policies:
            subjects = self.selected(policy) & within
            if subjects:
                for name in (policy.namespace,) if policy.namespace else spaces:
                    spaces[name] = _split(spaces[name], subjects, policy)
        together: dict[tuple[Policy, ...], int] = {}
        for bounds in spaces.values():
            for bound in bounds:
                together[bound.policies] = together.get(bound.policies, 0) | bound.members
        for found, members in together.items():
            if found:
                for part in self._unlike(members, found, direction):
                    yield _Bound(part, found)

    def _unlike(self, members: int, policies: tuple[Policy, ...], direction: str) -> list[int]:
        """Divide subjects further by what their rules see of them."""
        cuts: list[int] = []
        rules = [rule for policy in policies for rule in policy.rules[direction]]
        if direction == INGRESS:
            for name in {name for rule in rules for name in rule.names}:
                cuts += self.by_name(name).values()
        families = self.index.by_families
        if len(families) > 1 and any(rule.peers for rule in rules):
            cuts += families.values()
        for rule in rules:
            if rule.subject is not None:
                cuts += (
                    self.members(rule.subject, Mode(_OTHER[direction], each)) for each in families
                )
        parts = [members]
        for cut in cuts:
            parts = [bits for part in parts for bits in (part & cut, part & ~cut) if bits]
        return parts

    def members(self, matcher: Matcher, mode: Mode) -> int:
        """Return everybody that a peer matches."""
        key = (id(matcher), mode)
        found = self._members.get(key)
        if found is None:
            found = self._members[key] = (matcher, matcher.members(self.index, mode))
        return found[1]

    def by_name(self, name: tuple[str, str]) -> dict[int, int]:
        """Return the selectable pods that have a port of this name, by its number."""
        if name not in self._by_name:
            found: dict[int, int] = {}
            for number, each in enumerate(self.index.classes):
                port = each.sample.ports.get(name)
                if port is not None and not each.sample.host_network:
                    found[port] = found.get(port, 0) | 1 << number
            self._by_name[name] = found
        return self._by_name[name]

    def _fold(self, bound: _Bound, direction: str) -> Parts:
        sample = next(numbers_of(bound.members))
        states = {(NONE.bounds, ALL.bounds, NONE.bounds): self.index.everything}
        for tier in TIERS:
            asked = [policy for policy in bound.policies if policy.tier == tier]
            for policy in asked:
                for rule in policy.rules[direction]:
                    if rule.action != LOG:
                        for peers, ports in self.matched(rule, sample):
                            states = _move(states, rule.action, peers, ports.bounds)
            if asked:
                states = _leave(states, isolating=tier == NETWORK)
        found: dict[Bounds, int] = {}
        for (allowed, rest, _), peers in states.items():
            if together := unite(allowed, rest):
                found[together] = found.get(together, 0) | peers
        return tuple((peers, PortSet(ports)) for ports, peers in found.items())

    def matched(self, rule: Rule, subject: int) -> list[tuple[int, PortSet]]:
        """Return the peers that a rule matches for a subject, divided by ports."""
        mine = self.index.classes[subject]
        mode = Mode(rule.direction, mine.families)
        peers = self.index.everything
        if rule.peers is not None:
            peers = 0
            for each in rule.peers:
                peers |= self.members(each, mode)
        if rule.subject is not None:
            peers &= self._whose_flows_match(rule.subject, subject, _OTHER[rule.direction])
        if rule.direction == INGRESS:
            return [(peers, rule.traffic(mine.sample))] if peers else []
        return self._by_ports(rule, peers)

    def _whose_flows_match(self, matcher: Matcher, subject: int, direction: str) -> int:
        """Return the peers in whose flows the subject itself matches."""
        found = 0
        for families, bits in self.index.by_families.items():
            if self.members(matcher, Mode(direction, families)) >> subject & 1:
                found |= bits
        return found

    def _by_ports(self, rule: Rule, peers: int) -> list[tuple[int, PortSet]]:
        """Divide destinations by the numbers that the rule's port names have on them."""
        if not peers:
            return []
        if not rule.names:
            return [(peers, rule.traffic(None))]
        parts = [peers]
        for name in rule.names:
            for cut in self.by_name(name).values():
                parts = [bits for part in parts for bits in (part & cut, part & ~cut) if bits]
        found = []
        for part in parts:
            first = (part & -part).bit_length() - 1
            inside = first < self.index.width and not self.index.hosts >> first & 1
            sample = self.index.classes[first].sample if inside else None
            found.append((part, rule.traffic(sample)))
        return found


def _split(bounds: Iterable[_Bound], subjects: int, policy: Policy) -> list[_Bound]:
    found = []
    for bound in bounds:
        if inside := bound.members & subjects:
            found.append(_Bound(inside, (*bound.policies, policy)))
            if rest := bound.members & ~subjects:
                found.append(_Bound(rest, bound.policies))
        else:
            found.append(bound)
    return found


State = tuple[Bounds, Bounds, Bounds]
"""Ports allowed, undecided, passed on: as bare boundaries, which are quick to look up."""


def _move(states: Mapping[State, int], action: str, peers: int, ports: Bounds) -> dict[State, int]:
    found: dict[State, int] = {}
    for state, bits in states.items():
        allowed, rest, passed = state
        hit = bits & peers
        moved = meet(rest, ports) if hit else ()
        if not moved:
            found[state] = found.get(state, 0) | bits
            continue
        if miss := bits & ~peers:
            found[state] = found.get(state, 0) | miss
        left = lessen(rest, moved)
        if action == ACCEPT:
            now = (unite(allowed, moved), left, passed)
        elif action == DENY:
            now = (allowed, left, passed)
        else:
            now = (allowed, left, unite(passed, moved))
        found[now] = found.get(now, 0) | hit
    return found


def _leave(states: Mapping[State, int], *, isolating: bool) -> dict[State, int]:
    """Go on to the next tier: what was passed is undecided again, and the rest unless isolated."""
    found: dict[State, int] = {}
    for (allowed, rest, passed), bits in states.items():
        state = (allowed, passed if isolating else unite(passed, rest), NONE.bounds)
        found[state] = found.get(state, 0) | bits
    return found
