"""Everybody at once: classes of sides that policies cannot tell apart, one bit each.

Two pods are in one class when they have the same namespace, service account, IP families
and hostNetwork, the same values of the label keys that any policy looks at, the same numbers
for the port names that any policy uses, and addresses between the same boundaries of the
policies' address ranges. No policy can treat them differently, so one answer serves both.
The world outside is cut at the same boundaries; each piece is a class as well.

A set of classes is an integer with a bit for each: `and`, `or` and `not` of whole estates
are single operations of the machine on some hundred words. The cost of the index is one look
at each pod, and from then on only classes count: an estate of 100,000 pods in 8,000
workloads is 8,000 bits wide.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from k8slab.policy.addresses import EVERYWHERE, PRIVATE, AddressSet, family
from k8slab.policy.calico_peers import ACCOUNT, NAMESPACE, ORCHESTRATOR, Entity
from k8slab.policy.inventory import NAMESPACE_NAME
from k8slab.policy.model import INGRESS, BlockPeer, Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from k8slab.policy.model import Matcher, Pod, Policy, Rule


@dataclass(frozen=True)
class Vocabulary:
    """Everything by which the policies of an estate can tell sides apart."""

    keys: frozenset[str]
    """Of pod labels."""
    names: frozenset[tuple[str, str]]
    """Of ports: protocol and name."""
    bounds: frozenset[int]
    """Where address ranges begin and end."""

    @classmethod
    def of(cls, policies: Iterable[Policy]) -> Vocabulary:
        """Collect the words of all policies."""
        keys: set[str] = set()
        names: set[tuple[str, str]] = set()
        bounds = {bound for each in EVERYWHERE.values() for bound in each.bounds}
        for policy in policies:
            keys |= policy.keys
            for rule in policy.every_rule():
                names.update(rule.names)
                for addresses in _ranges(rule):
                    bounds.update(addresses.bounds)
        return cls(frozenset(keys), frozenset(names), frozenset(bounds))

    def covers(self, other: Vocabulary) -> bool:
        """Say whether an index made for these words can answer for the other ones."""
        return self.keys >= other.keys and self.names >= other.names and self.bounds >= other.bounds


def _ranges(rule: Rule) -> Iterator[AddressSet]:
    matchers: list[Matcher] = [*(rule.peers or ())]
    if rule.subject is not None:
        matchers.append(rule.subject)
    for matcher in matchers:
        if isinstance(matcher, BlockPeer):
            yield matcher.addresses
        elif isinstance(matcher, Entity) and matcher.nets is not None:
            yield matcher.nets


def bits_of(numbers: Iterable[int], width: int) -> int:
    """Return the integer that has these bits; one pass, however many they are."""
    array = bytearray((width >> 3) + 1)
    for number in numbers:
        array[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(array, "little")


def numbers_of(bits: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, in order."""
    if bits.bit_count() << 4 > bits.bit_length():  # dense: one pass over the digits
        text = bin(bits)[:1:-1]
        place = text.find("1")
        while place >= 0:
            yield place
            place = text.find("1", place + 1)
        return
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


@dataclass(frozen=True)
class Labels:
    """A `LabelIndex`: for each key, the bits of each value."""

    everything: int
    table: Mapping[str, Mapping[str, int]]

    def values(self, key: str) -> Mapping[str, int]:
        """Return the bits by value."""
        return self.table.get(key) or {}


@dataclass
class Class:
    """Pods that policies cannot tell apart; `sample` stands for all of them."""

    sample: Pod
    atoms: Mapping[int, tuple[int, ...]]
    """By family: the pieces of address space in which the class has addresses."""
    families: tuple[int, ...]
    keys: list[str] = field(default_factory=list)


