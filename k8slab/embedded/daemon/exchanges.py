"""Many conversations at once, each from a network namespace of its own: the probe agent.

An exchange is a TCP connect, or a datagram and its answer. One thread starts them in
bursts, entering each source's namespace once, and waits for all of them with epoll; a
socket stays in the namespace where it was made. How an exchange ends:

    it connects, an answer comes                       open
    RST, ICMP unreachable                              refused
    a policy's rule reports that it dropped it         silent, at once, with the report
    nothing until the deadline                         silent
    the kernel will not even try                       failed

A drop is thus an observation and not a missing one. Reports are matched by protocol,
source address and source port, so each source takes a new port for each exchange: a port
used again could also meet a connection that the kernel still remembers.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k8slab.embedded.linux import in_netns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.network.model import Denial

FIRST_PORT, LAST_PORT = 32768, 60999
"""Source ports: the kernel's own default range (ip_local_port_range), above NodePorts."""
BURST = 64
"""Exchanges started before answers and reports are looked at: the kernel buffers so many."""
_IN_FLIGHT = 1024
_PAYLOAD = b"k8slab probe\n"
_ROOT_QUERY = bytes.fromhex("6b380100000100000000000000000200 01".replace(" ", ""))
"""A DNS query (NS of the root): a name server does not answer anything else."""
_UNREACHABLE = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.EACCES: "prohibited",  # ICMP administratively prohibited
    errno.ECONNRESET: "connection reset",
}
_READ = select.EPOLLIN | select.EPOLLERR
_WRITE = select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What is to be tried; `netns` must stay open until the run is over."""

    netns: int
    source: str
    """Names the source; exchanges of one source never share a source port."""
    address: str
    port: int
    protocol: str = "TCP"
    payload: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How it ended."""

    outcome: str
    detail: str = ""
    seconds: float = 0.0
    data: bytes = b""
    """The answer to a datagram."""
    denial: Denial | None = None


@dataclass(slots=True)
class _Flight:
    index: int
    sock: socket.socket
    began: float
    key: tuple[str, str, int]
    udp: bool


