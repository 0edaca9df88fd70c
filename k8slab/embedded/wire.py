r"""DNS messages on the wire, RFC 1035: read, write with compression, EDNS0 (RFC 6891), truncate.

Names are text in lower case with the final dot, ``web.shop.svc.cluster.local.``; a byte that
is a dot or no printable ASCII inside a label is written ``\\.`` or ``\\DDD``. A record's data is
a plain value by type: an address as text for A and AAAA, a name for NS, CNAME and PTR, tuples
for MX, SRV, SOA and TXT, bytes for the rest.

This is the one room for DNS messages: the DNS server, the world's name servers and
whoever asks a question (`question`, `read`) use it.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 255
TYPES = {
    "A": A,
    "NS": NS,
    "CNAME": CNAME,
    "SOA": SOA,
    "PTR": PTR,
    "HINFO": 13,
    "MX": MX,
    "TXT": TXT,
    "AAAA": AAAA,
    "SRV": SRV,
    "NAPTR": 35,
    "OPT": OPT,
    "DS": 43,
    "RRSIG": 46,
    "DNSKEY": 48,
    "SVCB": 64,
    "HTTPS": 65,
    "AXFR": 252,
    "ANY": ANY,
    "CAA": 257,
}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
IN, ANY_CLASS = 1, 255

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
BADVERS = 16
"""The sender's version of EDNS is not known here (RFC 6891, 9)."""
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE = 0x7800
NOTIFY = 4 << 11
"""The opcode of RFC 1996, in its place among the flags; a query's is 0."""
PLAIN_UDP = 512
"""Bytes that a UDP answer may have when the question has no EDNS0 (RFC 1035, 4.2.1)."""
DNSSEC_OK = 0x8000
"""The DO bit in the flags of an OPT record (RFC 3225)."""

_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_SRV = struct.Struct("!HHH")
_SOA = struct.Struct("!5I")


class WireError(ValueError):
    """Bytes that are no DNS message, or a name that cannot be written."""


class Record(NamedTuple):
    """One resource record; see the module for `data`."""

    name: str
    type: int
    ttl: int
    data: Any


class Edns(NamedTuple):
    """The OPT pseudo-record: the answer size the sender takes, and its flags."""

    size: int = 1232
    flags: int = 0
    options: bytes = b""
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A query or a response with one question."""

    id: int = 0
    flags: int = 0
    """The second 16-bit word of the header without the response code."""
    rcode: int = NOERROR
    name: str = "."
    type: int = A
    klass: int = IN
    question: bytes = field(default=b"", compare=False)
    """The question's bytes as they arrived: letters keep their case in the answer."""
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    edns: Edns | None = None

    def reply(self, **changes: Any) -> Message:
        """Return an empty response to this query; `changes` are fields of the response."""
        edns = Edns(self.edns.size, self.edns.flags & DNSSEC_OK) if self.edns else None
        # Of other opcodes nothing is copied but the opcode itself, as in Go's package dns.
        flags = QR | (self.flags & (OPCODE if self.flags & OPCODE else RD | CD))
        changes = {"flags": flags, "edns": edns} | changes
        return replace(self, answers=(), authority=(), additional=(), **changes)


def question(name: str, kind: int, *, number: int, size: int = 1232) -> bytes:
    """Return a recursive query; `number` is its id (draw it at random), `size` 0 is no EDNS0."""
    edns = Edns(size) if size else None
    return write(Message(id=number, flags=RD, name=canonical(name), type=kind, edns=edns))


def canonical(name: str) -> str:
    """Return `name` in lower case with the final dot."""
    name = name.lower()
    return name if name.endswith(".") else name + "."


def type_name(number: int) -> str:
    """Return ``A``, ``AAAA``, ... or ``TYPE123`` (RFC 3597)."""
    return TYPE_NAMES.get(number) or f"TYPE{number}"


@lru_cache(maxsize=4096)
def labels(name: str) -> tuple[bytes, ...]:
    """Split a name into its labels; raises `WireError` when it breaks RFC 1035's limits."""
    if name in (".", ""):
        return ()
    if "\\" in name:
        found = _escaped_labels(name)
    else:
        found = [part.encode("ascii", "replace") for part in name.removesuffix(".").split(".")]
    if any(not 0 < len(label) < 64 for label in found):
        raise WireError(f"{name}: a label has 1 to 63 bytes")
    if sum(len(label) + 1 for label in found) > 254:
        raise WireError(f"{name[:40]}...: a name has at most 255 bytes")
    return tuple(found)


