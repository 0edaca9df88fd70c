"""Packets as they pass the interfaces of a namespace: AF_PACKET, one socket for all of them.

A filter in the kernel (classic BPF) lets through what can belong to one flow: its protocol with
its source port on either side, the same protocol with a node's address (a masqueraded packet has
another port), and ICMP. Whatever else passes costs some instructions and is not copied.

Sources: packet(7), socket(7), linux/filter.h; RFC 791, 8200 (IP), 9293 (TCP), 768 (UDP), 792 and
4443 (ICMP: an error quotes the packet that it is about).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from k8slab.embedded.linux import in_netns
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from k8slab.embedded.network.tracing import Mark

_EVERYTHING = 3  # ETH_P_ALL
_OTHERS, _OUTGOING = 3, 4  # PACKET_OTHERHOST, PACKET_OUTGOING
_ATTACH_FILTER, _TIMESTAMPS = 26, 35  # SO_ATTACH_FILTER, SO_TIMESTAMPNS
_STATISTICS, _SOL_PACKET = 6, 263
_RECEIVE_BUFFER = 4 << 20
_LONGEST = 1 << 16
_SECONDS_FOR_CLOCK = 2.0
_ETHERNET = 14
NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}
_NAMES = {6: "TCP", 17: "UDP", 132: "SCTP", 1: "ICMP", 58: "ICMPv6"}
_ICMP_ERRORS = {1: {3, 4, 5, 11, 12}, 58: {1, 2, 3, 4}}
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")

_LOAD_HALF, _LOAD_BYTE, _LOAD_WORD = 0x28, 0x30, 0x20
_LOAD_HALF_BEHIND, _HEADER_LENGTH = 0x48, 0xB1
_JUMP_IF_EQUAL, _JUMP, _RETURN = 0x15, 0x05, 0x06
_ACCEPT, _REFUSE = _LONGEST, 0


Ends = tuple[str, str, int, str, int]


class Packet(NamedTuple):
    """What a packet says of itself. An ICMP error has the ports 0, and `quoted`."""

    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    flags: str = ""
    """Of TCP, such as ``SYN`` and ``SYN,ACK``; the type and code of ICMP, ``3/3``."""
    sequence: int = 0
    """TCP's own; for other protocols 0."""
    acknowledged: int = 0
    data: bytes = b""
    """The first bytes of what TCP or UDP carries."""
    quoted: Packet | None = None
    """The packet that an ICMP error is about."""
    size: int = 0
    """Bytes, from the IP header to the end."""

    @property
    def ends(self) -> Ends:
        """Return protocol, source, its port, destination, its port."""
        return (
            self.protocol, self.source, self.source_port, self.destination, self.destination_port
        )  # fmt: skip

    @property
    def answer(self) -> Ends:
        """Return the ends of an answer."""
        return (
            self.protocol, self.destination, self.destination_port, self.source, self.source_port
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """One packet at one interface."""

    time: int
    """The kernel's, in nanoseconds since 1970."""
    interface: str
    leaving: bool
    """Whether it was sent by this interface; else it came in there."""
    frame: bytes
    packet: Packet
    for_others: bool = False
    """Its hardware address is somebody else's: only a switch does something with it."""


class Capture:
    """The packets of one flow in one namespace, without blocking."""

    def __init__(self, netns: int, mark: Mark) -> None:
        with in_netns(netns):
            self._socket = socket.socket(
                socket.AF_PACKET,
                socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                socket.htons(_EVERYTHING),
            )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._socket.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)
            _attach(self._socket, _program(mark))
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> Iterator[Seen]:
        """Yield what has passed since, without waiting."""
        while True:
            try:
                frame, extra, _flags, address = self._socket.recvmsg(_LONGEST, 64)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # an interface has gone
                    raise
                continue
            packet = parse(frame[_ETHERNET:])
            if packet is not None:
                leaving = address[2] == _OUTGOING
                others = address[2] == _OTHERS
                yield Seen(_nanoseconds(extra), address[0], leaving, frame, packet, others)

    def lost(self) -> int:
        """Return how many packets the kernel had no room for."""
        return int(struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def wait_for_clock() -> None:
    """Return once the kernel notes the time of each packet as it passes.

    It begins to do so for the first socket that asks, but from a work queue (net_enable_timestamp
    in net/core/dev.c): until then a packet has the time at which it is read, and the order of
    what several sockets saw is lost. A datagram to ourselves shows which of the two it is.
    """
    ends = time.monotonic() + _SECONDS_FOR_CLOCK
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as own:
        own.bind(("127.0.0.1", 0))
        own.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)
        while True:
            own.sendto(b"?", own.getsockname())
            sent = time.time_ns()
            _data, extra, _flags, _address = own.recvmsg(1, 64)
            if _nanoseconds(extra) <= sent:
                return
            if time.monotonic() > ends:
                raise KernelError("the kernel does not note the time of packets")
            os.sched_yield()


