"""The kernel's connection table: find and forget UDP flows that point to the wrong place.

A TCP connection ends; a UDP "connection" lives as long as packets come, so a client that
keeps its source port would be sent to an endpoint that has gone for ever (kube-proxy's
conntrack cleanup). Sources: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from k8slab.embedded.linux import in_netns
from k8slab.embedded.network.attributes import MESSAGE, split, split_messages
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable

_NETFILTER = 12
_SUBSYSTEM = 1 << 8
_GET, _DELETE, _STATISTICS = _SUBSYSTEM | 1, _SUBSYSTEM | 2, _SUBSYSTEM | 5
_ENTRIES = 1
_ORIGINAL, _REPLY = 1, 2
_IP, _PROTO = 1, 2
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_DONE, _ERROR = 3, 2
_UDP = 17


@dataclass(frozen=True, slots=True)
class UdpFlow:
    """One UDP flow: where the client sent it, and who answers."""

    destination: str
    port: int
    answered_by: str
    answering_port: int
    original: bytes
    """The kernel's own key for it."""
    family: int


def forget_udp(netns: int, stale: Callable[[UdpFlow], bool]) -> int:
    """Delete the UDP flows of a namespace for which `stale` is true; return how many.

    The table is one for all namespaces, and to list one's own flows means to walk it all: 5 ms
    for 262,144 places. So the kernel is asked first whether there are any.
    """
    with in_netns(netns):
        channel = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER
        )
    with channel:
        if not _count(channel):
            return 0
        doomed = [flow for flow in _flows(channel) if stale(flow)]
        return sum(_delete(channel, flow) for flow in doomed)


def _request(kind: int, flags: int, family: int, attributes: bytes = b"") -> bytes:
    body = struct.pack(">BBH", family, 0, 0) + attributes
    return MESSAGE.pack(MESSAGE.size + len(body), kind, flags | 1, 1, 0) + body


def _count(channel: socket.socket) -> int:
    """Return how many connections the namespace has, of whatever protocol."""
    channel.send(_request(_STATISTICS, 0, socket.AF_UNSPEC))
    for _sequence, kind, _flags, body in split_messages(channel.recv(4096)):
        if kind == _ERROR:
            raise _refusal("count connections", body)
        if entries := dict(split(body[4:])).get(_ENTRIES):
            return int.from_bytes(entries, "big")
    raise KernelError("count connections: the kernel gave no number")


def _flows(channel: socket.socket) -> list[UdpFlow]:
    channel.send(_request(_GET, 0x300, socket.AF_UNSPEC))
    found: list[UdpFlow] = []
    while True:
        data = channel.recv(1 << 17)
        for _sequence, kind, _flags, body in split_messages(data):
            if kind == _DONE:
                return found
            if kind == _ERROR:
                raise _refusal("list connections", body)
            if flow := _flow(body):
                found.append(flow)


def _flow(body: bytes) -> UdpFlow | None:
    attributes = dict(split(body[4:]))
    original, reply = _tuple(attributes[_ORIGINAL]), _tuple(attributes[_REPLY])
    if original[0] != _UDP:
        return None
    value = attributes[_ORIGINAL]
    # 0x8000: NLA_F_NESTED, which the kernel wants to see on the way in.
    key = struct.pack("=HH", 4 + len(value), _ORIGINAL | 0x8000) + value
    return UdpFlow(original[2], original[4], reply[1], reply[3], key, body[0])


def _tuple(data: bytes) -> tuple[int, str, str, int, int]:
    """Return protocol number, source, destination, source port, destination port."""
    parts = dict(split(data))
    addresses = list(dict(split(parts[_IP])).values())
    ports = dict(split(parts[_PROTO]))
    source = struct.unpack(">H", ports[_SOURCE_PORT][:2])[0] if _SOURCE_PORT in ports else 0
    destination = (
        struct.unpack(">H", ports[_DESTINATION_PORT][:2])[0] if _DESTINATION_PORT in ports else 0
    )
    texts = [str(ip_address(address)) for address in addresses]
    return ports[_NUMBER][0], texts[0], texts[1], source, destination


def _delete(channel: socket.socket, flow: UdpFlow) -> int:
    channel.send(_request(_DELETE, 0x4, flow.family, flow.original))
    answer = channel.recv(4096)[MESSAGE.size :]
    number = -struct.unpack_from("=i", answer)[0]
    if number not in (0, errno.ENOENT):
        raise _refusal(f"forget the flow to {flow.destination}:{flow.port}", answer)
    return int(number == 0)


def _refusal(what: str, body: bytes) -> KernelError:
    number = -struct.unpack_from("=i", body)[0]
    return KernelError(f"{what}: {os.strerror(number)}", errno=number)