def _escaped_labels(name: str) -> list[bytes]:
    found = [bytearray()]
    at = 0
    while at < len(name):
        char = name[at]
        at += 1
        if char == ".":
            found.append(bytearray())
        elif char != "\\":
            found[-1] += char.encode("ascii", "replace")
        elif name[at : at + 3].isdecimal() and len(name[at : at + 3]) == 3:
            found[-1].append(int(name[at : at + 3]) & 255)
            at += 3
        else:
            found[-1] += name[at : at + 1].encode("ascii", "replace")
            at += 1
    if not found[-1]:
        found.pop()
    return [bytes(label) for label in found]


_PLAIN = frozenset(range(0x21, 0x7F)) - frozenset(b'."\\();@$')


def _text(label: bytes) -> str:
    """Write one label in lower case, odd bytes escaped (RFC 1035, 5.1)."""
    if _PLAIN.issuperset(label):
        return label.decode("ascii").lower()
    return "".join(
        chr(byte).lower()
        if byte in _PLAIN
        else (f"\\{chr(byte)}" if 0x21 <= byte < 0x7F else f"\\{byte:03d}")
        for byte in label
    )


def read_name(data: bytes, at: int) -> tuple[str, int]:
    """Return the name at `at` and where what follows it begins; pointers are followed."""
    parts: list[str] = []
    after = -1
    length = 0
    limit = at
    while True:
        if at >= len(data):
            raise WireError("a name runs past the end of the message")
        size = data[at]
        if size >= 0xC0:
            if at + 1 >= len(data):
                raise WireError("a name runs past the end of the message")
            if after < 0:
                after = at + 2
            at = (size & 0x3F) << 8 | data[at + 1]
            # A pointer must lead back, so that it cannot run in a ring.
            if at >= limit:
                raise WireError("a compression pointer does not lead back")
            limit = at
        elif size >= 0x40:
            raise WireError("a label of unknown kind")
        elif size == 0:
            return ".".join(parts) + ".", at + 1 if after < 0 else after
        else:
            length += size + 1
            if length > 254 or at + 1 + size > len(data):
                raise WireError("a name is too long")
            parts.append(_text(data[at + 1 : at + 1 + size]))
            at += size + 1


def read(data: bytes) -> Message:
    """Read a message with one question; raises `WireError`."""
    try:
        return _read(data)
    except (struct.error, IndexError, OSError) as error:
        raise WireError(f"a DNS message ends too early: {error}") from error


def _read(data: bytes) -> Message:
    number, flags, questions, *counts = _HEADER.unpack_from(data)
    if questions != 1:
        raise WireError(f"a message has one question, not {questions}")
    name, at = read_name(data, 12)
    kind, klass = _QUESTION.unpack_from(data, at)
    asked = data[12 : at + 4]
    at += 4
    edns = None
    sections: list[list[Record]] = [[], [], []]
    for section, count in zip(sections, counts, strict=True):
        for _ in range(count):
            record, size, at = _read_record(data, at)
            if record.type == OPT:
                version = record.ttl >> 16 & 0xFF
                edns = Edns(size, record.ttl & 0xFFFF, record.data, version)
            else:
                section.append(record)
    return Message(
        id=number,
        flags=flags & 0xFFF0,
        rcode=flags & 0xF,
        name=name,
        type=kind,
        klass=klass,
        question=asked,
        answers=tuple(sections[0]),
        authority=tuple(sections[1]),
        additional=tuple(sections[2]),
        edns=edns,
    )


def _read_record(data: bytes, at: int) -> tuple[Record, int, int]:
    name, at = read_name(data, at)
    kind, klass, ttl, length = _RECORD.unpack_from(data, at)
    at += 10
    end = at + length
    if end > len(data):
        raise WireError("a record runs past the end of the message")
    return Record(name, kind, ttl, _read_data(data, at, end, kind)), klass, end


def _read_data(data: bytes, at: int, end: int, kind: int) -> Any:
    if kind == A:
        return socket.inet_ntop(socket.AF_INET, _exactly(data[at:end], 4))
    if kind == AAAA:
        return socket.inet_ntop(socket.AF_INET6, _exactly(data[at:end], 16))
    if kind in (NS, CNAME, PTR):
        return read_name(data, at)[0]
    if kind == MX:
        return int.from_bytes(data[at : at + 2]), read_name(data, at + 2)[0]
    if kind == SRV:
        return (*_SRV.unpack_from(data, at), read_name(data, at + 6)[0])
    if kind == SOA:
        server, at = read_name(data, at)
        mailbox, at = read_name(data, at)
        return (server, mailbox, *_SOA.unpack_from(data, at))
    if kind == TXT:
        return _read_strings(data[at:end])
    return data[at:end]


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise WireError(f"an address has {length} bytes, not {len(data)}")
    return data


