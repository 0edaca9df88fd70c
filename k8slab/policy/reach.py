"""All connections of an estate: who may reach whom, on which ports, without asking pairs.

A flow is allowed when the source's egress and the destination's ingress allow it. Sources
with the same egress profile and destinations with the same ingress profile need one answer
together, and it is a rectangle: the sources whom the ingress profile admits, times the
destinations that the egress profile admits, on the ports that both allow. The rectangles
(`Area`) are disjoint, and they are the whole answer, as exact as the list of all pairs.

How the cost grows: making the index looks at each pod once; a profile costs its rules, times
the words of an integer with one bit a class; and rectangles cost the pairs of profiles that
meet at all, of which there are far fewer than pairs of classes, and nearly none between
namespaces that isolate their pods. The number of pods counts only in the first step. When a
policy changes, only the profiles of the pods that it selects are made anew, and of the
areas only those of these profiles; the rest costs one look at each.

Lists with names are made from the rectangles when they are asked for (`listing`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from k8slab.policy.index import numbers_of
from k8slab.policy.model import EGRESS, INGRESS
from k8slab.policy.ports import ALL, NONE, PortSet
from k8slab.policy.profiles import Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from k8slab.policy.index import ClassIndex
    from k8slab.policy.model import Policy
    from k8slab.policy.profiles import Profiler


class Area(NamedTuple):
    """Every one of `sources` may reach every one of `destinations` on `ports`."""

    sources: int
    destinations: int
    ports: PortSet
    egress: Profile
    """The profile of the sources, and below that of the destinations."""
    ingress: Profile


NOBODY = Profile(0, ())


class _Side:
    """The profiles of one direction, and to which of them each bit belongs."""

    def __init__(self, profiles: Iterable[Profile], of: list[Profile]) -> None:
        self.profiles = tuple(profiles)
        self.of = of

    @classmethod
    def made(cls, index: ClassIndex, profiles: Iterable[Profile]) -> _Side:
        """Return the side of an estate's profiles, which have every bit once."""
        found = cls(profiles, [NOBODY] * index.full)
        for profile in found.profiles:
            for number in numbers_of(profile.members):
                found.of[number] = profile
        return found

    def renewed(self, fresh: Sequence[Profile]) -> tuple[_Side, dict[Profile, Profile]]:
        """Return the side with new profiles of some bits, and what became of the old ones."""
        of = self.of.copy()
        left: dict[Profile, int] = {}
        for profile in fresh:
            for number in numbers_of(profile.members):
                left[of[number]] = left.get(of[number], of[number].members) & ~(1 << number)
                of[number] = profile
        became = {
            old: Profile(members, old.parts, old.policies) if members else NOBODY
            for old, members in left.items()
        }
        for rest in became.values():
            for number in numbers_of(rest.members):
                of[number] = rest
        kept = [became.get(profile, profile) for profile in self.profiles]
        return _Side((*(p for p in kept if p is not NOBODY), *fresh), of), became


