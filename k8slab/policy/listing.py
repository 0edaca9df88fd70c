"""All connections by name: rows between groups of pods, and ranges of addresses outside.

Rows are made from the areas of `reach`. A row is between *groups*: the pods of one workload
that policies treat alike in everything. Most workloads are one group; where policies do
tell pods of one workload apart (an ipBlock that holds one of two replicas), its name says
which pods it means. Addresses outside come as ranges, as few as describe them exactly. An
address that belongs to a pod counts as that pod, whatever the ranges say.

What policies cannot decide is not listed: a pod to itself, and a pod's own node to the pod.
`Connections.between` knows it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from k8slab.errors import UsageError
from k8slab.policy.addresses import AddressSet
from k8slab.policy.flow import Party
from k8slab.policy.index import bits_of, numbers_of
from k8slab.policy.ports import ALL, PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.policy.estate import Estate


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """Pods of one workload that policies treat alike; `name` is the workload's where it can be."""

    name: str
    namespace: str
    workload: Party
    pods: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Connection:
    """What policies allow from one side to the other; never empty."""

    source: Group | AddressSet
    destination: Group | AddressSet
    ports: PortSet

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination}: {self.ports}"


class Block(NamedTuple):
    """Every source may reach every destination on the ports; blocks are disjoint."""

    sources: tuple[Group | AddressSet, ...]
    destinations: tuple[Group | AddressSet, ...]
    ports: PortSet


class Connections:
    """All connections of an estate; iterate over them, or ask for some."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self._reach = estate.reach
        self._index = estate.profiler.index

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Return all groups, sorted by name."""
        return tuple(sorted(g for found in self._named.values() for g in found))

    @cached_property
    def _named(self) -> dict[int, list[Group]]:
        """Return the groups by the bit that stands for each of them."""
        return _groups(self._estate, self._alike)

    @cached_property
    def _alike(self) -> dict[int, int]:
        """Return for each class the first one that is treated as it is, within a workload."""
        return _merge_alike(self._estate)

    @cached_property
    def _standing(self) -> int:
        """Return the bits that stand for groups, and those outside."""
        bits = bits_of(self._named, self._index.full)
        return bits | sum(self._index.outside.values())

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._every)

    def __len__(self) -> int:
        return len(self._every)

    @cached_property
    def _every(self) -> tuple[Connection, ...]:
        return tuple(self._rows(self._reach.areas))

    def of(self, party: Party) -> Iterator[Connection]:
        """Yield the connections from or to a workload or a pod; raises `UsageError`."""
        keys = self._estate.workloads.get(party) or (f"{party.namespace}/{party.name}",)
        unknown = [key for key in keys if key not in self._index.class_of]
        if unknown:
            raise self._estate.parties.unknown(party)
        numbers = {self._index.class_of[key] for key in keys}
        numbers |= {self._alike.get(number, number) for number in numbers}
        bits = bits_of(numbers, self._index.full)
        areas = [a for a in self._reach.areas if a.sources & bits or a.destinations & bits]
        for row in self._rows(areas):
            if _holds(row.source, keys) or _holds(row.destination, keys):
                yield row

    def between(self, source: str, destination: str) -> PortSet:
        """Return on which ports one may reach the other: keys of pods, or ``ip:ADDRESS``.

        All ports where policies cannot decide. Raises `UsageError` for who is not known.
        """
        parties, found = self._estate.parties, []
        for name in (source, destination):
            if name in self._estate.pods:
                found.append(parties.pod(name))
            else:
                found += parties.places(Party.parse(name))
        one, other = found
        if parties.beyond_policy(one, other):
            return ALL
        if one.bit is None or other.bit is None:
            raise UsageError(f"{source} to {destination}: ask `decide` about one port of them")
        return self._reach.ports(one.bit, other.bit)

    def blocks(self) -> Iterator[Block]:
        """Yield all connections in the compact form: sources times destinations."""
        for area in self._reach.areas:
            sources, destinations = self._sides(area.sources), self._sides(area.destinations)
            if sources and destinations:
                yield Block(sources, destinations, area.ports)

    def _sides(self, bits: int) -> tuple[Group | AddressSet, ...]:
        standing, width = bits & self._standing, self._index.width
        inside = standing & (1 << width) - 1
        found: list[Group | AddressSet] = [
            group for number in numbers_of(inside) for group in self._named[number]
        ]
        if outside := self._index.addresses_of(standing):
            found.append(outside)
        return tuple(found)

    def _rows(self, areas: Iterable) -> list[Connection]:
        found: list[Connection] = []
        outgoing: dict[tuple[int, PortSet], int] = defaultdict(int)
        incoming: dict[tuple[int, PortSet], int] = defaultdict(int)
        width = self._index.width
        for area in areas:
            sources, ends = area.sources & self._standing, area.destinations & self._standing
            inner = list(numbers_of(sources & (1 << width) - 1))
            targets = list(numbers_of(ends & (1 << width) - 1))
            for number in inner:
                if ends >> width:
                    outgoing[number, area.ports] |= ends >> width << width
                found += self._between_classes(number, targets, area.ports)
            if sources >> width:
                for target in targets:
                    incoming[target, area.ports] |= sources >> width << width
        for (number, ports), bits in outgoing.items():
            outside = self._index.addresses_of(bits)
            found += (Connection(group, outside, ports) for group in self._named[number])
        for (number, ports), bits in incoming.items():
            outside = self._index.addresses_of(bits)
            found += (Connection(outside, group, ports) for group in self._named[number])
        return sorted(found, key=_order)

    def _between_classes(
        self, number: int, targets: Iterable[int], ports: PortSet
    ) -> Iterator[Connection]:
        pods = self._estate.pods
        for source in self._named[number]:
            alone = len(source.pods) == 1 and not pods[source.pods[0]].template
            for target in targets:
                for destination in self._named[target]:
                    if destination is not source or not alone:
                        yield Connection(source, destination, ports)


