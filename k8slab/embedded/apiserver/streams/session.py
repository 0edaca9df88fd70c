"""A SPDY connection on top of anything that carries bytes.

One task reads frames and hands each stream its data; a stream that nobody reads from
stops the whole connection, which is how TCP then slows the peer down. The carrier is
the raw connection after ``Upgrade: SPDY/3.1``, or a WebSocket (tunnelled port-forward).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from k8slab.embedded.apiserver.streams import spdy

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.streams.websocket import WebSocket

_CHUNK = 1 << 16
_QUEUED = 16
"""Pieces of data that wait for the reader of one stream before the connection stops."""


class Carrier(Protocol):
    """Ordered bytes in both directions."""

    async def receive(self) -> bytes:
        """Return some bytes; none at the end."""

    async def send(self, data: bytes) -> None:
        """Send bytes; raise `ConnectionError` when the peer has gone."""

    async def close(self) -> None:
        """Close in both directions."""


class RawCarrier:
    """The connection itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bytes:
        """Return some bytes; none at the end or when the peer vanished."""
        try:
            return await self._reader.read(_CHUNK)
        except ConnectionError:
            return b""

    async def send(self, data: bytes) -> None:
        """Send bytes and wait while the peer is slower than we are."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Close the connection after what was sent."""
        self._writer.close()


class TunnelCarrier:
    """A WebSocket whose binary messages, one after the other, are the bytes (KEP-4006)."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> bytes:
        """Return the next message that has any bytes; none at the end."""
        while (message := await self._socket.receive()) is not None:
            if message:
                return message
        return b""

    async def send(self, data: bytes) -> None:
        """Send bytes as one message."""
        await self._socket.send(data)

    async def close(self) -> None:
        """Close the WebSocket."""
        await self._socket.close()


class SpdyStream:
    """One stream that the client opened; `headers` are those it was opened with."""

    def __init__(self, session: SpdySession, number: int, headers: dict[str, str]) -> None:
        self.number = number
        self.headers = headers
        self._session = session
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUED)

    async def receive(self) -> bytes:
        """Return the next piece of data; none when the client half-closed or gave up."""
        piece = await self._queue.get()
        if piece is None:
            self._queue.put_nowait(None)  # the end stays the end for whoever asks again
            return b""
        return piece

    async def send(self, data: bytes, *, fin: bool = False) -> None:
        """Send data; `fin` half-closes the stream."""
        await self._session.send(self.number, data, fin=fin)

    async def reset(self) -> None:
        """Give the stream up."""
        await self._session.reset(self.number)

    async def deliver(self, piece: bytes | None) -> None:
        """Hand the stream what came in for it; ``None`` is the end."""
        await self._queue.put(piece)

    def end(self) -> None:
        """End the stream at once, even if nobody has read what is queued."""
        while self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None)


class SpdySession:
    """All streams of one connection."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._spdy = spdy.SpdyConnection()
        self._streams: dict[int, SpdyStream] = {}
        self._opened: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        self._lock = asyncio.Lock()

    async def accept(self) -> SpdyStream | None:
        """Return the next stream that the client opens, ``None`` when the connection ended."""
        stream = await self._opened.get()
        if stream is None:
            self._opened.put_nowait(None)
        return stream

    async def serve(self) -> None:
        """Read until the peer closes or breaks the protocol; then every stream is ended."""
        try:
            while data := await self._carrier.receive():
                for event in self._spdy.receive(data):
                    await self._handle(event)
                await self._flush()
        except (ConnectionError, spdy.SpdyError):
            pass  # the same end as a peer that closes: there is nobody left to tell
        finally:
            for stream in self._streams.values():
                stream.end()
            self._opened.put_nowait(None)

    async def _handle(self, event: spdy.Event) -> None:
        match event:
            case spdy.StreamOpened(number, headers, fin):
                stream = self._streams[number] = SpdyStream(self, number, headers)
                self._spdy.reply(number)
                await self._flush()
                self._opened.put_nowait(stream)
                if fin:
                    stream.end()
            case spdy.DataReceived(number, data, fin):
                if target := self._streams.get(number):
                    if data:
                        await target.deliver(data)
                    if fin:
                        await target.deliver(None)
            case spdy.StreamReset(number, _):
                if target := self._streams.pop(number, None):
                    target.end()

    def forget(self, stream: SpdyStream) -> None:
        """Drop a stream that is finished on our side; what still comes for it is ignored."""
        self._streams.pop(stream.number, None)
        stream.end()

    async def send(self, stream: int, data: bytes, *, fin: bool) -> None:
        """Send data on a stream."""
        self._spdy.send(stream, data, fin=fin)
        await self._flush()

    async def reset(self, stream: int) -> None:
        """Give a stream up."""
        self._spdy.reset(stream)
        self._streams.pop(stream, None)
        await self._flush()

    async def _flush(self) -> None:
        async with self._lock:
            if data := self._spdy.take():
                await self._carrier.send(data)

    async def close(self) -> None:
        """Say goodbye and close the connection."""
        self._spdy.go_away()
        with suppress(ConnectionError):
            await self._flush()
        await self._carrier.close()
