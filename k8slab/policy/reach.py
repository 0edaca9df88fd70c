"""All connections of an estate: who may reach whom, on which ports, without asking pairs.

A flow is allowed when the source's egress and the destination's ingress allow it. Sources
with the same egress profile and destinations with the same ingress profile need one answer
together, and it is a rectangle: the sources whom the ingress profile admits, times the
destinations that the egress profile admits, on the ports that both allow. The rectangles
(`Area`) are disjoint, and they are the whole answer, as exact as the list of all pairs.

How the cost grows: making the index looks at each pod once; a profile costs its rules, times
the words of an integer with one bit a class; and rectangles cost the pairs of profiles that
meet at all, of which there are far fewer than pairs of classes, and nearly none between
namespaces that isolate their pods. The number of pods counts only in the first step.

Lists with names are made from the rectangles when they are asked for (`listing`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from k8slab.policy.index import numbers_of
from k8slab.policy.model import EGRESS, INGRESS
from k8slab.policy.ports import ALL, NONE, PortSet
from k8slab.policy.profiles import Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from k8slab.policy.index import ClassIndex
    from k8slab.policy.model import Policy
    from k8slab.policy.profiles import Profiler


class Area(NamedTuple):
    """Every one of `sources` may reach every one of `destinations` on `ports`."""

    sources: int
    destinations: int
    ports: PortSet


@dataclass(frozen=True)
class Reach:
    """The profiles of everybody, in both directions, and the areas that they make."""

    index: ClassIndex
    egress: tuple[Profile, ...]
    ingress: tuple[Profile, ...]

    @cached_property
    def areas(self) -> tuple[Area, ...]:
        """Return all connections as disjoint areas."""
        return tuple(_areas(self.index, self.egress, self.ingress))

    @cached_property
    def _egress_of(self) -> list[Profile]:
        return _by_class(self.index, self.egress)

    @cached_property
    def _ingress_of(self) -> list[Profile]:
        return _by_class(self.index, self.ingress)

    def ports(self, source: int, destination: int) -> PortSet:
        """Return what one bit may reach another on."""
        out = self.out(source, destination)
        return out & self.into(source, destination) if out else NONE

    def out(self, source: int, destination: int) -> PortSet:
        """Return what the source's egress allows."""
        return self._egress_of[source].ports(destination)

    def into(self, source: int, destination: int) -> PortSet:
        """Return what the destination's ingress allows."""
        return self._ingress_of[destination].ports(source)

    def has(self, source: int, destination: int, place: int) -> bool:
        """Say whether one port (its number in `PortSet`) is open between two bits."""
        return place in self._egress_of[source].ports(destination) and place in self._ingress_of[
            destination
        ].ports(source)

    def changed(
        self, profiler: Profiler, policies: Sequence[Policy], concerned: dict[str, int]
    ) -> Reach:
        """Return the reach with other policies, where they concern only these subjects.

        `concerned` has the subjects of each direction. Everybody else's profiles stay, and
        of the areas those without the concerned subjects.
        """
        sides = {EGRESS: self.egress, INGRESS: self.ingress}
        made: dict[str, list[Profile]] = {}
        for direction, bits in concerned.items():
            if bits:
                made[direction] = _renew(sides[direction], profiler, policies, bits, direction)
        return Patched(
            self.index,
            tuple(made.get(EGRESS, self.egress)),
            tuple(made.get(INGRESS, self.ingress)),
            before=self,
            concerned=concerned,
        )


@dataclass(frozen=True)
class Patched(Reach):
    """A reach that differs from another one for a few subjects."""

    before: Reach
    concerned: dict[str, int]

    @cached_property
    def areas(self) -> tuple[Area, ...]:
        """Return the areas of before without the concerned subjects, and theirs anew."""
        sources, destinations = self.concerned[EGRESS], self.concerned[INGRESS]
        found = []
        for area in self.before.areas:
            if area.sources & sources or area.destinations & destinations:
                rest = Area(area.sources & ~sources, area.destinations & ~destinations, area.ports)
                if rest.sources and rest.destinations:
                    found.append(rest)
            else:
                found.append(area)
        found += self.fresh
        return tuple(found)

    @cached_property
    def fresh(self) -> tuple[Area, ...]:
        """Return the areas of the concerned subjects alone."""
        sources, destinations = self.concerned[EGRESS], self.concerned[INGRESS]
        found: list[Area] = []
        if sources:
            found += _areas(self.index, _only(self.egress, sources), self.ingress)
        if destinations:
            others = _only(self.egress, ~sources) if sources else self.egress
            found += _areas(self.index, others, _only(self.ingress, destinations))
        return tuple(found)

    @cached_property
    def stale(self) -> tuple[Area, ...]:
        """Return the areas that the concerned subjects had before."""
        sources, destinations = self.concerned[EGRESS], self.concerned[INGRESS]
        found = []
        for area in self.before.areas:
            if hit := area.sources & sources:
                found.append(Area(hit, area.destinations, area.ports))
            rest, hit = area.sources & ~sources, area.destinations & destinations
            if rest and hit:
                found.append(Area(rest, hit, area.ports))
        return tuple(found)


