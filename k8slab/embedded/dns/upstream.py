"""One upstream resolver: a connected UDP socket that many questions share, or TCP.

Each question on the socket has a random id of its own, so that answers find their way back
in any order; an answer must repeat the question, or it is dropped (RFC 5452, 9).
"""

from __future__ import annotations

import asyncio
import random
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from k8slab.embedded import wire
from k8slab.embedded.apps.sockets import Address, written

if TYPE_CHECKING:
    from k8slab.embedded.wire import Message


class UpstreamError(Exception):
    """An upstream did not answer; the words are those of Go's net package."""


class Upstream:
    """Asks one resolver."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._waiting: dict[int, tuple[Message, asyncio.Future[Message]]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    async def ask(self, message: Message, deadline: float, *, tcp: bool = False) -> Message:
        """Return the upstream's response; raises `UpstreamError`, at last after `deadline` s."""
        protocol = "tcp" if tcp else "udp"
        try:
            async with asyncio.timeout(deadline):
                return await (self._ask_tcp(message) if tcp else self._ask_udp(message))
        except TimeoutError:
            place = f"{protocol} {self._local()}->{written(self.address)}"
            raise UpstreamError(f"read {place}: i/o timeout") from None
        except (OSError, asyncio.IncompleteReadError, wire.WireError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise UpstreamError(f"{protocol} {written(self.address)}: {reason}") from error

    def close(self) -> None:
        """Close the socket; questions that wait fail."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._fail(ConnectionAbortedError("closed"))

    async def _ask_udp(self, message: Message) -> Message:
        await self._open()
        number = random.getrandbits(16)
        while number in self._waiting:
            number = random.getrandbits(16)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (message, answer)
        try:
            if self._transport is None:
                raise ConnectionAbortedError("closed")
            self._transport.sendto(_query(message, number))
            return replace(await answer, id=message.id)
        finally:
            self._waiting.pop(number, None)

    async def _ask_tcp(self, message: Message) -> Message:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            number = random.getrandbits(16)
            data = _query(message, number)
            writer.write(struct.pack("!H", len(data)) + data)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            answer = wire.read(await reader.readexactly(length))
            if answer.id != number or not _answers(message, answer):
                raise wire.WireError("the answer is for another question")
            return replace(answer, id=message.id)
        finally:
            writer.close()

    async def _open(self) -> None:
        """Make the socket once; whoever comes meanwhile waits for the same one."""
        if self._transport is not None:
            return
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self), remote_addr=self.address
        )
        if self._transport is not None:  # another question was faster
            transport.abort()
            return
        self._transport = transport

    def _local(self) -> str:
        if self._transport is None:
            return ""
        return written(self._transport.get_extra_info("sockname")[:2])

    def received(self, data: bytes) -> None:
        """Give an answer to the question that waits for it."""
        try:
            answer = wire.read(data)
        except wire.WireError:  # not an answer of ours to fail: the true one may still come
            return
        asked = self._waiting.get(answer.id)
        if asked and _answers(asked[0], answer) and not asked[1].done():
            asked[1].set_result(answer)

    def failed(self, error: Exception) -> None:
        """Tell all questions that the socket reported an error (nobody listens there)."""
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)


class _Socket(asyncio.DatagramProtocol):
    """Passes what the socket gets to its `Upstream`."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    def datagram_received(self, data: bytes, addr: tuple) -> None:
        del addr
        self.upstream.received(data)

    def error_received(self, exc: Exception) -> None:
        self.upstream.failed(exc)


def _query(message: Message, number: int) -> bytes:
    return wire.write(replace(message, id=number, answers=(), authority=(), additional=()))


def _answers(asked: Message, answer: Message) -> bool:
    return bool(answer.flags & wire.QR) and (
        (answer.name, answer.type, answer.klass) == (asked.name, asked.type, asked.klass)
    )
