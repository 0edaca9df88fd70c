"""The kernel's connection table: how full it is, and forgetting what leads to the wrong place.

A TCP connection ends; a UDP "connection" lives as long as packets come, so a client that
keeps its source port would be sent to an endpoint that has gone for ever (kube-proxy's
conntrack cleanup). And what a pod never closed stays for days after it has gone, unless
somebody forgets it (Calico's Felix does). The table is one for all namespaces; each has its own
count, and none may have more than the machine's limit: then a packet of a new connection is
dropped. Sources: linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_core.c.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from k8slab.embedded.linux import in_netns
from k8slab.embedded.network.attributes import MESSAGE, split, split_messages
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_NETFILTER = 12
_SUBSYSTEM = 1 << 8
_GET, _DELETE, _STATISTICS = _SUBSYSTEM | 1, _SUBSYSTEM | 2, _SUBSYSTEM | 5
_ENTRIES, _LIMIT = 1, 2
_ORIGINAL, _REPLY = 1, 2
_IP, _PROTO = 1, 2
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_DONE, _ERROR = 3, 2
_UDP = 17
_TUPLES = 4
"""Where in the body of a listed connection its two tuples are: they come first, addresses first."""
_END_BYTES = MESSAGE.size + 4
"""What ends a listing has an error number, 0 for none."""
_SOURCE = 12
"""Where in a tuple the source is, after the heads of three attributes; then the destination."""
_ADDRESS_BYTES = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}


class Usage(NamedTuple):
    """How many connections a namespace has, and how many it may have."""

    entries: int
    limit: int

    @property
    def full(self) -> bool:
        """Say whether there is no room: above 95 % the kernel begins to look for old ones."""
        return 0 < self.limit * 95 <= self.entries * 100


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
    with _channel(netns) as channel:
        if not _usage(channel).entries:
            return 0
        doomed = [flow for flow in _flows(channel) if stale(flow)]
        return sum(_delete(channel, flow) for flow in doomed)


def leads_elsewhere(
    known: Mapping[tuple[str, int], Collection[tuple[str, int]]],
) -> Callable[[UdpFlow], bool]:
    """Return what says of a flow to one of the `known` places that it leads to none of its ends."""

    def stale(flow: UdpFlow) -> bool:
        ends = known.get((flow.destination, flow.port))
        return ends is not None and (flow.answered_by, flow.answering_port) not in ends

    return stale


def usage(netns: int) -> Usage:
    """Return how full a namespace's table is."""
    with _channel(netns) as channel:
        return _usage(channel)


class Cleaner:
    """Deletes connections by address, in the namespace in which it was made."""

    def __init__(self, netns: int) -> None:
        self._listing, self._deleting = _channel(netns), _channel(netns)

    def close(self) -> None:
        """Let go of the kernel."""
        self._listing.close()
        self._deleting.close()

    def forget(self, addresses: Collection[str]) -> int:
        """Delete every connection from or to these addresses, rewritten or not; return how many.

        There may be as many as the machine's limit: they are deleted while the others are listed,
        a portion at a time, and nothing is looked at twice.
        """
        packed = {ip_address(address).packed for address in addresses}
        if not _usage(self._listing).entries:
            return 0
        self._listing.send(_request(_GET, 0x300, socket.AF_UNSPEC))
        count, more = 0, True
        while more:
            keys, more = _search(self._listing.recv(1 << 17), packed)
            count += self._delete(keys)
        return count

    def _delete(self, keys: list[tuple[int, bytes]]) -> int:
        if not keys:
            return 0
        self._deleting.send(b"".join(_request(_DELETE, 0, *key) for key in keys))
        # Only what has gone by itself meanwhile is answered.
        with suppress(BlockingIOError):
            while True:
                self._deleting.recv(1 << 17, socket.MSG_DONTWAIT)
        return len(keys)


def _search(portion: bytes, addresses: Collection[bytes]) -> tuple[list[tuple[int, bytes]], bool]:
    """Return family and key of each listed connection with an address, and whether more follow."""
    found: list[tuple[int, bytes]] = []
    # Nearly always there is none in a portion, and to see that is quick. What ends the listing
    # comes alone or last (netlink(7)).
    if not any(address in portion for address in addresses) and _goes_on(portion):
        return found, True
    for _sequence, kind, _flags, body in split_messages(portion):
        if kind == _DONE:
            return found, False
        if kind == _ERROR:
            raise _refusal("list connections", body)
        if key := _key_of(body, addresses):
            found.append((body[0], key))
    return found, True


def _goes_on(portion: bytes) -> bool:
    """Say whether neither the first nor the last message of a portion ends a listing."""
    ends = (0, len(portion) - _END_BYTES)
    return not any(struct.unpack_from("=H", portion, at + 4)[0] in (_DONE, _ERROR) for at in ends)


def _key_of(body: bytes, addresses: Collection[bytes]) -> bytes:
    """Return the key of a connection that has one of these addresses; of another one nothing."""
    size = _ADDRESS_BYTES[body[0]]
    (length,) = struct.unpack_from("=H", body, _TUPLES)
    for tuple_at in (_TUPLES, _TUPLES + length):  # the length of a tuple is a multiple of four
        source = tuple_at + _SOURCE
        destination = source + size + 4
        ends = (body[source : source + size], body[destination : destination + size])
        if ends[0] in addresses or ends[1] in addresses:
            return _key(body[_TUPLES + 4 : _TUPLES + length])
    return b""


def _channel(netns: int) -> socket.socket:
    with in_netns(netns):
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)


def _request(kind: int, flags: int, family: int, attributes: bytes = b"") -> bytes:
    body = struct.pack(">BBH", family, 0, 0) + attributes
    return MESSAGE.pack(MESSAGE.size + len(body), kind, flags | 1, 1, 0) + body


def _usage(channel: socket.socket) -> Usage:
    """Return how many connections the namespace has, of whatever protocol, and may have."""
    channel.send(_request(_STATISTICS, 0, socket.AF_UNSPEC))
    for _sequence, kind, _flags, body in split_messages(channel.recv(4096)):
        if kind == _ERROR:
            raise _refusal("count connections", body)
        told = dict(split(body[4:]))
        if _ENTRIES in told:
            limit = told.get(_LIMIT, b"")  # not told by Linux below 4.18
            return Usage(int.from_bytes(told[_ENTRIES], "big"), int.from_bytes(limit, "big"))
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
    key = _key(attributes[_ORIGINAL])
    return UdpFlow(original[2], original[4], reply[1], reply[3], key, body[0])


def _key(original: bytes) -> bytes:
    """Return a connection's first tuple as the kernel wants to be told it: marked as nested."""
    return struct.pack("=HH", 4 + len(original), _ORIGINAL | 0x8000) + original


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
