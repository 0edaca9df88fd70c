"""Runs inside a pod: do one look-up, and say which packets to and from port 53 it made.

This file is given to the pod's own Python as text (``python3 -c``), so it uses the standard
library of Python 3.8 alone. Without a command the C library's resolver looks the name up, for
IPv4 and IPv6 as most programs do; else the command runs. The kernel keeps a copy of each
packet on a packet socket meanwhile (packet(7)), and afterwards all are read, so nothing runs
beside the look-up that could disturb it.

Arguments: seconds, the name, and the command's words. What is said on stdout is JSON.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYTHING = 3  # ETH_P_ALL
OUTGOING = 4  # PACKET_OUTGOING
SOL_PACKET, STATISTICS = 263, 6
UDP, DNS = 17, 53
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def look_up(name: str) -> tuple[int, str]:
    """Return exit code and text, as ``getent`` would print it."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        return 2, str(error)
    return 0, "\n".join(dict.fromkeys(str(entry[4][0]) for entry in found))


def run(argv: list[str], seconds: float) -> tuple[int, str]:
    """Return exit code and text of a command; 124 when it did not end in time, as timeout(1)."""
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        return 124, (error.stdout or b"").decode(errors="replace")
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout.decode(errors="replace")


def datagram(data: bytes) -> tuple[str, int, str, int, str] | None:
    """Return addresses, ports and payload of a UDP packet, from its IP header on, or None."""
    version = data[0] >> 4 if len(data) >= 28 else 0
    if version == 4 and data[9] == UDP:
        start, ends = (data[0] & 15) * 4, (data[12:16], data[16:20])
    elif version == 6 and data[6] == UDP and len(data) >= 48:
        start, ends = 40, (data[8:24], data[24:40])
    else:
        return None
    ports = struct.unpack_from(">HH", data, start)
    source, destination = (socket.inet_ntop(FAMILIES[version], end) for end in ends)
    return source, ports[0], destination, ports[1], data[start + 8 :].hex()


def packets(channel: socket.socket) -> Iterator[tuple[bool, str, int, str, int, str]]:
    """Yield what the kernel kept: whether it left, and the datagram."""
    while True:
        try:
            data, address = channel.recvfrom(65535)
        except BlockingIOError:
            return
        found = datagram(data)
        if found and DNS in (found[1], found[3]):
            yield (address[2] == OUTGOING, *found)


def main(argv: list[str]) -> None:
    """Do the look-up and print what came of it."""
    seconds, name, command = float(argv[0]), argv[1], argv[2:]
    channel = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(EVERYTHING))
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    channel.setblocking(False)
    began = time.monotonic()
    code, said = run(command, seconds) if command else look_up(name)
    took = time.monotonic() - began
    seen = list(packets(channel))
    lost = struct.unpack("=II", channel.getsockopt(SOL_PACKET, STATISTICS, 8))[1]
    found = {"code": code, "said": said, "seconds": took, "packets": seen, "lost": lost}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