def _order(row: Connection) -> tuple:
    outer = isinstance(row.source, AddressSet), isinstance(row.destination, AddressSet)
    return (*outer, str(row.source), str(row.destination), row.ports)


def _holds(side: Group | AddressSet, keys: Iterable[str]) -> bool:
    return isinstance(side, Group) and not set(keys).isdisjoint(side.pods)


def _groups(estate: Estate, alike: dict[int, int]) -> dict[int, list[Group]]:
    members: dict[tuple[Party, int], list[str]] = defaultdict(list)
    parts: dict[Party, int] = defaultdict(int)
    for number, each in enumerate(estate.profiler.index.classes):
        for key in each.keys:
            party = estate.pods[key].workload
            assert party is not None
            place = (party, alike.get(number, number))
            parts[party] += place not in members
            members[place].append(key)
    found: dict[int, list[Group]] = defaultdict(list)
    for (party, number), keys in members.items():
        name = str(party)
        if parts[party] > 1:
            pods = ", ".join(sorted(key.rpartition("/")[2] for key in keys))
            name = f"{party} ({pods})"
        found[number].append(Group(name, party.namespace, party, tuple(sorted(keys))))
    return found


def _merge_alike(estate: Estate) -> dict[int, int]:
    """Find classes of one workload that are in the same areas on both sides.

    An index divides pods by all words of all policies, also where these make no difference
    in the end: a range in a policy of somebody else may cut a workload's addresses in two.
    """
    index = estate.profiler.index
    classes: dict[Party, set[int]] = defaultdict(set)
    for number, each in enumerate(index.classes):
        for key in each.keys:
            party = estate.pods[key].workload
            assert party is not None
            classes[party].add(number)
    several = [numbers for numbers in classes.values() if len(numbers) > 1]
    if not several:
        return {}
    wanted = bits_of({number for numbers in several for number in numbers}, index.full)
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for place, area in enumerate(estate.reach.areas):
        for side, bits in enumerate((area.sources, area.destinations)):
            for number in numbers_of(bits & wanted):
                places[number].append((place, side))
    found: dict[int, int] = {}
    for numbers in several:
        first: dict[tuple, int] = {}
        for number in sorted(numbers):
            found[number] = first.setdefault(tuple(places[number]), number)
    return found