class ClassIndex:
    """The index of one estate; see the module. Never changes."""

    def __init__(
        self, pods: Mapping[str, Pod], nodes: Mapping[str, tuple[int, ...]], words: Vocabulary
    ) -> None:
        self.words = words
        self.bounds = sorted(words.bounds)
        self.classes: list[Class] = []
        self.class_of: dict[str, int] = {}
        self._sort(pods, nodes)
        self.width = len(self.classes)
        self.full = self.width + len(self.bounds)
        host = [n for n, each in enumerate(self.classes) if each.sample.host_network]
        self.hosts = bits_of(host, self.full)
        self.selectable = (1 << self.width) - 1 & ~self.hosts
        self.families = frozenset(f for each in self.classes for f in each.families) or {4}
        self.outside = {
            version: self._piece_bits(EVERYWHERE[version]) for version in sorted(self.families)
        }
        self.everything = (1 << self.width) - 1 | sum(self.outside.values())
        self._inside: dict[tuple[AddressSet, Mode, bool], int] = {}
        self._pieces: dict[Mode, dict[int, int]] = {}

    def _sort(self, pods: Mapping[str, Pod], nodes: Mapping[str, tuple[int, ...]]) -> None:
        keys, names = sorted(self.words.keys), sorted(self.words.names)
        found: dict[tuple, int] = {}
        pieces: dict[tuple[int, ...], tuple] = {}
        for key, pod in pods.items():
            addresses = pod.addresses
            if pod.host_network:
                addresses = nodes.get(pod.node, ())
            where = pieces.get(addresses)
            if where is None:
                where = pieces[addresses] = self._where(addresses)
            labels, ports = pod.labels, pod.ports
            kind = (
                pod.namespace,
                tuple([labels.get(name) for name in keys]),
                tuple([ports.get(name) for name in names]) if ports else (),
                pod.account,
                pod.host_network,
                where,
            )
            number = found.get(kind)
            if number is None:
                number = found[kind] = len(self.classes)
                atoms = dict(where)
                self.classes.append(Class(pod, atoms, tuple(atoms)))
            self.classes[number].keys.append(key)
            self.class_of[key] = number

    def _where(self, addresses: tuple[int, ...]) -> tuple[tuple[int, tuple[int, ...]], ...]:
        found: dict[int, tuple[int, ...]] = {}
        for address in addresses:
            version = family(address)
            found[version] = (*found.get(version, ()), self.piece(address))
        return tuple(found.items())

    def piece(self, address: int) -> int:
        """Return the number of the piece of address space in which an address lies."""
        return bisect_right(self.bounds, address) - 1

    def bit_of(self, address: int) -> int:
        """Return the number of the bit of an outside address."""
        return self.width + self.piece(address)

    def _piece_bits(self, addresses: AddressSet) -> int:
        found = 0
        for first, last in addresses.spans():
            low, high = bisect_left(self.bounds, first), bisect_left(self.bounds, last + 1)
            found |= (1 << high) - (1 << low)
        return found << self.width

    def addresses_of(self, bits: int) -> AddressSet:
        """Return the outside addresses among the bits."""
        pieces = bits >> self.width
        return AddressSet.union(
            AddressSet.span(self.bounds[n], self.bounds[n + 1] - 1) for n in numbers_of(pieces)
        )

    @cached_property
    def pods(self) -> Labels:
        """Return the index of pod labels, of the keys that policies look at."""
        table: dict[str, dict[str, list[int]]] = {key: defaultdict(list) for key in self.words.keys}
        for number, each in enumerate(self.classes):
            if not each.sample.host_network:
                labels = each.sample.labels
                for key in self.words.keys & labels.keys():
                    table[key][labels[key]].append(number)
        return self._labels(table)

    def _labels(self, table: Mapping[str, Mapping[str, list[int]]]) -> Labels:
        made = {
            key: {value: bits_of(found, self.width) for value, found in values.items()}
            for key, values in table.items()
        }
        return Labels(self.selectable, made)

    @cached_property
    def by_space(self) -> dict[str, int]:
        """Return the selectable pods of each namespace."""
        found: dict[str, list[int]] = defaultdict(list)
        for number, each in enumerate(self.classes):
            if not each.sample.host_network:
                found[each.sample.namespace].append(number)
        return {name: bits_of(numbers, self.width) for name, numbers in found.items()}

    def namespace(self, name: str) -> int:
        """Return the selectable pods of a namespace."""
        return self.by_space.get(name, 0)

    @cached_property
    def spaces(self) -> Labels:
        """Return the pods by the labels of their namespaces."""
        samples = {e.sample.namespace: e.sample.namespace_labels for e in self.classes}
        table: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for name, bits in self.by_space.items():
            labels = {NAMESPACE_NAME: name, "projectcalico.org/name": name, **samples[name]}
            for key, value in labels.items():
                table[key][value] |= bits
        return Labels(self.selectable, table)

    @cached_property
    def accounts(self) -> Labels:
        """Return the pods by the labels of their service accounts."""
        table: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, each in enumerate(self.classes):
            if not each.sample.host_network:
                for key, value in each.sample.account_labels.items():
                    table[key][value].append(number)
        return self._labels(table)

    @cached_property
    def calico(self) -> Labels:
        """Return the pods by the labels that Calico's selectors see."""
        accounts: dict[str, list[int]] = defaultdict(list)
        for number, each in enumerate(self.classes):
            if not each.sample.host_network:
                accounts[each.sample.account].append(number)
        own = {
            NAMESPACE: self.by_space,
            ACCOUNT: {name: bits_of(found, self.width) for name, found in accounts.items()},
            ORCHESTRATOR: {"k8s": self.selectable},
        }
        return Labels(self.selectable, {**self.pods.table, **own})

    @cached_property
    def by_families(self) -> dict[tuple[int, ...], int]:
        """Return everybody by IP families; unknown ones have none."""
        found: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, each in enumerate(self.classes):
            found[each.families].append(number)
        made = {families: bits_of(numbers, self.width) for families, numbers in found.items()}
        for version, bits in self.outside.items():
            made[(version,)] = made.get((version,), 0) | bits
        return made

    def inside(self, addresses: AddressSet, mode: Mode, *, pods_too: bool) -> int:
        """Return the sides whose address for a flow of this mode is in the set."""
        key = (addresses, mode, pods_too)
        found = self._inside.get(key)
        if found is None:
            found = self._inside[key] = self._find_inside(addresses, mode, pods_too=pods_too)
        return found

    def _find_inside(self, addresses: AddressSet, mode: Mode, *, pods_too: bool) -> int:
        found = self._piece_bits(addresses)
        if not found and not pods_too:
            return 0
        pods, pieces = 0, found >> self.width
        for piece, bits in self._by_piece(mode).items():
            if pieces >> piece & 1:
                pods |= bits
        if addresses.covers(PRIVATE):
            pods |= self.by_families.get((), 0)
        outside = found & self.everything
        return outside | (pods if pods_too else pods & self.hosts)

    def _by_piece(self, mode: Mode) -> dict[int, int]:
        """Return for each piece of address space who answers from it in such a flow."""
        if mode not in self._pieces:
            found: dict[int, list[int]] = defaultdict(list)
            for number, each in enumerate(self.classes):
                for piece in _pieces_used(each, mode):
                    found[piece].append(number)
            self._pieces[mode] = {
                piece: bits_of(numbers, self.width) for piece, numbers in found.items()
            }
        return self._pieces[mode]


def _pieces_used(peer: Class, mode: Mode) -> Sequence[int]:
    """Return the pieces of the addresses that count, by the rule that `Mode` tells."""
    if mode.direction == INGRESS:  # the peer is the source, the subject's order decides
        if not mode.families:
            return [piece for pieces in peer.atoms.values() for piece in pieces]
        version = next((f for f in mode.families if f in peer.atoms), None)
    elif mode.families:
        version = next((f for f in peer.families if f in mode.families), None)
    else:
        version = next(iter(peer.families), None)
    return () if version is None else peer.atoms[version]