def _nanoseconds(extra: list[tuple[int, int, bytes]]) -> int:
    seconds, rest = struct.unpack("=qq", extra[0][2][:16])
    return int(seconds * 1_000_000_000 + rest)


def parse(data: bytes, *, quoted: bool = False) -> Packet | None:
    """Read a packet from its network header on; ``None`` for what is none or is torn.

    A quoted one may be cut off after eight bytes of its transport header.
    """
    if len(data) < 20:
        return None
    if data[0] >> 4 == 4:
        version, number, start = 4, data[9], (data[0] & 15) * 4
        size = struct.unpack_from(">H", data, 2)[0]
        source, destination = data[12:16], data[16:20]
    elif data[0] >> 4 == 6 and len(data) >= 40:
        version, number, start = 6, data[6], 40
        size = 40 + struct.unpack_from(">H", data, 4)[0]
        source, destination = data[8:24], data[24:40]
    else:
        return None
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    ends = [socket.inet_ntop(family, address) for address in (source, destination)]
    rest = data[start:]
    name = _NAMES.get(number)
    if name is None or len(rest) < 8:
        return None
    if number in _ICMP_ERRORS:
        about = None
        if not quoted and rest[0] in _ICMP_ERRORS[number]:
            about = parse(rest[8:], quoted=True)
        kind = f"{rest[0]}/{rest[1]}"
        return Packet(name, ends[0], 0, ends[1], 0, kind, quoted=about, size=size)
    ports = struct.unpack_from(">HH", rest)
    end = Packet(name, ends[0], ports[0], ends[1], ports[1], size=size)
    if number == NUMBERS["TCP"]:
        sequence = struct.unpack_from(">I", rest, 4)[0]
        if len(rest) < 14:
            return end._replace(sequence=sequence)
        acknowledged = struct.unpack_from(">I", rest, 8)[0]
        flags = ",".join(word for bit, word in enumerate(_FLAGS) if rest[13] >> bit & 1)
        return end._replace(flags=flags, sequence=sequence, acknowledged=acknowledged)
    return end._replace(data=rest[8:32])


def _attach(channel: socket.socket, program: Sequence[tuple[int, int, int, int]]) -> None:
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    held = ctypes.create_string_buffer(code)
    # struct sock_fprog: a count and a pointer, aligned as the machine does.
    pointer = struct.pack("HP", len(program), ctypes.addressof(held))
    channel.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, pointer)


def _program(mark: Mark) -> list[tuple[int, int, int, int]]:
    """Return the filter: steps of code, jump if true, jump if not, operand.

    Jumps go forward by a number of steps; a test that succeeds leads to the accepting step
    right behind it, one that fails skips that.
    """
    four = _checks(mark, 4)
    six = _checks(mark, 6)
    return [
        (_LOAD_HALF, 0, 0, 12),
        (_JUMP_IF_EQUAL, 0, 1, 0x86DD),
        (_JUMP, 0, 0, 2 + len(four)),  # the only jump that may be long: to `six`
        (_JUMP_IF_EQUAL, 1, 0, 0x0800),
        (_RETURN, 0, 0, _REFUSE),
        *four,
        *six,
    ]


def _checks(mark: Mark, version: int) -> list[tuple[int, int, int, int]]:
    protocol_at, icmp = (23, 1) if version == 4 else (20, 58)
    ends = (26, 30) if version == 4 else (22 + 12, 38 + 12)  # of IPv6 the last four bytes
    accept = (_RETURN, 0, 0, _ACCEPT)
    steps = [
        (_LOAD_BYTE, 0, 0, protocol_at),
        (_JUMP_IF_EQUAL, 0, 1, icmp),
        accept,
        (_JUMP_IF_EQUAL, 1, 0, NUMBERS[mark.protocol]),
        (_RETURN, 0, 0, _REFUSE),
    ]
    addresses = [a for a in mark.masqueraded if (":" in a) is (version == 6)]
    for offset in ends:
        steps.append((_LOAD_WORD, 0, 0, offset))
        for address in addresses:
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            last = struct.unpack(">I", socket.inet_pton(family, address)[-4:])[0]
            steps += [(_JUMP_IF_EQUAL, 0, 1, last), accept]
    for side in (0, 2):
        if version == 4:  # register X: the length of the header, from its first byte
            steps += [(_HEADER_LENGTH, 0, 0, 14), (_LOAD_HALF_BEHIND, 0, 0, 14 + side)]
        else:
            steps.append((_LOAD_HALF, 0, 0, 54 + side))
        steps += [(_JUMP_IF_EQUAL, 0, 1, mark.source_port), accept]
    return [*steps, (_RETURN, 0, 0, _REFUSE)]
