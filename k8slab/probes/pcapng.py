"""Captured packets as a pcapng file, which Wireshark and tcpdump read.

One section with an interface for each place and link, so that Wireshark can filter by
``frame.interface_name``; each packet has its time in nanoseconds, its direction, and in a comment
where it was seen. Source: draft-ietf-opsawg-pcapng (block types, options).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.probes.steps import Frame

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER, _UNKNOWN_LENGTH = 0x1A2B3C4D, -1
_ETHERNET = 1
_COMMENT, _NAME, _PROGRAM, _RESOLUTION, _FLAGS = 1, 2, 4, 9, 2
_NANOSECONDS = 9
_INBOUND, _OUTBOUND = 1, 2


def pcapng(frames: Iterable[Frame]) -> bytes:
    """Return the file for these frames, in the order given."""
    found = list(frames)
    names = list(dict.fromkeys(_interface(frame) for frame in found))
    numbers = {name: number for number, name in enumerate(names)}
    head = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH)
    blocks = [_block(_SECTION, head, _option(_PROGRAM, b"k8slab"))]
    for name in names:
        options = _option(_NAME, name.encode()) + _option(_RESOLUTION, bytes([_NANOSECONDS]))
        blocks.append(_block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, 0), options))
    blocks += [_packet(frame, numbers[_interface(frame)]) for frame in found]
    return b"".join(blocks)


def _packet(frame: Frame, number: int) -> bytes:
    high, low = divmod(frame.nanoseconds, 1 << 32)
    size = len(frame.data)
    head = struct.pack("<IIIII", number, high, low, size, size)
    way = "leaves" if frame.leaving else "comes in"
    flags = struct.pack("<I", _OUTBOUND if frame.leaving else _INBOUND)
    options = _option(_COMMENT, f"{way}: {_interface(frame)}".encode()) + _option(_FLAGS, flags)
    return _block(_PACKET, head + _padded(frame.data), options)


def _interface(frame: Frame) -> str:
    return f"{frame.place} {frame.interface}"


def _block(kind: int, body: bytes, options: bytes) -> bytes:
    body += options + struct.pack("<HH", 0, 0)
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
