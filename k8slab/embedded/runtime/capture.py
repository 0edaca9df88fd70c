"""tcpdump for a pod whose user namespace maps a single id; a program of its own.

There the real tcpdump cannot drop its privileges (setgroups(2) is denied) and gives up.
So the packets are read here (packet(7)), and the real tcpdump reads them as a file from
a pipe, in one more user namespace in which it is no longer root: the printing, and all
options but those of capturing, are its own.

It is bound over the real one's path, which lies at `REAL` then, and needs nothing but
the standard library.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REAL = "/opt/k8slab/tcpdump"
_WITH_VALUE = "BcCEFGijmMQrsTVwWyzZ"
_OURS_WITH_VALUE = "BiQZ"
_OURS = "Ip"
_NO_CAPTURE = set("rDLhdV")
_SNAPSHOT = 262_144
_ETHERNET, _COOKED = 1, 276  # LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL2
_EVERY_PROTOCOL = 0x0003  # ETH_P_ALL
_OUTGOING = 4  # PACKET_OUTGOING
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER, socket(7)
_SIOCGIFFLAGS, _IFF_UP, _IFF_LOOPBACK = 0x8913, 1, 8  # netdevice(7)


_PRINTERS_OWN = (
    b"reading from file -",
    b"Warning: setgid/setuid failed",
    b"Warning: interface names might be incorrect",
)
"""What the printer says about reading a file, which it does unknown to the learner."""


class Arguments:
    """A tcpdump command line, split into what concerns capturing and the rest."""

    def __init__(self, argv: list[str]) -> None:
        self.interface = ""
        self.direction = "inout"
        self.limit = sys.maxsize
        self.passed: list[str] = []
        self.letters: set[str] = set()
        self.expression: list[str] = []
        words = iter(argv)
        for word in words:
            if word.startswith("--"):
                self._long(word, words)
            elif word.startswith("-") and len(word) > 1:
                self._cluster(word[1:], words)
            else:
                self.expression.append(word)

    def _long(self, word: str, words: Iterator[str]) -> None:
        name, equals, value = word.partition("=")
        if name == "--interface":
            self.interface = value if equals else next(words, "")
        elif name in {"--help", "--version", "--list-interfaces"}:
            self.letters.add("h")
            self.passed.append(word)
        elif name != "--immediate-mode":
            self.passed.append(word)

    def _cluster(self, letters: str, words: Iterator[str]) -> None:
        for place, letter in enumerate(letters):
            self.letters.add(letter)
            if letter in _WITH_VALUE:
                value = letters[place + 1 :] or next(words, "")
                self._take(letter, value)
                return
            if letter not in _OURS:
                self.passed.append(f"-{letter}")

    def _take(self, letter: str, value: str) -> None:
        if letter == "i":
            self.interface = value
        elif letter == "Q":
            self.direction = value
        elif letter == "c" and value.isdecimal():
            self.limit = int(value)
            self.passed += ["-c", value]
        elif letter not in _OURS_WITH_VALUE:
            self.passed += [f"-{letter}", value]


def main(argv: list[str]) -> int:
    """Capture and print as tcpdump does; return its exit code."""
    arguments = Arguments(argv)
    if arguments.letters & _NO_CAPTURE:
        os.execvp("unshare", _as_nobody(argv))  # noqa: S606 - no shell is the point
    interface = arguments.interface or default_interface()
    try:
        packets = _open(interface)
    except OSError as error:
        sys.stderr.write(f"tcpdump: {interface}: {error.strerror}\n")
        return 1
    cooked = interface == "any"
    if arguments.expression and not cooked and not _attach_filter(packets, arguments.expression):
        return 1
    stopped, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    command = ["-r", "-", *arguments.passed, *arguments.expression]
    printer = subprocess.Popen(
        _as_nobody(command),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # the terminal's interrupt is for us alone
    )
    _announce(interface, cooked=cooked, verbose="v" in arguments.letters)
    count = _copy(packets, printer, stopped, arguments.direction, cooked=cooked)
    code = _finish(printer)
    sys.stderr.write(
        f"{min(count, arguments.limit)} packets captured\n{count} packets received by filter\n"
        "0 packets dropped by kernel\n"
    )
    return code


def default_interface() -> str:
    """Return the first interface that is up and not the loopback, as libpcap chooses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for _, name in socket.if_nameindex():
            request = struct.pack("16sh14x", name.encode(), 0)
            flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
            if flags & _IFF_UP and not flags & _IFF_LOOPBACK:
                return name
    return "lo"


