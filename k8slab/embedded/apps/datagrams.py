"""Plain UDP answers on the apps' `Loop`: one for each datagram."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from k8slab.embedded.apps.loop import READ, Loop
from k8slab.embedded.apps.sockets import Address, plain, written
from k8slab.objects.packets import MOST_DATAGRAM

if TYPE_CHECKING:
    from collections.abc import Iterable

Answer = Callable[[bytes, Address], bytes | None]
"""Returns the answer to a datagram from this client, or ``None`` for none."""

_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50
_PKTINFO = struct.Struct("@16sI")


def serve_udp(loop: Loop, sock: socket.socket, answer: Answer) -> None:
    """Answer each datagram from the address that it was sent to.

    Replies carry the destination of the question as their source (IPV6_PKTINFO,
    ipv6(7)); the kernel would else choose one by route, and a client on a host with
    several addresses would not recognise it.
    """
    both = sock.family == socket.AF_INET6
    if both:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)

    def ready(_events: int) -> None:
        for _ in range(64):
            try:
                data, extra, _, peer = sock.recvmsg(MOST_DATAGRAM, 64)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier answer is reported here once
                continue
            reply = answer(data, plain(peer))
            if reply is None:
                continue
            try:
                sock.sendmsg([reply[:MOST_DATAGRAM]], _source(extra) if both else [], 0, peer)
            except OSError:  # unreachable or a full queue: datagrams may be lost
                continue

    loop.watch(sock, READ, ready)


def _source(extra: Iterable[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    for level, kind, data in extra:
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
            address, interface = _PKTINFO.unpack(data[: _PKTINFO.size])
            # The interface matters for link-local addresses only; else the route decides.
            if not ipaddress.IPv6Address(address).is_link_local:
                interface = 0
            return [(level, kind, _PKTINFO.pack(address, interface))]
    return []


def describe(data: bytes, client: Address, *, pod: str) -> bytes:
    """Answer one datagram; the words are those of agnhost netexec's UDP server.

    ``hostname``, ``clientip`` and ``echo TEXT`` get just that; anything else gets who answers,
    whom it saw and what it said.
    """
    said = data.decode("utf-8", "replace").strip()
    word, _, rest = said.partition(" ")
    if word == "hostname":
        return pod.encode()
    if word == "clientip":
        return written(client).encode()
    if word == "echo":
        return rest.encode()
    return f"pod: {pod}\nyou are: {written(client)}\nyou said: {said}\n".encode()
