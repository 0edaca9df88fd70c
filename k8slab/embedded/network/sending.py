"""The one packet of a journey: it is sent as a program in its source would send it.

TCP connects, UDP sends a datagram. Where a program of the source has the wanted port already, a
datagram leaves by a raw socket with that port in its header: what the kernel keeps about the port
(its entry in the connection table) is then that program's, which is what one wants to see. The
program may be given the answer too.

A datagram of a wanted size must not be cut on its way (IPv4's DF, RFC 791; routers of IPv6 never
cut, RFC 8200 section 5), and what the kernel knows about the path's MTU is not asked.

Sources: tcp(7), udp(7), raw(7), ip(7) and linux/in.h for IP_MTU_DISCOVER.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k8slab.embedded.linux import in_netns

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = 12
"""Bytes by which a datagram is known: what a trace shows of it."""
_UNREACHABLE = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.EACCES: "prohibited",
    errno.ECONNRESET: "connection reset",
    errno.EMSGSIZE: "too large for a link on its way",
}
_TRIES = 100
"""Source ports tried before giving up: some may be taken."""
_NAME_SERVER = 53
_UDP_HEADER = struct.Struct(">HHHH")
_CHECKSUM_AT = 6
_MTU_DISCOVER = {
    socket.AF_INET: (socket.IPPROTO_IP, 10),  # IP_MTU_DISCOVER
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23),  # IPV6_MTU_DISCOVER
}
_PROBE = 3  # IP_PMTUDISC_PROBE


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace that a packet may pass."""

    kind: str
    """``pod``, ``node``, ``switch``, ``world``."""
    name: str
    netns: int = field(compare=False)
    """A descriptor that stays open until the journey is over."""
    addresses: tuple[str, ...] = field(default=(), compare=False)
    """A node's own, by which it masquerades."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent: from where, and where to."""

    source: Place
    address: str
    port: int
    protocol: str = "TCP"
    from_port: int = 0
    """The source's port; 0 for any free one."""
    size: int = 0
    """Bytes that a datagram carries; 0 for a few."""


class Sender:
    """Sends the packet of a question from its source, and reads the answer, without blocking."""

    def __init__(self, question: Question, next_port: Callable[[], int]) -> None:
        """Take a port: the question's own, or else the first free one that `next_port` gives.

        Raises `OSError` where none can be had.
        """
        self.question = question
        self._family = socket.AF_INET6 if ":" in question.address else socket.AF_INET
        self._udp = question.protocol == "UDP"
        self.payload = _payload(question) if self._udp else b""
        self._raw = False
        self._socket = self._opened(socket.SOCK_DGRAM if self._udp else socket.SOCK_STREAM)
        try:
            self.port = self._bound(next_port)
            if question.size:
                self._socket.setsockopt(*_MTU_DISCOVER[self._family], _PROBE)
        except BaseException:
            self.close()
            raise

    @property
    def answered_when_readable(self) -> bool:
        """Say whether an answer can be read; else the socket becomes writable when connected."""
        return self._udp

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def send(self) -> None:
        """Send it; raises `OSError` for what the source itself refuses."""
        with suppress(BlockingIOError):  # under way, as is to be expected
            self._socket.connect((self.question.address, 0 if self._raw else self.question.port))
        if not self._udp:
            return
        data = self.payload
        if self._raw:  # without a checksum (0, RFC 768), or with the kernel's
            data = _UDP_HEADER.pack(self.port, self.question.port, 8 + len(data), 0) + data
        self._socket.send(data)

    def answer(self) -> tuple[str, str] | None:
        """Return outcome and detail when the socket is ready; ``None`` if that was for others.

        Raises `OSError` for a refusal (`refusal`).
        """
        if not self._udp:
            if number := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(number, os.strerror(number))
            return "open", ""
        data = self._socket.recv(1 << 16)
        return None if self._raw and not self._is_answer(data) else ("open", "")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _opened(self, kind: int, protocol: int = 0) -> socket.socket:
        flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        with in_netns(self.question.source.netns):
            return socket.socket(self._family, kind | flags, protocol)

    def _bound(self, next_port: Callable[[], int]) -> int:
        if not self._udp:
            # Close with RST: no connection lingers at either end (tcp(7), SO_LINGER).
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if not (wanted := self.question.from_port):
            return self._free(next_port)
        try:
            self._socket.bind(("", wanted))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not self._udp:
                raise OSError(
                    error.errno, f"port {wanted} of the source: {error.strerror}"
                ) from error
            self._beside()
        return wanted

    def _free(self, next_port: Callable[[], int]) -> int:
        for _ in range(_TRIES):
            port = next_port()
            with suppress(OSError):
                self._socket.bind(("", port))
                return port
        raise OSError(errno.EADDRINUSE, f"{_TRIES} source ports are in use")

    def _beside(self) -> None:
        """Send beside the program that has the port."""
        self._socket.close()
        self._socket = self._opened(socket.SOCK_RAW, socket.IPPROTO_UDP)
        self._raw = True
        if self._family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, _CHECKSUM_AT)

    def _is_answer(self, data: bytes) -> bool:
        """Say whether a datagram has the flow's ports: a raw socket gets all that its peer sends.

        It may be the answer to the program's own question. That shows too that the flow works.
        """
        start = (data[0] & 15) * 4 if self._family == socket.AF_INET else 0
        if len(data) < start + _UDP_HEADER.size:
            return False
        came_from, to, *_ = _UDP_HEADER.unpack_from(data, start)
        return bool((came_from, to) == (self.question.port, self.port))


def refusal(error: OSError) -> tuple[str, str]:
    """Return outcome and detail for what sending or reading raised."""
    words = _UNREACHABLE.get(error.errno or 0)
    return ("refused", words) if words else ("failed", str(error))


def _payload(question: Question) -> bytes:
    if question.port == _NAME_SERVER:  # it answers nothing but questions: NS of the root
        data = secrets.token_bytes(2) + bytes.fromhex("01000001000000000000 0000020001")
    else:
        data = secrets.token_hex(TOKEN // 2).encode() + b" k8slab trace\n"
    return data.ljust(question.size, b".")