@dataclass(frozen=True)
class Reach:
    """The profiles of everybody, in both directions, and the areas that they make."""

    index: ClassIndex
    sides: Mapping[str, _Side]
    _known: tuple[Area, ...] | None = field(default=None, repr=False)

    @cached_property
    def areas(self) -> tuple[Area, ...]:
        """Return all connections as disjoint areas."""
        if self._known is not None:
            return self._known
        return tuple(_areas(self.sides[EGRESS].profiles, self.sides[INGRESS], -1))

    def ports(self, source: int, destination: int) -> PortSet:
        """Return what one bit may reach another on."""
        out = self.out(source, destination)
        return out & self.into(source, destination) if out else NONE

    def out(self, source: int, destination: int) -> PortSet:
        """Return what the source's egress allows."""
        return self.sides[EGRESS].of[source].ports(destination)

    def into(self, source: int, destination: int) -> PortSet:
        """Return what the destination's ingress allows."""
        return self.sides[INGRESS].of[destination].ports(source)

    def has(self, source: int, destination: int, place: int) -> bool:
        """Say whether one port (its number in `PortSet`) is open between two bits."""
        return place in self.out(source, destination) and place in self.into(source, destination)

    def changed(
        self, profiler: Profiler, policies: Sequence[Policy], concerned: Mapping[str, int]
    ) -> Reach:
        """Return the reach with other policies, where they concern only these subjects.

        `concerned` has the subjects of each direction, `policies` all that may select them.
        Everybody else's profiles stay, and the areas without the concerned subjects.
        """
        sides, became, fresh = dict(self.sides), {}, {}
        for direction, bits in concerned.items():
            fresh[direction] = _anew(profiler, policies, bits, direction) if bits else []
            sides[direction], became[direction] = self.sides[direction].renewed(fresh[direction])
        kept = self._without(concerned, became)
        kept += _areas(fresh[EGRESS], sides[INGRESS], -1)
        others = sides[EGRESS].profiles[: -len(fresh[EGRESS]) or None]
        kept += _areas(others, sides[INGRESS], concerned[INGRESS])
        return Reach(self.index, sides, tuple(kept))

    def _without(
        self, concerned: Mapping[str, int], became: Mapping[str, Mapping[Profile, Profile]]
    ) -> list[Area]:
        """Return the areas of all others."""
        out, into = became[EGRESS], became[INGRESS]
        found = []
        for area in self.areas:
            if area.egress not in out and area.ingress not in into:
                found.append(area)
                continue
            sources = area.sources & ~concerned[EGRESS]
            destinations = area.destinations & ~concerned[INGRESS]
            if sources and destinations:
                egress = out.get(area.egress, area.egress)
                ingress = into.get(area.ingress, area.ingress)
                found.append(Area(sources, destinations, area.ports, egress, ingress))
        return found


def reach(profiler: Profiler, policies: Sequence[Policy]) -> Reach:
    """Answer for everybody."""
    index, sides = profiler.index, {}
    for direction in (EGRESS, INGRESS):
        found = _anew(profiler, policies, (1 << index.width) - 1, direction)
        for version, bits in index.outside.items():
            found.append(Profile(bits, ((_speaking(index, version), ALL),)))
        sides[direction] = _Side.made(index, found)
    return Reach(index, sides)


def _anew(
    profiler: Profiler, policies: Sequence[Policy], bits: int, direction: str
) -> list[Profile]:
    """Return the profiles of some pods; those that no policy selects are free."""
    found = profiler.profiles(direction, policies, bits)
    free = bits
    for profile in found:
        free &= ~profile.members
    if free:
        found.append(Profile(free, ((profiler.index.everything, ALL),)))
    return found


def _speaking(index: ClassIndex, version: int) -> int:
    """Return the pods that may have an address of a family."""
    found = 0
    for families, bits in index.by_families.items():
        if version in families or not families:
            found |= bits
    return found & ((1 << index.width) - 1)


_MANY = 64
"""From so many peers on, asking every profile is faster than asking every peer."""


class _Finder:
    """Finds the profiles to which peers belong; remembers, since rules repeat their peers."""

    def __init__(self, side: _Side) -> None:
        self.side = side
        self.known: dict[int, list[Profile]] = {}

    def of(self, peers: int) -> list[Profile]:
        """Return the profiles that have any of the peers."""
        found = self.known.get(peers)
        if found is None:
            if peers.bit_count() < _MANY:
                found = list({self.side.of[number]: None for number in numbers_of(peers)})
            else:
                found = [each for each in self.side.profiles if each.members & peers]
            self.known[peers] = found
        return found


def _areas(egress: Iterable[Profile], ingress: _Side, targets: int) -> Iterator[Area]:
    """Yield the areas from sources with these profiles to the destinations among `targets`."""
    finder = _Finder(ingress)
    reached: dict[Profile, list[tuple[Profile, int, PortSet]]] = defaultdict(list)
    for out in egress if targets else ():
        for peers, ports in out.parts:
            if wanted := peers & targets:
                for into in finder.of(wanted):
                    reached[into].append((out, wanted, ports))
    for into, ways in reached.items():
        for out, wanted, ports in ways:
            destinations = into.members & wanted
            for admitted, others in into.parts:
                sources = out.members & admitted
                if sources and (both := ports & others):
                    yield Area(sources, destinations, both, out, into)
