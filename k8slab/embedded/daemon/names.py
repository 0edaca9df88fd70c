"""Resolve a name as a pod would: its own resolv.conf, through its own network namespace.

The rules are those of resolv.conf(5) and of the C library's resolver: with fewer dots than
``ndots`` the search list comes first, a name that ends in a dot is looked up as it is, and
the next name server is asked when one does not answer, or cannot (res_send.c of glibc). All
lookups of a set of probes run side by side, one round for each step.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k8slab.embedded.daemon.exchanges import Exchange, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_A, _AAAA = 1, 28
_MAX_SERVERS = 3
"""MAXNS of resolv.conf(5)."""
_MAX_NDOTS = 15
_HEADER = struct.Struct(">HHHHHH")
_SERVFAIL, _NXDOMAIN, _NOTIMP, _REFUSED = 2, 3, 4, 5
_ASK_ANOTHER = {_SERVFAIL, _NOTIMP, _REFUSED}


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """The parts of a resolv.conf that decide where and what is asked."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = 1

    @classmethod
    def parse(cls, text: str) -> ResolvConf:
        """Read resolv.conf(5); unknown lines and options are left out, as the C library does."""
        servers: list[str] = []
        search: tuple[str, ...] = ()
        ndots = 1
        for line in text.splitlines():
            match line.split():
                case ["nameserver", address, *_]:
                    servers.append(address)
                case ["search", *domains]:
                    search = tuple(domains)
                case ["domain", domain, *_]:
                    search = (domain,)
                case ["options", *options]:
                    for option in options:
                        name, _, value = option.partition(":")
                        if name == "ndots" and value.isdecimal():
                            ndots = min(int(value), _MAX_NDOTS)
        return cls(tuple(servers[:_MAX_SERVERS]), search, ndots)

    def candidates(self, name: str) -> list[str]:
        """Return the full names to look up, in order."""
        if name.endswith("."):
            return [name]
        searched = [f"{name}.{domain.strip('.')}." for domain in self.search]
        full = [f"{name}."]
        return full + searched if name.count(".") >= self.ndots else searched + full


@dataclass(frozen=True, slots=True)
class Lookup:
    """A name that one source wants to know."""

    netns: int
    source: str
    conf: ResolvConf
    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Addresses, or why there are none."""

    addresses: tuple[str, ...] = ()
    problem: str = ""
    result: Result | None = None
    """The exchange that failed, with the denial when a policy dropped the query."""


@dataclass(slots=True)
class _Progress:
    lookup: Lookup
    names: list[str]
    server: int = 0
    first: int = 0
    """The first server that was not silent yet: each question begins there."""
    answer: Answer | None = None
    types: list[int] = field(default_factory=lambda: [_A, _AAAA])
    number: int = 0

    def exchange(self) -> Exchange:
        lookup = self.lookup
        return Exchange(
            netns=lookup.netns,
            source=lookup.source,
            address=lookup.conf.servers[self.server],
            port=53,
            protocol="UDP",
            payload=query(self.number, self.names[0], self.types[0]),
        )

    def take(self, result: Result) -> None:
        """Take in the answer to the present question and choose the next one, or the end."""
        servers, silent = self.lookup.conf.servers, result.outcome != "open"
        code, addresses = (_SERVFAIL, []) if silent else read_answer(result.data, self.types[0])
        self.first += silent and self.server == self.first
        if self.first == len(servers):
            problem = f"the name server {servers[0]} did not answer ({result.detail})"
            self.answer = Answer(problem=problem, result=result)
        elif code in _ASK_ANOTHER and self.server + 1 < len(servers):
            self.server += 1
        elif addresses:
            self.answer = Answer(tuple(addresses))
        elif code == 0 and self.types[0] == _A:
            self._ask(self.names, [_AAAA])
        elif len(self.names) > 1:
            self._ask(self.names[1:], [_A, _AAAA])
        else:
            words = "NXDOMAIN" if code == _NXDOMAIN else f"no address (DNS code {code})"
            self.answer = Answer(problem=f"{self.lookup.name}: {words}", result=result)

    def _ask(self, names: list[str], types: list[int]) -> None:
        self.names, self.types, self.server = names, types, self.first


def resolve(
    lookups: Sequence[Lookup], exchange: Callable[[list[Exchange]], list[Result]]
) -> list[Answer]:
    """Look all names up with `exchange`, which performs one round; blocks as it does."""
    progress = [
        _Progress(lookup, lookup.conf.candidates(lookup.name), number=number & 0xFFFF)
        for number, lookup in enumerate(lookups, 1)
    ]
    for each in progress:
        if not each.lookup.conf.servers:
            each.answer = Answer(problem="resolv.conf names no name server")
        elif not _is_name(each.lookup.name):
            each.answer = Answer(problem=f"{each.lookup.name!r} is not a name")
    while open_ones := [each for each in progress if each.answer is None]:
        results = exchange([each.exchange() for each in open_ones])
        for each, result in zip(open_ones, results, strict=True):
            each.take(result)
    return [each.answer or Answer() for each in progress]


def _is_name(name: str) -> bool:
    labels = name.removesuffix(".").split(".")
    return len(name) < 254 and all(
        0 < len(label) < 64 and label.isascii() and " " not in label for label in labels
    )


def query(number: int, name: str, kind: int) -> bytes:
    """Return a DNS query for a full name (RFC 1035, section 4)."""
    labels = b"".join(
        bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label
    )
    return _HEADER.pack(number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def read_answer(data: bytes, kind: int) -> tuple[int, list[str]]:
    """Return the response code and the addresses of one type, aliases followed by the server."""
    try:
        _, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
        at = _HEADER.size
        for _ in range(questions):
            at = _skip_name(data, at) + 4
        addresses = []
        for _ in range(answers):
            at = _skip_name(data, at)
            found, _, _, length = struct.unpack_from(">HHIH", data, at)
            value = data[at + 10 : at + 10 + length]
            at += 10 + length
            if found == kind:
                family = socket.AF_INET if kind == _A else socket.AF_INET6
                addresses.append(socket.inet_ntop(family, value))
    except (struct.error, IndexError, ValueError):
        return 1, []  # FORMERR: what came is not an answer
    return flags & 15, addresses


def _skip_name(data: bytes, at: int) -> int:
    while length := data[at]:
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return at + 1