def reach(profiler: Profiler, policies: Sequence[Policy]) -> Reach:
    """Answer for everybody."""
    sides = {
        direction: _complete(profiler.index, profiler.profiles(direction, policies))
        for direction in (EGRESS, INGRESS)
    }
    return Reach(profiler.index, tuple(sides[EGRESS]), tuple(sides[INGRESS]))


def _complete(index: ClassIndex, profiles: list[Profile]) -> list[Profile]:
    """Add the profiles of those that no policy selects, and of the world outside."""
    selected = 0
    for profile in profiles:
        selected |= profile.members
    inside = (1 << index.width) - 1
    found = [*profiles]
    if free := inside & ~selected:
        found.append(Profile(free, ((index.everything, ALL),)))
    for version, bits in index.outside.items():
        found.append(Profile(bits, ((_speaking(index, version), ALL),)))
    return found


def _speaking(index: ClassIndex, version: int) -> int:
    """Return the pods that may have an address of a family."""
    found = 0
    for families, bits in index.by_families.items():
        if version in families or not families:
            found |= bits
    return found & ((1 << index.width) - 1)


def _renew(
    old: Iterable[Profile],
    profiler: Profiler,
    policies: Sequence[Policy],
    bits: int,
    direction: str,
) -> list[Profile]:
    kept = []
    for profile in old:
        hit = profile.members & bits
        if not hit:
            kept.append(profile)
        elif rest := profile.members ^ hit:
            kept.append(Profile(rest, profile.parts, profile.policies))
    made = profiler.profiles(direction, policies, bits)
    free = bits
    for profile in made:
        free &= ~profile.members
    if free:
        made.append(Profile(free, ((profiler.index.everything, ALL),)))
    return [*kept, *made]


def _only(profiles: Iterable[Profile], bits: int) -> list[Profile]:
    return [
        Profile(members, profile.parts, profile.policies)
        for profile in profiles
        if (members := profile.members & bits)
    ]


def _by_class(index: ClassIndex, profiles: Iterable[Profile]) -> list[Profile]:
    nobody = Profile(0, ())
    found = [nobody] * index.full
    for profile in profiles:
        for number in numbers_of(profile.members):
            found[number] = profile
    return found


_MANY = 64
"""From so many peers on, asking every profile is faster than asking every peer."""


class _Finder:
    """Finds the profiles to which peers belong."""

    def __init__(self, index: ClassIndex, profiles: Sequence[Profile]) -> None:
        self.profiles = profiles
        self.number = [-1] * index.full
        for number, profile in enumerate(profiles):
            for place in numbers_of(profile.members):
                self.number[place] = number
        self.known: dict[int, list[int]] = {}

    def of(self, peers: int) -> list[int]:
        """Return the numbers of the profiles that have any of the peers."""
        found = self.known.get(peers)
        if found is None:
            if peers.bit_count() < _MANY:
                found = sorted({self.number[n] for n in numbers_of(peers)} - {-1})
            else:
                found = [n for n, each in enumerate(self.profiles) if each.members & peers]
            self.known[peers] = found
        return found


def _areas(
    index: ClassIndex, egress: Sequence[Profile], ingress: Sequence[Profile]
) -> Iterator[Area]:
    finder = _Finder(index, ingress)
    targets = 0
    for profile in ingress:
        targets |= profile.members
    reached: dict[int, list[tuple[int, int, PortSet]]] = defaultdict(list)
    for profile in egress:
        for peers, ports in profile.parts:
            for number in finder.of(peers & targets):
                reached[number].append((profile.members, peers, ports))
    for number, out in reached.items():
        profile = ingress[number]
        for members, peers, wanted in out:
            destinations = profile.members & peers
            for admitted, ports in profile.parts:
                sources = members & admitted
                if sources and (both := wanted & ports):
                    yield Area(sources, destinations, both)