def _as_nobody(arguments: list[str]) -> list[str]:
    return ["unshare", "-U", "--map-user=1000", "--", REAL, *arguments]


def _open(interface: str) -> socket.socket:
    cooked = interface == "any"
    kind = socket.SOCK_DGRAM if cooked else socket.SOCK_RAW
    packets = socket.socket(socket.AF_PACKET, kind, socket.htons(_EVERY_PROTOCOL))
    packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    if not cooked:
        packets.bind((interface, _EVERY_PROTOCOL))
    return packets


def _attach_filter(packets: socket.socket, expression: list[str]) -> bool:
    """Let the kernel filter, so that what we count is what is printed."""
    compiled = subprocess.run(
        _as_nobody(["-y", "EN10MB", "-ddd", *expression]),
        capture_output=True,
        text=True,
        check=False,
    )
    if compiled.returncode:
        sys.stderr.write(compiled.stderr)
        return False
    lines = [[int(word) for word in line.split()] for line in compiled.stdout.splitlines()[1:]]
    program = array.array("B", b"".join(struct.pack("=HBBI", *line) for line in lines))
    address, _ = program.buffer_info()
    packets.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", len(lines), address))
    return True


def _announce(interface: str, *, cooked: bool, verbose: bool) -> None:
    if not verbose:
        sys.stderr.write(
            "tcpdump: verbose output suppressed, use -v[v]... for full protocol decode\n"
        )
    link = "LINUX_SLL2 (Linux cooked v2)" if cooked else "EN10MB (Ethernet)"
    sys.stderr.write(
        f"listening on {interface}, link-type {link}, snapshot length {_SNAPSHOT} bytes\n"
    )
    sys.stderr.flush()


def _copy(
    packets: socket.socket,
    printer: subprocess.Popen[bytes],
    stopped: int,
    direction: str,
    *,
    cooked: bool,
) -> int:
    """Hand packets to `printer` until it ends or we are told to stop; returns how many."""
    assert printer.stdin is not None
    assert printer.stderr is not None
    pipe = printer.stdin.fileno()
    link = _COOKED if cooked else _ETHERNET
    os.write(pipe, struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAPSHOT, link))
    ended = os.pidfd_open(printer.pid)
    poll = select.poll()
    for descriptor in (packets.fileno(), stopped, ended):
        poll.register(descriptor, select.POLLIN)
    count = 0
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if stopped in ready or ended in ready:
            return count
        data, address = packets.recvfrom(_SNAPSHOT)
        if not _wanted(address, direction):
            continue
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if cooked:
            data = _cooked_header(address) + data
        head = struct.pack("=IIII", seconds, nanoseconds // 1000, len(data), len(data))
        try:
            os.write(pipe, head + data)
        except BrokenPipeError:
            return count
        count += 1


def _wanted(address: tuple[str, int, int, int, bytes], direction: str) -> bool:
    outgoing = address[2] == _OUTGOING
    if outgoing and address[0] == "lo":
        return False  # the loopback shows each packet twice
    return direction == "inout" or (direction == "out") == outgoing


def _cooked_header(address: tuple[str, int, int, int, bytes]) -> bytes:
    name, protocol, kind, hardware, link = address
    index = socket.if_nametoindex(name)
    return struct.pack("!HHIHBB8s", protocol, 0, index, hardware, kind, len(link), link)


def _finish(printer: subprocess.Popen[bytes]) -> int:
    """End the printer's input, and repeat what it complained about."""
    assert printer.stdin is not None
    assert printer.stderr is not None
    with contextlib.suppress(BrokenPipeError):
        printer.stdin.close()
    for line in printer.stderr:
        if not line.startswith(_PRINTERS_OWN):
            sys.stderr.buffer.write(line)
    return printer.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
