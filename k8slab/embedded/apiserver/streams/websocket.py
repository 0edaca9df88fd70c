"""A WebSocket on a connection that HTTP handed over (RFC 6455), server side.

The framing is the sans-IO core of the `websockets` package; reading, writing and
slowing down are asyncio's streams. No extension is offered: the data of a shell or a
tunnel gains nothing from compression on a loopback address.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.utils import accept_key

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_MESSAGE = 16 << 20
"""Bytes in one message from a client; the Python client sends a whole string in one."""
_CHUNK = 1 << 16
_CLOSE_SECONDS = 2.0
"""How long a client has to answer a close frame before the connection goes."""


def handshake(key: str, subprotocol: str) -> bytes:
    """Return the answer that turns the connection into a WebSocket (RFC 6455, 4.2.2)."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n"
        f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    ).encode()


def choose_subprotocol(offered: str, supported: Sequence[str]) -> str | None:
    """Return the first supported name that the client offers (``Sec-WebSocket-Protocol``)."""
    names = {name.strip() for name in offered.split(",")}
    return next((name for name in supported if name in names), None)


class WebSocket:
    """Messages in both directions. One task may receive while others send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=MAX_MESSAGE)
        self._messages: deque[bytes] = deque()
        self._fragments: list[bytes] = []
        self._answered = False

    async def wait_for_reader(self, seconds: float) -> None:
        """Return once the client has answered a ping, has gone, or has had this long to do so."""
        self._protocol.send_ping(b"")
        await self._flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._answered and await self._read():
                    pass

    async def receive(self) -> bytes | None:
        """Return the next message, ``None`` when the client closed or vanished."""
        while not self._messages:
            if not await self._read():
                return None
        return self._messages.popleft()

    async def _read(self) -> bool:
        """Take what comes next; return whether there was anything to be read."""
        if self._protocol.close_rcvd or self._protocol.state is State.CLOSED:
            return False
        try:
            data = await self._reader.read(_CHUNK)
        except ConnectionError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        await self._flush()
        return True

    def _take(self, frame: Frame) -> None:
        self._answered |= frame.opcode is Opcode.PONG
        if frame.opcode not in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            return
        self._fragments.append(bytes(frame.data))
        if frame.fin:
            self._messages.append(b"".join(self._fragments))
            self._fragments.clear()

    async def send(self, *parts: bytes) -> None:
        """Send one binary message; wait while the client is slower than we are.

        Raises `ConnectionError` when the client has gone.
        """
        try:
            self._protocol.send_binary(b"".join(parts))
        except InvalidState as error:
            raise ConnectionResetError("the client closed the WebSocket") from error
        await self._flush()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
        await self._writer.drain()

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """Say goodbye and close the connection, at the latest after two seconds."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                if self._protocol.state is State.OPEN:
                    self._protocol.send_close(code)
                    await self._flush()
                while await self.receive() is not None:
                    pass
        self._writer.close()
