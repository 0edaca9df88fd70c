"""Fewer nodes and edges that say exactly the same: equal workloads as one, sets instead of many.

The connections come as blocks, sources times destinations on some ports. Two steps:

- **Equal workloads are one node.** A workload's *row* is whom it may reach on which ports, its
  *column* who may reach it. Workloads of one namespace with the same row and column differ in
  nothing. In a picture of some namespaces the others are *elsewhere*: what they may send each
  other is not in it, so there the same row and column make one node of several namespaces. Rows
  and columns are integers with one bit a workload, so this costs a few operations for each block
  and workload, however many pairs the blocks stand for.
- **What all of a namespace have in common is one edge.** Where a node may reach every node of a
  namespace on some common ports, one edge to the namespace says so, and only nodes with which
  it may do more keep an edge of their own; then the same once more for sources. The whole
  estate is put together where all are equal. It is done only where the picture gets smaller.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from k8slab.policy.addresses import AddressSet
from k8slab.policy.index import bits_of, numbers_of
from k8slab.policy.ports import ALL, PortSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from k8slab.policy.listing import Block, Group


ELSEWHERE = ""
"""What stands for the namespace of whoever is in none of those that the picture is about."""


class Whole(NamedTuple):
    """All workloads of a namespace; of no namespace, all there are."""

    namespace: str


End = int | Whole | AddressSet
"""The number of a class of equal workloads, a set of them, or addresses outside."""

MOST_PAIRS = 20_000
"""Pairs of classes that are looked at; more make no readable graph in any case."""

Line = dict[PortSet, tuple[int, AddressSet]]
"""A row or column: by ports, the workloads as bits, and the addresses outside."""


class Merged:
    """Blocks of connections with equal workloads put together."""

    def __init__(
        self, groups: Sequence[Group], blocks: Sequence[Block], about: Collection[str] | None
    ) -> None:
        """Take groups in their order, all there are, and the namespaces that the picture is about.

        Without these (``None``) the groups are some of many, and nothing stands for a namespace.
        """
        self._about = about
        self.groups = groups
        self._numbers = {group.name: number for number, group in enumerate(groups)}
        self._rows: list[Line] = [{} for _ in groups]
        self._columns: list[Line] = [{} for _ in groups]
        for block in blocks:
            self._add(block)
        self.classes = self._alike()
        self._class_bits = [bits_of(members, len(groups)) for members in self.classes]
        self._spaces = self._sets()

    def _sets(self) -> dict[str, list[int]]:
        """Return the classes that a `Whole` may stand for, by its namespace: all are first."""
        if self._about is None:
            return {}
        found: dict[str, list[int]] = defaultdict(list)
        for number in range(len(self.classes)):
            found[self._space(number)].append(number)
        found.pop(ELSEWHERE, None)
        everyone = {"": [*range(len(self.classes))]} if len(self._all_spaces()) > 1 else {}
        return {**everyone, **found}

    def _all_spaces(self) -> set[str]:
        return {group.namespace for group in self.groups}

    def _add(self, block: Block) -> None:
        sources, sources_outside = self._parts(block.sources)
        destinations, ends_outside = self._parts(block.destinations)
        for number in numbers_of(sources):
            _put(self._rows[number], block.ports, destinations, ends_outside)
        for number in numbers_of(destinations):
            _put(self._columns[number], block.ports, sources, sources_outside)

    def _parts(self, side: Iterable[Group | AddressSet]) -> tuple[int, AddressSet]:
        numbers, outside = [], AddressSet()
        for each in side:
            if isinstance(each, AddressSet):
                outside |= each
            else:
                numbers.append(self._numbers[each.name])
        return bits_of(numbers, len(self.groups)), outside

    def _alike(self) -> list[list[int]]:
        found: dict[tuple, list[int]] = defaultdict(list)
        for number, group in enumerate(self.groups):
            lines = (self._rows[number], self._columns[number])
            space = self._space_of(group)
            found[space, *(frozenset(line.items()) for line in lines)].append(number)
        return list(found.values())

    def members(self, end: End) -> list[Group]:
        """Return the workloads that an end stands for."""
        if isinstance(end, AddressSet):
            return []
        classes = self._spaces[end.namespace] if isinstance(end, Whole) else [end]
        return [self.groups[number] for each in classes for number in self.classes[each]]

    def edges(self) -> dict[tuple[End, End], PortSet] | None:
        """Return what each end may send to which other; ``None`` when there are too many pairs."""
        pairs = self._pairs()
        if pairs is None:
            return None
        by_source: dict[End, dict[End, PortSet]] = defaultdict(dict)
        for (source, destination), ports in pairs.items():
            by_source[source][destination] = ports
        by_destination: dict[End, dict[End, PortSet]] = defaultdict(dict)
        for source, found in by_source.items():
            for destination, ports in self._together(found, source).items():
                by_destination[destination][source] = ports
        return {
            (source, destination): ports
            for destination, found in by_destination.items()
            for source, ports in self._together(found, destination).items()
        }

    def _pairs(self) -> dict[tuple[End, End], PortSet] | None:
        samples = {members[0]: number for number, members in enumerate(self.classes)}
        chosen = bits_of(samples, len(self.groups))  # who reaches one of a class reaches all of it
        lines = [(self._rows[m[0]], self._columns[m[0]]) for m in self.classes]
        count = sum((bits & chosen).bit_count() for row, _ in lines for bits, _ in row.values())
        if count > MOST_PAIRS:
            return None
        found: dict[tuple[End, End], PortSet] = {}
        for number, (row, column) in enumerate(lines):
            for ports, (bits, outside) in row.items():
                for other in numbers_of(bits & chosen):
                    if not (samples[other] == number and self.alone(number)):
                        found[number, samples[other]] = ports
                if outside:
                    found[number, outside] = found.get((number, outside), PortSet()) | ports
            for ports, (_, outside) in column.items():
                if outside:
                    found[outside, number] = found.get((outside, number), PortSet()) | ports
        return found

    def _space_of(self, group: Group) -> str:
        if self._about is None or group.namespace in self._about:
            return group.namespace
        return ELSEWHERE

    def _space(self, number: int) -> str:
        return self._space_of(self.groups[self.classes[number][0]])

    def is_elsewhere(self, number: int) -> bool:
        """Say whether a class is of namespaces that the picture is not about."""
        return self._space(number) == ELSEWHERE

    def alone(self, number: int) -> bool:
        """Say whether a class is one pod: what it sends to itself no policy can stop."""
        members = self.members(number)
        (first, *others) = members
        return not others and len(first.pods) == 1 and not is_template(first)

    def _together(self, found: Mapping[End, PortSet], other: End) -> dict[End, PortSet]:
        """Put one node's peers together by what all of a namespace, or all, have in common."""
        left = dict(found)
        made: dict[End, PortSet] = {}
        itself = {other} if isinstance(other, int) and self.alone(other) else set()
        for name, classes in self._spaces.items():
            wanted = [number for number in classes if number not in itself]
            if len(wanted) < 2 or not all(number in left for number in wanted):
                continue
            if not name and len({self._space(number) for number in wanted}) == 1:
                continue  # a namespace says it better
            common = ALL
            for number in wanted:
                common &= left[number]
            gone = [number for number in wanted if left[number] == common]
            if common and len(gone) >= (2 if name else len(wanted)):
                made[Whole(name)] = common
                for number in gone:
                    del left[number]
        return {**left, **made}


def _put(line: Line, ports: PortSet, bits: int, outside: AddressSet) -> None:
    known, addresses = line.get(ports, (0, AddressSet()))
    line[ports] = (known | bits, addresses | outside)


def is_template(group: Group) -> bool:
    """Say whether a workload has no pods yet: then its key stands in the place of theirs."""
    return group.workload.kind != "pod" and group.pods[0] == str(group.workload)