def _read_strings(data: bytes) -> tuple[bytes, ...]:
    found = []
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        if end > len(data):
            raise WireError("a TXT string runs past its record")
        found.append(data[at + 1 : end])
        at = end
    return tuple(found)


def write(message: Message, limit: int = 65535) -> bytes:
    """Return the message's bytes, at most `limit`.

    What does not fit is left out: first additional records, then answers, and then the TC
    bit tells the client to ask again over TCP (RFC 2181, 9).
    """
    data = _Writer(message).write(message.additional)
    if len(data) <= limit:
        return data
    data = _Writer(message).write(())
    if len(data) <= limit:
        return data
    return _truncated(message, limit)


def _truncated(message: Message, limit: int) -> bytes:
    low, high = 0, len(message.answers)
    cut = replace(message, flags=message.flags | TC, authority=(), additional=())
    while low < high:
        middle = (low + high + 1) // 2
        if len(_Writer(replace(cut, answers=message.answers[:middle])).write(())) <= limit:
            low = middle
        else:
            high = middle - 1
    return _Writer(replace(cut, answers=message.answers[:low])).write(())


class _Writer:
    """Writes one message; remembers where each name's tail stands, for compression."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.data = bytearray()
        self.places: dict[tuple[bytes, ...], int] = {}

    def write(self, additional: tuple[Record, ...]) -> bytes:
        message = self.message
        extra = len(additional) + (message.edns is not None)
        self.data += _HEADER.pack(
            message.id,
            message.flags | message.rcode & 0xF,
            1,
            len(message.answers),
            len(message.authority),
            extra,
        )
        self._question()
        for section in (message.answers, message.authority, additional):
            for record in section:
                self._record(record)
        if (edns := message.edns) is not None:
            high = (message.rcode >> 4) << 24 | edns.version << 16
            self.data += b"\0" + _RECORD.pack(OPT, edns.size, high | edns.flags, len(edns.options))
            self.data += edns.options
        return bytes(self.data)

    def _question(self) -> None:
        message = self.message
        if not message.question:
            self.name(message.name)
            self.data += _QUESTION.pack(message.type, message.klass)
            return
        self._remember(labels(message.name), 12)
        self.data += message.question

    def _remember(self, parts: tuple[bytes, ...], at: int) -> None:
        for index, part in enumerate(parts):
            if at < 0x4000:
                self.places.setdefault(parts[index:], at)
            at += len(part) + 1

    def name(self, name: str, *, compress: bool = True) -> None:
        """Write a name, as a pointer from where its tail has been written before."""
        parts = labels(name)
        data = self.data
        for index in range(len(parts)):
            tail = parts[index:]
            place = self.places.get(tail) if compress else None
            if place is not None:
                data += (0xC000 | place).to_bytes(2)
                return
            if len(data) < 0x4000:
                self.places.setdefault(tail, len(data))
            data.append(len(parts[index]))
            data += parts[index]
        data.append(0)

    def _record(self, record: Record) -> None:
        self.name(record.name)
        klass = IN if self.message.klass == ANY_CLASS else self.message.klass
        self.data += _RECORD.pack(record.type, klass, record.ttl, 0)
        start = len(self.data)
        self._record_data(record.type, record.data)
        self.data[start - 2 : start] = (len(self.data) - start).to_bytes(2)

    def _record_data(self, kind: int, value: Any) -> None:
        if kind == A:
            self.data += socket.inet_pton(socket.AF_INET, value)
        elif kind == AAAA:
            self.data += socket.inet_pton(socket.AF_INET6, value)
        elif kind in (NS, CNAME, PTR):
            self.name(value)
        elif kind == MX:
            self.data += value[0].to_bytes(2)
            self.name(value[1])
        elif kind == SRV:
            # RFC 2782 forbids compression of the target.
            self.data += _SRV.pack(*value[:3])
            self.name(value[3], compress=False)
        elif kind == SOA:
            self.name(value[0])
            self.name(value[1])
            self.data += _SOA.pack(*value[2:])
        elif kind == TXT:
            for text in value:
                self.data.append(len(text))
                self.data += text
        else:
            self.data += value
