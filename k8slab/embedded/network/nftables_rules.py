"""From a rule's text to the kernel's expressions: the sentences of nft(8) that our rules use.

A rule is a list of small steps on registers: load four bytes of the packet, compare them, look
them up in a set, decide. `assemble` writes for each word what libnftables writes for it, so
that ``nft list`` shows the same text again (a test compares both on random rules). It knows
the words of `ruleset_proxy` and `ruleset_policy` and refuses every other:

    ip|ip6 saddr|daddr [!=] ADDRESS | PREFIX | { ... } | @SET
    ip|ip6 daddr . meta l4proto . th dport @SET
    tcp|udp|sctp dport NUMBER | FIRST-LAST | { ... }       meta l4proto PROTOCOL
    fib saddr type local       numgen random mod N vmap { NUMBER : goto CHAIN, ... }
    update @SET { ip|ip6 saddr }        dnat to ADDRESS:PORT
    log prefix "..." group N snaplen N queue-threshold N        counter
    accept, drop, return, jump CHAIN, goto CHAIN, comment "..."

Sources: linux/netfilter/nf_tables.h, linux/netfilter.h; what libnftables sends for each word
is shown by ``nft --debug=netlink,mnl``.
"""

from __future__ import annotations

import itertools
import re
import socket
import struct
from functools import cache, lru_cache
from ipaddress import collapse_addresses, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from k8slab.embedded.network.attributes import attribute, be16, be32, be64, nested, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from k8slab.embedded.network.ruleset import Family

_WORD = re.compile(r'"[^"]*"|[{},]|[^\s{},]+')

_LIST_ELEMENT = 1
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_VALUE, _VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
VERDICTS = {"drop": 0, "accept": 1, "jump": -3, "goto": -4, "return": -5}
_KEY, _DATA, _ELEMENT_FLAGS = 1, 2, 3
_INTERVAL_END = 1

ANONYMOUS, CONSTANT, INTERVAL, MAP, TIMEOUT, DYNAMIC = 1, 2, 4, 8, 16, 32
"""Flags of a set."""
VERDICT_TYPE = 0xFFFFFF00
HOST_ORDER, NETWORK_ORDER = 1, 2
"""How a set notes for ``nft list`` in which byte order its keys are."""

_TYPES = {"integer": 4, "ipv4_addr": 7, "ipv6_addr": 8, "inet_proto": 12, "inet_service": 13}
"""The numbers by which nft knows the types of keys; the kernel only keeps them."""
_TYPE_BITS = 6
_SIZES = {"integer": 4, "ipv4_addr": 4, "ipv6_addr": 16, "inet_proto": 1, "inet_service": 2}

_VERDICT_REGISTER, _REGISTER, _SECOND_REGISTER = 0, 1, 2
_CONCATENATED: Mapping[Family, tuple[int, int]] = {"ip": (9, 10), "ip6": (2, 13)}
"""Where the 4-byte registers behind an address in register 1 begin."""
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_ADDRESS: Mapping[Family, Mapping[str, int]] = {
    "ip": {"saddr": 12, "daddr": 16},
    "ip6": {"saddr": 8, "daddr": 24},
}
_LENGTH: Mapping[Family, int] = {"ip": 4, "ip6": 16}
ADDRESS_FAMILY: Mapping[Family, int] = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_EQUAL, _UNEQUAL, _AT_MOST, _AT_LEAST = 0, 1, 3, 5
_META_PROTOCOL = 16
_FIB_TYPE, _FIB_SOURCE, _LOCAL = 3, 1, 2
_RANDOM = 1
_UPDATE = 1
_DNAT = 1
_PORT_GIVEN = 2  # NF_NAT_RANGE_PROTO_SPECIFIED
_PORTS = 1 << 16

_set_numbers = itertools.count(1)


def key_type(names: Iterable[str]) -> tuple[int, int]:
    """Return number and length of a key of these types, one or several together."""
    found = list(names)
    if len(found) == 1:
        return _TYPES[found[0]], _SIZES[found[0]]
    number = 0
    for name in found:
        number = (number << _TYPE_BITS) | _TYPES[name]
    return number, sum((_SIZES[name] + 3) & ~3 for name in found)


