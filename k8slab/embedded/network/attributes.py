"""Netlink's type-length-value attributes, in and out: the grammar of every message.

An attribute is its length, its type and its value, padded to four bytes; an attribute whose
value is attributes again is *nested* and marked so (netlink(7)). rtnetlink takes numbers in
the machine's byte order, netfilter in that of the network.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = struct.Struct("=HH")
_NESTED = 0x8000  # NLA_F_NESTED
_TYPE = 0x3FFF  # NLA_TYPE_MASK
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
MESSAGE = struct.Struct("=IHHII")
"""The head of a message: length, type, flags, sequence number, port."""


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded."""
    size = 4 + len(value)
    return _HEAD.pack(size, kind) + value + _PADDING[size & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Return an attribute with a string, ended by a zero byte."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """Return a number in the machine's byte order."""
    return attribute(kind, struct.pack("=I", value))


def be16(kind: int, value: int) -> bytes:
    """Return a 16-bit number in network byte order."""
    return attribute(kind, struct.pack(">H", value))


def be32(kind: int, value: int) -> bytes:
    """Return a 32-bit number in network byte order; one below zero as its complement."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def be64(kind: int, value: int) -> bytes:
    """Return a 64-bit number in network byte order."""
    return attribute(kind, struct.pack(">Q", value))


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each attribute."""
    offset = 0
    while offset + 4 <= len(data):
        size, kind = _HEAD.unpack_from(data, offset)
        yield kind & _TYPE, data[offset + 4 : offset + size]
        offset += max(4, (size + 3) & ~3)


def split_messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Split what a socket returned into sequence number, type, flags and body."""
    offset = 0
    while offset + MESSAGE.size <= len(data):
        size, kind, flags, sequence, _port = MESSAGE.unpack_from(data, offset)
        yield sequence, kind, flags, data[offset + MESSAGE.size : offset + size]
        offset += max(MESSAGE.size, (size + 3) & ~3)
