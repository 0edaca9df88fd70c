"""Dropped packets, as the kernel reports them: NFLOG, read from a netlink socket.

A rule with ``log group 1`` sends the packet's first bytes and the rule's prefix here. By
default the kernel collects reports for a second; with a queue threshold of one they come at
once. When packets are dropped faster than they are read, the kernel forgets some and says
so (ENOBUFS): that is counted, never hidden. Sources: linux/netfilter/nfnetlink_log.h, RFC
791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from dataclasses import dataclass

from k8slab.embedded.linux import in_netns
from k8slab.embedded.network.attributes import MESSAGE, attribute, split, split_messages
from k8slab.errors import KernelError

_NETFILTER = 12
_SUBSYSTEM = 4 << 8
_PACKET, _CONFIG = _SUBSYSTEM | 0, _SUBSYSTEM | 1
_CONFIG_COMMAND, _CONFIG_MODE, _CONFIG_THRESHOLD = 1, 2, 5
_BIND, _COPY_PACKET = 1, 2
_INTERFACE_IN, _INTERFACE_OUT, _PAYLOAD, _PREFIX = 4, 5, 9, 10
_RECEIVE_BUFFER = 1 << 20
_BATCH = 64
"""Reports read at one go, so that a flood never holds the event loop for long."""

_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
_WITH_PORTS = {6, 17, 132}
_EXTENSIONS = {0, 43, 60}
"""IPv6 extension headers with a length field: hop-by-hop, routing, destination options."""


@dataclass(frozen=True, slots=True)
class Report:
    """One packet that a rule reported."""

    time: float
    prefix: str
    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    came_by: int = 0
    """Index of the interface by which it came; 0 for none."""
    leaves_by: int = 0


class PacketLog:
    """The reports of one NFLOG group in one network namespace, without blocking."""

    def __init__(self, netns: int, group: int, copy_bytes: int) -> None:
        self.lost = 0
        """How often the kernel had to forget reports since they came too fast."""
        with in_netns(netns):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER
            )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._configure(group, _CONFIG_COMMAND, struct.pack("=B", _BIND))
        self._configure(group, _CONFIG_MODE, struct.pack(">IBx", copy_bytes, _COPY_PACKET))
        self._configure(group, _CONFIG_THRESHOLD, struct.pack(">I", 1))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def read(self) -> list[Report]:
        """Return what has been reported, at most a batch at a time."""
        reports: list[Report] = []
        while len(reports) < _BATCH:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1
                continue
            now = time.time()
            for _sequence, kind, _flags, body in split_messages(data):
                if kind == _PACKET and (report := _report(now, body[4:])):
                    reports.append(report)
        return reports

    def _configure(self, group: int, kind: int, value: bytes) -> None:
        body = struct.pack(">BBH", socket.AF_UNSPEC, 0, group) + attribute(kind, value)
        self._socket.send(MESSAGE.pack(MESSAGE.size + len(body), _CONFIG, 0x5, 0, 0) + body)
        answer = self._socket.recv(4096)
        if number := -struct.unpack_from("=i", answer, MESSAGE.size)[0]:
            raise KernelError(f"configure NFLOG group {group}: {os.strerror(number)}", errno=number)


def _report(now: float, body: bytes) -> Report | None:
    prefix, payload = "", b""
    interfaces = {_INTERFACE_IN: 0, _INTERFACE_OUT: 0}
    for kind, value in split(body):
        if kind == _PREFIX:
            prefix = value.rstrip(b"\0").decode()
        elif kind == _PAYLOAD:
            payload = value
        elif kind in interfaces:
            interfaces[kind] = struct.unpack(">I", value)[0]
    parsed = parse_packet(payload)
    return Report(now, prefix, *parsed, *interfaces.values()) if parsed else None


def parse_packet(packet: bytes) -> tuple[str, str, int, str, int] | None:
    """Return protocol, source, its port, destination, its port; ``None`` for a torn packet.

    Ports are 0 where the protocol has none, and in later fragments.
    """
    if len(packet) < 20:
        return None
    if packet[0] >> 4 == 4:
        family = socket.AF_INET
        number, start = packet[9], (packet[0] & 15) * 4
        source, destination = packet[12:16], packet[16:20]
        whole = struct.unpack_from(">H", packet, 6)[0] & 0x1FFF == 0
    elif len(packet) >= 40:
        family = socket.AF_INET6
        number, start, whole = packet[6], 40, True
        source, destination = packet[8:24], packet[24:40]
        while number in _EXTENSIONS and start + 2 <= len(packet):
            number, start = packet[start], start + 8 + 8 * packet[start + 1]
    else:
        return None
    ports = (0, 0)
    if whole and number in _WITH_PORTS and start + 4 <= len(packet):
        ports = struct.unpack_from(">HH", packet, start)
    name = _PROTOCOLS.get(number, str(number))
    # inet_ntop(3) takes a tenth of the time of ipaddress, and a matrix is denied by thousands.
    texts = [socket.inet_ntop(family, address) for address in (source, destination)]
    return name, texts[0], ports[0], texts[1], ports[1]
