"""One port of the DNS server, UDP and TCP; where the hot path is.

A UDP question that was answered a moment ago is answered with the same bytes, found by the
question's own bytes: no parsing, no plugins. The bytes are forgotten when the objects behind the
names change, when a second has passed (so that TTLs run down), and when the Corefile changes.
Answers whose order is left to chance, or that have to be logged one by one, are not kept.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from k8slab.embedded import wire
from k8slab.embedded.apps.sockets import listen, plain
from k8slab.embedded.dns.chain import Plan, Query, Result, Site, refuse
from k8slab.embedded.dns.observing import count_query, shuffles
from k8slab.embedded.dns.zone import in_zone
from k8slab.embedded.wire import BADVERS, FORMERR, NOTIMP, PLAIN_UDP, QR, Message

if TYPE_CHECKING:
    from collections.abc import Coroutine

MAX_KEPT = 20_000
"""Answers kept as bytes; they are forgotten each second anyway."""
MAX_WAITING = 5_000
"""Questions that wait for an upstream at once."""
BATCH = 128
"""Datagrams read before the event loop gets its turn."""
TCP_IDLE_SECONDS, TCP_WRITE_SECONDS = 10.0, 5.0
"""CoreDNS' time-outs for TCP: of a client that asks nothing, and of one that reads no answer."""
MAX_CLIENTS = 500
"""TCP connections at once; one more is closed, and its client asks again."""
_ONE_QUESTION = (1, 1, 1, 2)
"""Of each section the most records that a query or NOTIFY may have (of questions exactly one): a
NOTIFY has one in the answers (RFC 1996, 3.7), an IXFR one in the authority (RFC 1995, 3), EDNS and
TSIG are additional. As in Go's package dns."""


class _Kept:
    """An answer as bytes without the id, and how often it was repeated."""

    __slots__ = ("body", "hits", "labels", "query", "reply")

    def __init__(self, body: bytes, query: Query, reply: Message, site: Site) -> None:
        self.body = body
        self.query = query
        self.reply = reply
        zone = max((z for z in site.block.zones if in_zone(query.message.name, z)), key=len)
        self.labels = (("server", site.label), ("view", ""), ("zone", zone))
        self.hits = 0


