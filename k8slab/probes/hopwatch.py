"""Runs inside a pod or on a node: watch which packets of one flow pass, or send the flow itself.

This file is given to the place's own Python as text (``python3 -c``), so it uses the standard
library of Python 3.8 alone. A packet socket (packet(7)) gets a copy of what passes any interface;
kept is what has one of the ports asked for, and ICMP's errors.

Arguments: ``watch PORTS`` says ``ready`` and keeps packets until a line comes in;
``send PORTS SECONDS HOST PORT PROTOCOL MARK OWN SIZE`` tries the flow once, from the port OWN (0:
any). MARK is how a datagram begins; one of SIZE bytes (0: as it is) is not cut on its way. Both
then print one line of JSON.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from typing import Any

EVERYTHING = 3  # ETH_P_ALL
OUTGOING = 4  # PACKET_OUTGOING
WITH_ETHERNET = (1, 772)  # ARPHRD_ETHER, ARPHRD_LOOPBACK
SOL_PACKET, STATISTICS = 263, 6
TIMESTAMPS = 35  # SO_TIMESTAMPNS
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
MTU_DISCOVER = {socket.AF_INET: (0, 10), socket.AF_INET6: (41, 23)}
PROBE = 3  # IP_PMTUDISC_PROBE: not to be cut, whatever is known about the path
MOST, LONGEST, LONGEST_WATCH = 4000, 2048, 120.0
"""Packets and bytes kept at most; seconds after which a watcher whom nobody ends goes."""


def concerns(data: bytes, ports: set[int]) -> bool:
    """Say whether a packet, from its IP header on, may belong to the flow."""
    version = data[0] >> 4 if len(data) >= 28 else 0
    if version == 4:
        number, start = data[9], (data[0] & 15) * 4
    elif version == 6 and len(data) >= 48:
        number, start = data[6], 40
    else:
        return False
    if number in (ICMP, ICMPV6):
        return True
    if number not in (TCP, UDP) or len(data) < start + 4:
        return False
    return bool(ports & set(struct.unpack_from(">HH", data, start)))


class Watch:
    """What passes, since it was made."""

    def __init__(self, ports: set[int]) -> None:
        self.ports = ports
        self.frames: list[tuple[int, str, bool, str]] = []
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
        self.socket.setblocking(False)

    def read(self) -> None:
        """Keep what has passed."""
        while True:
            try:
                frame, extra, _flags, address = self.socket.recvmsg(LONGEST, 64)
            except BlockingIOError:
                return
            if address[3] not in WITH_ETHERNET:  # a tunnel's interface: no hardware address
                frame = bytes(12) + struct.pack(">H", address[1]) + frame
            if concerns(frame[14:], self.ports) and len(self.frames) < MOST:
                seconds, rest = struct.unpack("=qq", extra[0][2][:16])
                time_ = seconds * 1_000_000_000 + rest
                self.frames.append((time_, address[0], address[2] == OUTGOING, frame.hex()))

    def found(self) -> dict[str, Any]:
        """Return everything that was seen."""
        self.read()
        lost = struct.unpack("=II", self.socket.getsockopt(SOL_PACKET, STATISTICS, 8))[1]
        return {"frames": self.frames, "lost": lost}


def watch(seen: Watch) -> dict[str, Any]:
    """Keep packets until a line comes in."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ends = time.monotonic() + LONGEST_WATCH
    while (left := ends - time.monotonic()) > 0:
        able, _, _ = select.select([seen.socket, sys.stdin], [], [], left)
        seen.read()
        if sys.stdin in able:
            break
    return seen.found()


def send(seen: Watch, seconds: float, target: tuple[str, int], words: list[str]) -> dict[str, Any]:
    """Try the flow and say what came of it, the address asked, and the own port."""
    (host, port), (protocol, mark, wanted, size) = target, words
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    began, outcome, detail, address, own = time.monotonic(), "open", "", "", 0
    try:
        family, _, _, _, end = socket.getaddrinfo(host, port, type=kind)[0]
        address = str(end[0])
        with socket.socket(family, kind) as channel:
            channel.settimeout(seconds)
            channel.bind(("", int(wanted)))
            if int(size):
                channel.setsockopt(*MTU_DISCOVER[family], PROBE)
            own = channel.getsockname()[1]
            channel.connect(end)
            if protocol != "TCP":
                channel.send(mark.encode().ljust(int(size), b"."))
                channel.recv(2048)
    except socket.gaierror as error:
        outcome, detail = "unresolved", str(error)
    except ConnectionRefusedError:
        outcome = "refused"
    except socket.timeout:  # noqa: UP041  another class before Python 3.10
        outcome = "silent"
    except OSError as error:
        outcome, detail = "failed", str(error)
    took = time.monotonic() - began
    said = {"outcome": outcome, "detail": detail, "address": address, "own": own, "seconds": took}
    return {**seen.found(), **said}


def main(argv: list[str]) -> None:
    """Watch or send, and print what was seen."""
    role, ports, *rest = argv
    seen = Watch({int(port) for port in ports.split(",")})
    if role == "watch":
        found = watch(seen)
    else:
        seconds, host, port, *words = rest
        found = send(seen, float(seconds), (host, int(port)), words)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
