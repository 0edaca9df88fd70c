"""What changes between two estates: connections added, removed and changed, and by whom.

The classes of both estates are cut against each other into *units*, pods that neither
estate tells apart, and both answers are written over units. Areas that are the same in both
cancel out, and only what is left is compared: the cost is that of the difference.

A pod that one estate lacks while its workload is in both (replicas have other names there, or
there is the template alone) is compared with the workload's other pods: what a workload may do
has not changed because its pods were replaced.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from k8slab.policy.addresses import EVERYWHERE, AddressSet
from k8slab.policy.causes import Way, causes
from k8slab.policy.index import bits_of, numbers_of
from k8slab.policy.listing import Group
from k8slab.policy.ports import NONE, PortSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from k8slab.policy.estate import Estate
    from k8slab.policy.flow import Party
    from k8slab.policy.model import Pod, Policy
    from k8slab.policy.reach import Area

ADDED, REMOVED, CHANGED = "added", "removed", "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One pair whose allowed ports differ; `causes` are keys of policies that differ.

    Without a cause the policies are the same and the pods are not: labels, ports, workloads.
    """

    kind: str
    source: Group | AddressSet
    destination: Group | AddressSet
    before: PortSet
    after: PortSet
    causes: tuple[str, ...] = ()

    def __str__(self) -> str:
        ports = f"{self.before} -> {self.after}" if self.kind == CHANGED else ""
        ports = ports or str(self.after if self.kind == ADDED else self.before)
        by = f" ({', '.join(self.causes)})" if self.causes else ""
        return f"{self.kind}: {self.source} -> {self.destination}: {ports}{by}"


def diff(old: Estate, new: Estate) -> tuple[Change, ...]:
    """Compare two estates; return the changes, sorted by name."""
    return tuple(sorted(_Difference(old, new).changes(), key=str))


def any_change(
    old: Estate, new: Estate, wanted: Callable[[Change], bool] = lambda _change: True
) -> Change | None:
    """Return one change that is `wanted`, or ``None`` where there is none; cheaper than all."""
    return next((change for change in _Difference(old, new).changes() if wanted(change)), None)


Parts = list[tuple[int, PortSet]]
Pair = tuple[int, int]
"""Two bits of the units: source and destination."""