class DnsPort:
    """Answers on one port for the server blocks that share it."""

    def __init__(self, port: int, host: str = "") -> None:
        self.port = port
        self._socket = listen(port, kind=socket.SOCK_DGRAM, host=host)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._listener = listen(port, kind=socket.SOCK_STREAM, host=host)
        self._sites: list[Site] = []
        self._plan: Plan | None = None
        self._kept: dict[bytes, _Kept] = {}
        self._version = -1
        self._spent = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients = 0
        self._forwards = False
        self._server: asyncio.Server | None = None

    @property
    def zones(self) -> list[str]:
        """Return the zones of all blocks on this port."""
        return [zone for site in self._sites for zone in site.block.zones]

    def serve(self, sites: list[Site], plan: Plan) -> None:
        """Answer with these chains from now on."""
        self.flush()
        self._sites, self._plan = sites, plan
        directives = (each for site in sites for each in site.block.directives)
        self._forwards = any(directive.name == "forward" for directive in directives)

    async def start(self) -> None:
        """Begin to answer."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket.fileno(), self._drain)
        self._server = await asyncio.start_server(self._client, sock=self._listener)

    def close(self) -> None:
        """Close both sockets and drop the questions that wait."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    def dispatch(self, query: Query) -> Result:
        """Answer through the block whose zone fits best.

        Classes other than IN are refused, but where a server forwards, as CoreDNS does
        (``EnableChaos``): ``CH TXT version.bind`` is then the upstream's to answer.
        """
        if query.message.klass != wire.IN and not self._forwards:
            return refuse(query)
        site = self._site(query.message.name)
        return site.handler(query) if site else refuse(query)

    def flush(self) -> None:
        """Forget the kept bytes; what they answered is counted first."""
        plan = self._plan
        if plan is not None and plan.prometheus:
            hits = 0
            for kept in self._kept.values():
                if kept.hits:
                    count_query(plan, kept.labels, kept.query, kept.reply, kept.hits)
                    hits += kept.hits
            if hits:
                labels = next(iter(self._kept.values())).labels
                plan.metrics.observe(
                    "coredns_dns_request_duration_seconds", labels, self._spent / hits, hits
                )
        self._spent = 0.0
        self._kept.clear()

    def _site(self, name: str) -> Site | None:
        best, length = None, -1
        for site in self._sites:
            for zone in site.block.zones:
                if len(zone) > length and in_zone(name, zone):
                    best, length = site, len(zone)
        return best

    def _drain(self) -> None:
        """Answer what has arrived."""
        plan = self._plan
        if plan is None:
            return
        if self._version != plan.catalogue.version:
            self.flush()
            self._version = plan.catalogue.version
        receive, send, kept_answers = self._socket.recvfrom, self._socket.sendto, self._kept
        hits = 0
        began = time.perf_counter()
        for _ in range(BATCH):
            try:
                data, peer = receive(4096)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error of an earlier answer is reported here once
                continue
            kept = kept_answers.get(data[2:])
            if kept is None:
                self._answer(data, peer)
                continue
            kept.hits += 1
            hits += 1
            try:
                send(data[:2] + kept.body, peer)
            except OSError:  # the client is not reachable any more: a datagram may be lost
                continue
        if hits:
            self._spent += time.perf_counter() - began

    def _answer(self, data: bytes, peer: tuple) -> None:
        query = _read(data, peer, "udp")
        if query is None:
            return
        if isinstance(query, bytes):
            self._send(query, peer)
            return
        result = self.dispatch(query)
        if not isinstance(result, Message):
            self._later(self._answer_later(query, result, peer))
            return
        body = wire.write(result, _limit(query))
        self._send(body, peer)
        self._keep(data, body, query, result)

    def _keep(self, data: bytes, body: bytes, query: Query, reply: Message) -> None:
        site = self._site(query.message.name)
        edns = query.message.edns
        if (
            site is None
            or not site.storable
            or (site.balanced and shuffles(reply))
            or (edns and edns.options)  # a cookie: the same bytes will not come again
            or reply.rcode not in (wire.NOERROR, wire.NXDOMAIN)
        ):
            return
        if not self._kept:
            asyncio.get_running_loop().call_later(1.0, self.flush)
        if len(self._kept) < MAX_KEPT:
            self._kept[data[2:]] = _Kept(body[2:], query, reply, site)

    def _send(self, data: bytes, peer: tuple) -> None:
        try:
            self._socket.sendto(data, peer)
        except OSError:  # as in _drain
            return

    def _later(self, waiting: Coroutine[None, None, None]) -> None:
        if len(self._tasks) >= MAX_WAITING:
            waiting.close()  # the client will ask again
            return
        task = asyncio.create_task(waiting)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_later(self, query: Query, result: Result, peer: tuple) -> None:
        reply = result if isinstance(result, Message) else await result
        self._send(wire.write(reply, _limit(query)), peer)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._clients >= MAX_CLIENTS:
            writer.transport.abort()
            return
        self._clients += 1
        try:
            await self._converse(reader, writer)
        finally:
            self._clients -= 1

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one TCP connection, and see that the answers reach a client that reads them."""
        try:
            with suppress(asyncio.IncompleteReadError):  # it asks no more, and may read on
                await self._answer_all(reader, writer)
            writer.close()
            async with asyncio.timeout(TCP_WRITE_SECONDS):
                await writer.wait_closed()
        except (TimeoutError, OSError):
            writer.transport.abort()  # the client has gone, is silent, or does not read
        finally:
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the questions of a connection, one after the other (RFC 7766)."""
        peer = writer.get_extra_info("peername")
        while True:
            async with asyncio.timeout(TCP_IDLE_SECONDS):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                data = await reader.readexactly(length)
            answer = await self._answer_stream(data, peer)
            if answer is None:
                return
            writer.write(struct.pack("!H", len(answer)) + answer)
            async with asyncio.timeout(TCP_WRITE_SECONDS):
                await writer.drain()

    async def _answer_stream(self, data: bytes, peer: tuple) -> bytes | None:
        query = _read(data, peer, "tcp")
        if query is None or isinstance(query, bytes):
            return query
        result = self.dispatch(query)
        return wire.write(result if isinstance(result, Message) else await result)


def _limit(query: Query) -> int:
    """Return how many bytes the client takes over UDP (RFC 6891, 6.2.3)."""
    edns = query.message.edns
    return max(PLAIN_UDP, edns.size) if edns else PLAIN_UDP


def _read(data: bytes, peer: tuple, protocol: str) -> Query | bytes | None:
    """Return the query, or the bytes of an error response, or ``None`` for what gets no answer."""
    if len(data) < 12 or data[2] & 0x80:
        return None
    flags, *counts = struct.unpack_from("!5H", data, 2)
    # A NOTIFY is answered as a question: CoreDNS hands it to the plugins, and none of those here
    # looks at the opcode. The sections of an UPDATE mean something else.
    if flags & wire.OPCODE not in (0, wire.NOTIFY):
        return _bare(data, flags & wire.OPCODE | NOTIMP)
    if counts[0] != 1 or any(n > most for n, most in zip(counts, _ONE_QUESTION, strict=True)):
        return _bare(data, FORMERR)
    try:
        message = wire.read(data)
    except wire.WireError:
        return _bare(data, FORMERR)
    if message.edns and message.edns.version:
        return wire.write(message.reply(rcode=BADVERS))
    return Query(message, plain(peer), protocol, len(data))


def _bare(query: bytes, rcode: int) -> bytes:
    """Return a response that is a header only, to what is not looked at any further."""
    return query[:2] + struct.pack("!5H", QR | rcode, 0, 0, 0, 0)