def packed(family: Family, address: str) -> bytes:
    """Return the bytes of an address of `family`."""
    return socket.inet_pton(ADDRESS_FAMILY[family], address)


def element(key: bytes, data: bytes = b"", flags: int = 0) -> bytes:
    """Return one element of a set, or of a map when it has `data`."""
    marks = be32(_ELEMENT_FLAGS, flags) if flags else b""
    value = nested(_DATA, data) if data else b""
    return nested(_LIST_ELEMENT, marks, nested(_KEY, attribute(_VALUE, key)), value)


def verdict(word: str, chain: str = "") -> bytes:
    """Return a verdict as data."""
    to = text(_VERDICT_CHAIN, chain) if chain else b""
    return nested(_VERDICT, be32(_VERDICT_CODE, VERDICTS[word]), to)


def value(data: bytes) -> bytes:
    """Return bytes as data."""
    return attribute(_VALUE, data)


def prefixes(family: Family, words: Iterable[str]) -> list[bytes]:
    """Return address ranges as elements of an interval set: where each begins and has ended."""
    found: list[bytes] = []
    networks: list[Any] = [ip_network(word) for word in words]
    for network in collapse_addresses(networks):
        start = int(network.network_address)
        found += _interval(start, start + network.num_addresses, 8 * _LENGTH[family])
    return found