class _Difference:
    def __init__(self, old: Estate, new: Estate) -> None:
        self.old, self.new = old, new
        self.units: list[Group] = []
        self.bits: list[tuple[int | None, int | None]] = []
        self._cut_pods()
        self.width = len(self.units)
        bounds = set(old.profiler.index.bounds) | set(new.profiler.index.bounds)
        self.bounds = sorted(bounds)
        self.full = self.width + len(self.bounds)
        self.tables = [self._table(estate, side) for side, estate in enumerate((old, new))]
        self.differing = _differing(old, new)

    def _cut_pods(self) -> None:
        classes = self.old.profiler.index.class_of, self.new.profiler.index.class_of
        kinds: list[dict[Party, Counter[int]]] = [defaultdict(Counter), defaultdict(Counter)]
        for estate, class_of, found in zip((self.old, self.new), classes, kinds, strict=True):
            for key, pod in estate.pods.items():
                found[_workload(pod)][class_of[key]] += 1
        places: dict[tuple, list[str]] = defaultdict(list)
        for key in {**self.old.pods, **self.new.pods}:
            pod = self.new.pods.get(key) or self.old.pods[key]
            both = [class_of.get(key) for class_of in classes]
            for side, found in enumerate(kinds):
                if both[side] is None and (there := found.get(_workload(pod))):
                    both[side] = there.most_common(1)[0][0]
            places[_workload(pod), *both].append(key)
        self.of_workload: dict[Party, list[int]] = defaultdict(list)
        for (workload, before, after), keys in places.items():
            self.of_workload[workload].append(len(self.units))
            names = ", ".join(sorted(key.rpartition("/")[2] for key in keys))
            name = f"{workload} ({names})"
            self.units.append(Group(name, workload.namespace, workload, tuple(sorted(keys))))
            self.bits.append((before, after))

    def _table(self, estate: Estate, side: int) -> list[int]:
        """Return for each bit of an estate's index the bits of its units."""
        index = estate.profiler.index
        found: list[list[int]] = [[] for _ in range(index.full)]
        for unit, both in enumerate(self.bits):
            if (bit := both[side]) is not None:
                found[bit].append(unit)
        for number, start in enumerate(self.bounds[:-1]):
            found[index.bit_of(start)].append(self.width + number)
        return [bits_of(numbers, self.full) for numbers in found]

    def changes(self) -> Iterator[Change]:
        areas = [
            {self._remap(area, table) for area in estate.reach.areas}
            for estate, table in zip((self.old, self.new), self.tables, strict=True)
        ]
        rest = areas[0] - areas[1], areas[1] - areas[0]
        inside = (1 << self.width) - 1
        pods: dict[tuple, list[Pair]] = defaultdict(list)
        for source, parts in self._by_side(rest, 0, inside).items():
            for bits, before, after in _compare(*parts):
                for target in numbers_of(bits & inside):
                    place = (self.units[source].workload, self.units[target].workload)
                    pods[*place, before, after].append((source, target))
                if outside := bits >> self.width:
                    pair = source, self.width + next(numbers_of(outside))
                    yield self._change(
                        self._whole(source), self._addresses(outside), before, after, pair
                    )
        yield from self._pod_changes(pods)
        for target, parts in self._by_side(rest, 1, inside).items():
            for bits, before, after in _compare(*parts):
                if outside := bits >> self.width:
                    pair = self.width + next(numbers_of(outside)), target
                    yield self._change(
                        self._addresses(outside), self._whole(target), before, after, pair
                    )

    def _remap(self, area: Area, table: list[int]) -> tuple[int, int, PortSet]:
        found = []
        for bits in (area.sources, area.destinations):
            made = 0
            for number in numbers_of(bits):
                made |= table[number]
            found.append(made)
        return found[0], found[1], area.ports

    def _by_side(
        self, rest: tuple[set, set], side: int, inside: int
    ) -> dict[int, tuple[Parts, Parts]]:
        """Return for each pod unit on one side the other side's parts, before and after."""
        found: dict[int, tuple[Parts, Parts]] = defaultdict(lambda: ([], []))
        for when, areas in enumerate(rest):
            for area in areas:
                for unit in numbers_of(area[side] & inside):
                    found[unit][when].append((area[1 - side], area[2]))
        return found

    def _pod_changes(self, found: dict[tuple, list[Pair]]) -> Iterator[Change]:
        """Yield changes between workloads, in one where all their pods change alike."""
        for (start, end, before, after), pairs in found.items():
            every = product(self.of_workload[start], self.of_workload[end])
            if set(pairs) >= {pair for pair in every if not self._is_self(*pair)}:
                pair = pairs[0]
                if not self._is_self(*pair):
                    groups = self._workload(start), self._workload(end)
                    yield self._change(*groups, before, after, pair)
                continue
            for source, target in pairs:
                if not self._is_self(source, target):
                    groups = self._whole(source), self._whole(target)
                    yield self._change(*groups, before, after, (source, target))

    def _is_self(self, source: int, target: int) -> bool:
        """Say whether a unit is one pod in each estate: nothing stops what it sends to itself."""
        if source != target:
            return False
        for estate in (self.old, self.new):
            here = [estate.pods[key] for key in self.units[source].pods if key in estate.pods]
            if len(here) > 1 or any(pod.template for pod in here):
                return False
        return True

    def _workload(self, party: Party) -> Group:
        keys = [key for unit in self.of_workload[party] for key in self.units[unit].pods]
        return Group(str(party), party.namespace, party, tuple(sorted(keys)))

    def _whole(self, unit: int) -> Group:
        """Return a unit under its workload's name where it is all of it."""
        group = self.units[unit]
        if len(self.of_workload[group.workload]) == 1:
            return self._workload(group.workload)
        return group

    def _addresses(self, pieces: int) -> AddressSet:
        spans = (
            AddressSet.span(self.bounds[n], self.bounds[n + 1] - 1) for n in numbers_of(pieces)
        )
        return AddressSet.union(spans) & (EVERYWHERE[4] | EVERYWHERE[6])

    def _change(
        self,
        source: Group | AddressSet,
        destination: Group | AddressSet,
        before: PortSet,
        after: PortSet,
        pair: Pair,
    ) -> Change:
        kind = CHANGED if before and after else ADDED if after else REMOVED
        ports = (before - after) | (after - before)
        return Change(kind, source, destination, before, after, self._causes(pair, ports))

    def _causes(self, pair: Pair, ports: PortSet) -> tuple[str, ...]:
        source, target = pair
        before, after = (
            Way(estate, self._bit(estate, source, side), self._bit(estate, target, side))
            for side, estate in enumerate((self.old, self.new))
        )
        return tuple(dict.fromkeys(causes((before, after), ports, self.differing)))

    def _bit(self, estate: Estate, unit: int, side: int) -> int | None:
        if unit < self.width:
            return self.bits[unit][side]
        return estate.profiler.index.bit_of(self.bounds[unit - self.width])


def _workload(pod: Pod) -> Party:
    assert pod.workload is not None
    return pod.workload


def _differing(old: Estate, new: Estate) -> frozenset[str]:
    """Return the keys of policies that one estate lacks, or that are not written alike."""
    one, other = ({p.key: p for p in estate.policies} for estate in (old, new))
    changed = {key for key in one.keys() & other.keys() if _unlike(one[key], other[key])}
    return frozenset((one.keys() ^ other.keys()) | changed)


def _unlike(policy: Policy, other: Policy) -> bool:
    """Say whether two policies are not the same: a server fills in what a manifest leaves out."""
    if policy is other or policy.spec == other.spec:
        return False
    return _meaning(policy) != _meaning(other)


def _meaning(policy: Policy) -> tuple:
    rules = {
        direction: [(r.action, r.peers, r.ports, r.without, r.subject) for r in found]
        for direction, found in policy.rules.items()
    }
    return policy.subject, policy.tier, policy.order, rules


def _compare(before: Parts, after: Parts) -> Iterator[tuple[int, PortSet, PortSet]]:
    """Yield the peers whose ports differ, with both answers."""
    for bits, ports in before:
        rest = bits
        for others, wanted in after:
            if both := bits & others:
                rest &= ~others
                if ports != wanted:
                    yield both, ports, wanted
        if rest:
            yield rest, ports, NONE
    known = _all(bits for bits, _ in before)
    for bits, ports in after:
        if rest := bits & ~known:
            yield rest, NONE, ports


def _all(parts: Iterable[int]) -> int:
    found = 0
    for bits in parts:
        found |= bits
    return found
