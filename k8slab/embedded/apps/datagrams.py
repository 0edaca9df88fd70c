"""The plain protocols of the `web` app: one UDP answer for each datagram, and a TCP banner.

UDP understands agnhost netexec's words (``hostname``, ``clientip``, ``echo TEXT``) and
answers anything else with who it is, whom it saw and what it got. TCP greets first, as
databases and mail servers do, then repeats each line until ``quit``.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable

from k8slab.embedded.apps.loop import READ, Loop
from k8slab.embedded.apps.sockets import Address, plain, written

Answer = Callable[[str, Address], str]
MAX_DATAGRAM = 65507
MAX_LINE = 4096

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
                data, extra, _, peer = sock.recvmsg(MAX_DATAGRAM, 64)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier answer is reported here once
                continue
            reply = answer(data.decode("utf-8", "replace"), plain(peer)).encode()
            try:
                sock.sendmsg([reply[:MAX_DATAGRAM]], _source(extra) if both else [], 0, peer)
            except OSError:  # unreachable or a full queue: datagrams may be lost
                continue

    loop.watch(sock, READ, ready)


def _source(extra: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    for level, kind, data in extra:
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
            address, interface = _PKTINFO.unpack(data[: _PKTINFO.size])
            # The interface matters for link-local addresses only; else the route decides.
            if not ipaddress.IPv6Address(address).is_link_local:
                interface = 0
            return [(level, kind, _PKTINFO.pack(address, interface))]
    return []


def serve_lines(
    loop: Loop, listener: socket.socket, greet: Callable[[Address], str], answer: Answer
) -> None:
    """Greet each TCP client and answer its lines; ``quit`` or a line too long ends it."""

    def accept(_events: int) -> None:
        try:
            sock, peer = listener.accept()
        except OSError:  # the client has gone again, or no descriptor is left
            return
        sock.setblocking(False)
        _Lines(loop, sock, plain(peer), answer).start(greet(plain(peer)))

    loop.watch(listener, READ, accept)


class _Lines:
    """One TCP client of the line protocol."""

    def __init__(self, loop: Loop, sock: socket.socket, client: Address, answer: Answer) -> None:
        self.loop, self.sock, self.client, self.answer = loop, sock, client, answer
        self._buffer = b""

    def start(self, greeting: str) -> None:
        self.loop.watch(self.sock, READ, self._ready)
        self._say(greeting)

    def _ready(self, _events: int) -> None:
        try:
            data = self.sock.recv(MAX_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._buffer += data
        if not data or len(self._buffer) > 2 * MAX_LINE:
            self._close()
            return
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            said = line.decode("utf-8", "replace").strip()
            if said == "quit":
                self._close()
                return
            if not self._say(self.answer(said, self.client)):
                return

    def _say(self, line: str) -> bool:
        """Send one short line; a client that reads so little that it does not fit is closed."""
        try:
            self.sock.sendall(line.encode() + b"\n")
        except OSError:
            self._close()
            return False
        return True

    def _close(self) -> None:
        self.loop.unwatch(self.sock)
        self.sock.close()


def describe_udp(data: str, client: Address, *, pod: str) -> str:
    """Answer one datagram; the words are those of agnhost netexec's UDP server."""
    word, _, rest = data.strip().partition(" ")
    if word == "hostname":
        return pod
    if word == "clientip":
        return written(client)
    if word == "echo":
        return rest
    return f"pod: {pod}\nyou are: {written(client)}\nyou said: {data.strip()}\n"