def _interval(start: int, end: int, bits: int) -> list[bytes]:
    first = element(start.to_bytes(bits // 8, "big"))
    if end == 1 << bits:
        return [first]
    return [first, element(end.to_bytes(bits // 8, "big"), flags=_INTERVAL_END)]


class AnonymousSet(NamedTuple):
    """A set that exists for one rule only; `number` ties them together within a transaction."""

    number: int
    name: str
    flags: int
    types: tuple[str, ...]
    elements: tuple[bytes, ...]
    order: int = NETWORK_ORDER


class Assembled(NamedTuple):
    """A rule as the kernel takes it."""

    expressions: bytes
    sets: tuple[AnonymousSet, ...]
    comment: str


def assemble(family: Family, rule: str) -> Assembled:
    """Return the expressions of `rule`; `ValueError` for what is not among our sentences."""
    writer = _Writer(family, rule)
    writer.write()
    return Assembled(b"".join(writer.expressions), tuple(writer.sets), writer.comment)


def expression(name: str, *data: bytes) -> bytes:
    """Return one step of a rule by its name and attributes."""
    body = text(_EXPRESSION_NAME, name) + nested(_EXPRESSION_DATA, *data)
    return nested(_LIST_ELEMENT, body)


@cache
def _payload(base: int, offset: int, length: int, register: int = _REGISTER) -> bytes:
    return expression("payload", be32(1, register), be32(2, base), be32(3, offset), be32(4, length))


@cache
def _protocol(register: int = _REGISTER) -> bytes:
    return expression("meta", be32(1, register), be32(2, _META_PROTOCOL))


def compare(data: bytes, operator: int = _EQUAL) -> bytes:
    """Return the step that compares register 1 with `data`."""
    return expression("cmp", be32(1, _REGISTER), be32(2, operator), nested(3, value(data)))


@cache
def is_protocol(name: str) -> bytes:
    """Return the steps that match a protocol (``tcp``, ``udp``, ``sctp``)."""
    return _protocol() + compare(bytes([PROTOCOLS[name]]))


def _lookup(name: str, *more: bytes) -> bytes:
    return expression("lookup", text(1, name), be32(2, _REGISTER), *more)


def _immediate(register: int, data: bytes) -> bytes:
    return expression("immediate", be32(1, register), nested(2, data))


@lru_cache(maxsize=256)
def _in_prefix(prefix: str, offset: int, operator: int) -> bytes:
    """Compare the whole bytes of a prefix, or mask the address where it ends within one."""
    network = ip_network(prefix)
    length, odd = divmod(network.prefixlen, 8)
    data = network.network_address.packed
    if length and not odd:
        return _payload(_NETWORK_HEADER, offset, length) + compare(data[:length], operator)
    size = len(data)
    mask, nothing = nested(4, value(network.netmask.packed)), nested(5, value(bytes(size)))
    registers = be32(1, _REGISTER) + be32(2, _REGISTER)
    masked = expression("bitwise", registers, be32(3, size), mask, nothing)
    return _payload(_NETWORK_HEADER, offset, size) + masked + compare(data, operator)


@lru_cache(maxsize=256)
def _decision(word: str, chain: str) -> bytes:
    return _immediate(_VERDICT_REGISTER, verdict(word, chain))


@lru_cache(maxsize=256)
def _port_of_destination(word: str) -> bytes:
    return _immediate(_SECOND_REGISTER, value(packed_port(word)))


@cache
def _rewrite_destination(family: Family) -> bytes:
    place = (be32(3, _REGISTER), be32(5, _SECOND_REGISTER), be32(7, _PORT_GIVEN))
    return expression("nat", be32(1, _DNAT), be32(2, ADDRESS_FAMILY[family]), *place)


class _Writer:
    """Reads one rule word by word; each method takes the words that belong to its first."""

    def __init__(self, family: Family, rule: str) -> None:
        self.family = family
        self.rule = rule
        self.words = _WORD.findall(rule)
        self.words.reverse()
        self.expressions: list[bytes] = []
        self.sets: list[AnonymousSet] = []
        self.comment = ""

    def write(self) -> None:
        while self.words:
            word = self.words.pop()
            sentence = _SENTENCES.get(word)
            if sentence is None:
                raise ValueError(f"no sentence begins with {word!r}: {self.rule}")
            sentence(self, word)

    def expect(self, *words: str) -> None:
        for word in words:
            if not self.words or self.words.pop() != word:
                raise ValueError(f"{word!r} is missing: {self.rule}")

    def braces(self) -> list[str]:
        """Return the items between braces; the opening one is read."""
        items: list[str] = []
        while (word := self.words.pop()) != "}":
            if word != ",":
                items.append(word)
        return items

    def add(self, *expressions: bytes) -> None:
        self.expressions += expressions

    # Matches.

    def address(self, word: str) -> None:
        if word != self.family:
            raise ValueError(f"{word!r} in a table of {self.family}: {self.rule}")
        offset = _ADDRESS[self.family][self.words.pop()]
        whole = _payload(_NETWORK_HEADER, offset, _LENGTH[self.family])
        operand = self.words.pop()
        if operand == ".":
            self.add(whole)
            self.concatenation()
            return
        unequal = operand == "!="
        operand = self.words.pop() if unequal else operand
        if operand == "{":
            self.add(whole)
            self.one_of_addresses(unequal=unequal)
        elif operand[0] == "@":
            self.add(whole, _lookup(operand[1:]))
        elif "/" in operand:
            self.add(_in_prefix(operand, offset, int(unequal)))
        else:
            self.add(whole, compare(packed(self.family, operand), int(unequal)))

    def one_of_addresses(self, *, unequal: bool) -> None:
        items = self.braces()
        if any("/" in item for item in items):
            elements, flags = prefixes(self.family, items), INTERVAL
        else:
            elements, flags = [element(packed(self.family, item)) for item in items], 0
        self.anonymous(flags, "ipv4_addr" if self.family == "ip" else "ipv6_addr", elements)
        self.look_up_anonymous(be32(5, int(unequal)))

    def concatenation(self) -> None:
        self.expect("meta", "l4proto", ".", "th", "dport")
        protocol, port = _CONCATENATED[self.family]
        self.add(_protocol(protocol), _payload(_TRANSPORT_HEADER, 2, 2, port))
        self.add(_lookup(self.words.pop().removeprefix("@")))

    def port(self, protocol: str) -> None:
        self.expect("dport")
        self.add(is_protocol(protocol), _payload(_TRANSPORT_HEADER, 2, 2))
        operand = self.words.pop()
        if operand == "{":
            self.one_of_ports()
            return
        first, _, last = operand.partition("-")
        if last:
            self.add(compare(packed_port(first), _AT_LEAST), compare(packed_port(last), _AT_MOST))
        else:
            self.add(compare(packed_port(first)))

    def one_of_ports(self) -> None:
        ranges = [item.partition("-") for item in self.braces()]
        if any(last for _, _, last in ranges):
            elements = [
                part
                for first, _, last in ranges
                for part in _interval(int(first), int(last or first) + 1, 16)
            ]
            flags = INTERVAL
        else:
            elements, flags = [element(packed_port(first)) for first, _, _ in ranges], 0
        self.anonymous(flags, "inet_service", elements)
        self.look_up_anonymous()

    def protocol(self, _word: str) -> None:
        self.expect("l4proto")
        self.add(is_protocol(self.words.pop()))

    def source_type(self, _word: str) -> None:
        self.expect("saddr", "type", "local")
        load = (be32(1, _REGISTER), be32(2, _FIB_TYPE), be32(3, _FIB_SOURCE))
        self.add(expression("fib", *load), compare(struct.pack("=I", _LOCAL)))

    # Statements.

    def choose(self, _word: str) -> None:
        self.expect("random", "mod")
        count = int(self.words.pop())
        self.expect("vmap", "{")
        items = self.braces()  # four words each: a number, a colon, goto, a chain
        elements = [
            element(struct.pack("=I", int(number)), verdict(word, chain))
            for number, word, chain in zip(items[::4], items[2::4], items[3::4], strict=True)
        ]
        choice = (be32(1, _REGISTER), be32(2, count), be32(3, _RANDOM))
        self.add(expression("numgen", *choice))
        self.anonymous(MAP, "integer", elements)
        self.look_up_anonymous(be32(3, _VERDICT_REGISTER))

    def update(self, _word: str) -> None:
        name = self.words.pop().removeprefix("@")
        self.expect("{", self.family, "saddr", "}")
        offset = _ADDRESS[self.family]["saddr"]
        self.add(_payload(_NETWORK_HEADER, offset, _LENGTH[self.family]))
        self.add(expression("dynset", text(1, name), be32(3, _UPDATE), be32(4, _REGISTER)))

    def translate(self, _word: str) -> None:
        self.expect("to")
        host, _, port = self.words.pop().rpartition(":")
        to = _immediate(_REGISTER, value(packed(self.family, host.strip("[]"))))
        self.add(to, _port_of_destination(port), _rewrite_destination(self.family))

    def log(self, _word: str) -> None:
        self.expect("prefix")
        prefix = self.words.pop().strip('"')
        self.expect("group")
        group = int(self.words.pop())
        self.expect("snaplen")
        length = int(self.words.pop())
        self.expect("queue-threshold")
        threshold = int(self.words.pop())
        limits = (be16(1, group), text(2, prefix), be32(3, length), be16(4, threshold))
        self.add(expression("log", *limits))

    def counter(self, _word: str) -> None:
        self.add(expression("counter", be64(1, 0), be64(2, 0)))

    def decide(self, word: str) -> None:
        chain = self.words.pop() if word in ("jump", "goto") else ""
        self.add(_decision(word, chain))

    def remark(self, _word: str) -> None:
        self.comment = self.words.pop().strip('"')

    # Sets of one rule.

    def anonymous(self, flags: int, kind: str, elements: list[bytes]) -> None:
        name = "__map%d" if flags & MAP else "__set%d"
        order = HOST_ORDER if kind == "integer" else NETWORK_ORDER
        number = next(_set_numbers) & 0xFFFFFFFF
        flags |= ANONYMOUS | CONSTANT
        self.sets.append(AnonymousSet(number, name, flags, (kind,), tuple(elements), order))

    def look_up_anonymous(self, *more: bytes) -> None:
        last = self.sets[-1]
        self.add(_lookup(last.name, be32(4, last.number), *more))


def packed_port(word: str) -> bytes:
    """Return the bytes of a port number."""
    number = int(word)
    if not 0 < number < _PORTS:
        raise ValueError(f"{word} is not a port")
    return struct.pack(">H", number)


_SENTENCES: Mapping[str, Callable[[_Writer, str], None]] = {
    **dict.fromkeys(("ip", "ip6"), _Writer.address),
    **dict.fromkeys(PROTOCOLS, _Writer.port),
    **dict.fromkeys(VERDICTS, _Writer.decide),
    "meta": _Writer.protocol,
    "fib": _Writer.source_type,
    "numgen": _Writer.choose,
    "update": _Writer.update,
    "dnat": _Writer.translate,
    "log": _Writer.log,
    "counter": _Writer.counter,
    "comment": _Writer.remark,
}