class Ports:
    """The next source port of each source."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def take(self, source: str) -> int:
        """Return a port that this source has not used for 28,000 exchanges."""
        port = self._next.get(source) or random.randint(FIRST_PORT, LAST_PORT)
        self._next[source] = port + 1 if port < LAST_PORT else FIRST_PORT
        return port


@dataclass(slots=True, eq=False)
class Run:
    """One set of exchanges. `run` belongs to a worker thread, `deny` to the event loop's."""

    exchanges: Sequence[Exchange]
    deadline: float
    ports: Ports
    _results: list[Result | None] = field(init=False)
    _flights: dict[int, _Flight] = field(default_factory=dict)
    _by_key: dict[tuple[str, str, int], _Flight] = field(default_factory=dict)
    _order: deque[_Flight] = field(default_factory=deque)
    _denials: deque[Denial] = field(default_factory=deque)
    _epoll: select.epoll = field(default_factory=select.epoll)
    _wake: int = field(default_factory=lambda: os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))

    def __post_init__(self) -> None:
        self._results = [None] * len(self.exchanges)

    def deny(self, denial: Denial) -> None:
        """Learn that a rule dropped a packet: it may be one of ours."""
        self._denials.append(denial)
        if len(self._denials) == 1:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close what `deny` needs; the run is over and is told nothing any more."""
        self._epoll.close()
        os.close(self._wake)

    def run(self) -> list[Result]:
        """Do all exchanges and return their results in order; blocks."""
        self._epoll.register(self._wake, select.EPOLLIN)
        waiting = deque(sorted(range(len(self.exchanges)), key=self._place))
        limit = _limit()
        try:
            while waiting or self._flights:
                self._start(waiting, min(BURST, limit - len(self._flights)))
                self._poll(0.0 if waiting and len(self._flights) < limit else self._patience())
                self._take_denials()
                self._expire()
        finally:
            for flight in self._flights.values():
                flight.sock.close()
        return [result for result in self._results if result is not None]

    def _place(self, index: int) -> int:
        return self.exchanges[index].netns

    def _start(self, waiting: deque[int], room: int) -> None:
        while waiting and room > 0:
            netns = self._place(waiting[0])
            with in_netns(netns):
                while waiting and room > 0 and self._place(waiting[0]) == netns:
                    room -= 1
                    self._begin(waiting.popleft())

    def _begin(self, index: int) -> None:
        exchange = self.exchanges[index]
        udp = exchange.protocol == "UDP"
        began = time.monotonic()
        sock = _socket(exchange)
        try:
            self._bind(sock, exchange)
            _connect(sock, exchange)
            name = sock.getsockname()
        except OSError as error:
            sock.close()
            self._results[index] = _broken(error, began)
            return
        key = (exchange.protocol, name[0], name[1])
        flight = _Flight(index, sock, began, key, udp)
        self._flights[sock.fileno()] = self._by_key[key] = flight
        self._order.append(flight)
        self._epoll.register(sock.fileno(), _READ if udp else _WRITE)

    def _bind(self, sock: socket.socket, exchange: Exchange) -> None:
        anywhere = "::" if ":" in exchange.address else "0.0.0.0"
        for _ in range(LAST_PORT - FIRST_PORT):
            try:
                sock.bind((anywhere, self.ports.take(exchange.source)))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return
        raise OSError(errno.EADDRINUSE, "every source port is in use")

    def _patience(self) -> float:
        if not self._order:
            return 0.0
        return max(0.0, self._order[0].began + self.deadline - time.monotonic())

    def _poll(self, timeout: float) -> None:
        for number, _ in self._epoll.poll(timeout, _IN_FLIGHT):
            if number == self._wake:
                os.eventfd_read(self._wake)
                continue
            flight = self._flights[number]
            try:
                self._finish(flight, "open", data=_answer(flight))
            except OSError as error:
                result = _broken(error, flight.began)
                self._finish(flight, result.outcome, detail=result.detail)

    def _take_denials(self) -> None:
        while self._denials:
            denial = self._denials.popleft()
            flight = self._by_key.get((denial.protocol, denial.source, denial.source_port))
            if flight is not None:
                self._finish(flight, "silent", detail="dropped by a policy", denial=denial)

    def _expire(self) -> None:
        now = time.monotonic()
        while self._order and (
            self._results[self._order[0].index] or self._order[0].began + self.deadline <= now
        ):
            flight = self._order.popleft()
            if self._results[flight.index] is None:
                self._finish(flight, "silent", detail=f"no answer within {self.deadline:g} s")

    def _finish(
        self,
        flight: _Flight,
        outcome: str,
        *,
        detail: str = "",
        data: bytes = b"",
        denial: Denial | None = None,
    ) -> None:
        del self._flights[flight.sock.fileno()], self._by_key[flight.key]
        flight.sock.close()  # which takes it out of the epoll set
        seconds = time.monotonic() - flight.began
        self._results[flight.index] = Result(
            outcome=outcome, detail=detail, seconds=seconds, data=data, denial=denial
        )


def _limit() -> int:
    """Return how many sockets may be open at once: a quarter of what the process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(_IN_FLIGHT, soft // 4))


def _socket(exchange: Exchange) -> socket.socket:
    family = socket.AF_INET6 if ":" in exchange.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if exchange.protocol == "UDP" else socket.SOCK_STREAM
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if kind == socket.SOCK_STREAM:
        # Close with RST: no connection lingers at either end (tcp(7), SO_LINGER).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return sock


def _connect(sock: socket.socket, exchange: Exchange) -> None:
    number = sock.connect_ex((exchange.address, exchange.port))
    if number not in (0, errno.EINPROGRESS):
        raise OSError(number, os.strerror(number))
    if exchange.protocol == "UDP":
        sock.send(exchange.payload or _payload(exchange.port))


def _payload(port: int) -> bytes:
    return _ROOT_QUERY if port == 53 else _PAYLOAD


def _answer(flight: _Flight) -> bytes:
    """Return what a ready socket has to say; raises the error that the kernel keeps for it."""
    if flight.udp:
        return flight.sock.recv(4096)
    number = flight.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))
    return b""


def _broken(error: OSError, began: float) -> Result:
    seconds = time.monotonic() - began
    words = _UNREACHABLE.get(error.errno or 0)
    if words:
        return Result(outcome="refused", detail=words, seconds=seconds)
    if error.errno == errno.ETIMEDOUT:
        return Result(outcome="silent", detail="the kernel gave up", seconds=seconds)
    return Result(outcome="failed", detail=str(error), seconds=seconds)
