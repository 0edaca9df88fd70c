"""TLS as one thin layer between a socket's transport and the protocol that speaks HTTP.

asyncio's own layer (`asyncio.sslproto`) costs 300 KB for each connection, which a thousand
watchers feel, and a fifth of the time of a short request, for states and queues that HTTP does
not need. This one costs 40 KB, most of them OpenSSL's, and hands each record on in the turn of
the event loop in which it came: bytes of the socket go into one memory BIO, what is decrypted
goes to the protocol at once, and what the protocol writes is encrypted and sent at once. What the
socket does not take waits encrypted in the transport below, whose flow control (`pause_writing`)
is passed on as it is.

All connections of a server read into the same buffer: it is empty again before the event loop
looks at the next one. A connection that is closed says so (close_notify, then the end of the
stream), and goes on to read and drop for a while: closed with bytes unread, the kernel would send
a reset, which can overtake the answer (RFC 9112, section 9.6).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)

BUFFER_BYTES = 256 * 1024
RECORD_BYTES = 16 * 1024
"""The largest record of TLS (RFC 8446, section 5.1): one read gives one record."""

SLICE_BYTES = 64 * 1024
"""How much is encrypted at once: a BIO keeps the size that it once had, for each connection."""

HANDSHAKE_SECONDS = 10.0
LINGER_SECONDS = 5.0
"""How long a closed connection waits for its peer, and for a peer that takes nothing more."""


class Tls:
    """What the connections of one server share: settings, a buffer, and how many may be."""

    def __init__(self, context: ssl.SSLContext, *, most: int) -> None:
        # A renegotiation (TLS 1.2) would let a write wait for a read.
        context.options |= ssl.OP_NO_RENEGOTIATION
        self._context = context
        self.most = most
        self.open = 0
        self.buffer = memoryview(bytearray(BUFFER_BYTES))

    def connection(self, protocol: asyncio.Protocol) -> TlsTransport:
        """Return the server's side of a new connection, which speaks `protocol` inside."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(incoming, outgoing, server_side=True)
        return TlsTransport(protocol, tls, (incoming, outgoing), self)


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """A protocol to the transport of the socket, a transport to the protocol inside."""

    def __init__(
        self,
        protocol: asyncio.BaseProtocol,
        tls: ssl.SSLObject,
        bios: tuple[ssl.MemoryBIO, ssl.MemoryBIO],
        shared: Tls,
    ) -> None:
        super().__init__()
        self._protocol = protocol
        self._tls = tls
        self._incoming, self._outgoing = bios
        self._shared = shared
        self._buffer = shared.buffer
        self._connected = self._closing = False
        self._timer: asyncio.TimerHandle | None = None

    # --- towards the socket's transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the handshake, unless there are too many already (called by asyncio)."""
        assert isinstance(transport, asyncio.Transport)
        self._raw = transport
        self._loop = asyncio.get_running_loop()
        self._shared.open += 1
        if self._shared.open > self._shared.most:
            self.abort()
        else:
            self._timer = self._loop.call_later(HANDSHAKE_SECONDS, self.abort)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to (called by asyncio)."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Decrypt and hand on what came (called by asyncio)."""
        if self._closing:
            return
        self._incoming.write(self._buffer[:nbytes])
        try:
            if self._connected or self._shake_hands():
                self._read()
        except ssl.SSLWantReadError:
            self._send()  # a part of a record, or of the handshake
        except ssl.SSLError as error:
            log.debug("TLS: %s", error)
            self._send()  # the alert that says why
            self.abort()

    def _shake_hands(self) -> bool:
        self._tls.do_handshake()
        self._send()
        self._connected = True
        if self._timer:
            self._timer.cancel()
        self._protocol.connection_made(self)
        return True

    def _read(self) -> None:
        while not self._closing and (self._incoming.pending or self._tls.pending()):
            data = self._tls.read(RECORD_BYTES)
            if not data:
                self.eof_received()
                break
            # Looked up each time: `take_over` changes the protocol.
            self._protocol.data_received(data)  # type: ignore[attr-defined]
        if self._outgoing.pending and not self._closing:
            self._send()  # the answer to a change of keys

    def _send(self) -> None:
        self._raw.write(self._outgoing.read())

    def eof_received(self) -> None:
        """Close too: TLS has no half-closed connections here (called by asyncio)."""
        if self._connected and not self._closing:
            self._protocol.eof_received()  # type: ignore[attr-defined]
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol (called by asyncio)."""
        self._shared.open -= 1
        self._closing = True
        if self._timer:
            self._timer.cancel()
        if self._connected:
            self._connected = False
            self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the socket takes no more (called by asyncio)."""
        if self._connected:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the socket takes more again (called by asyncio)."""
        if self._connected:
            self._protocol.resume_writing()

    # --- towards the protocol inside

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; nothing is sent after `close`."""
        if data and not self._closing:
            view = memoryview(data)
            for start in range(0, len(view), SLICE_BYTES):
                self._tls.write(view[start : start + SLICE_BYTES])
                self._raw.write(self._outgoing.read())

    def close(self) -> None:
        """Say that this is the end, and linger until the peer has said so too."""
        if self._closing:
            return
        self._closing = True
        if not self._connected:
            self._raw.close()
            return
        with suppress(ssl.SSLError):  # the peer's own end has not come: nobody waits for it
            self._tls.unwrap()
        if self._raw.is_closing():
            return
        self._send()
        try:
            self._raw.write_eof()
        except OSError:  # the peer has reset the connection: it waits for nothing
            self.abort()
            return
        self._raw.resume_reading()
        self._linger(self._raw.get_write_buffer_size())

    def _linger(self, unsent: int) -> None:
        """Wait; and again as long as the peer takes what was sent before the end."""

        def look() -> None:
            left = self._raw.get_write_buffer_size()
            if left < unsent:
                self._linger(left)
            else:
                self.abort()

        self._timer = self._loop.call_later(LINGER_SECONDS, look)

    def abort(self) -> None:
        """Break the connection off."""
        self._closing = True
        self._raw.abort()

    def is_closing(self) -> bool:
        """Say whether the connection is closed or being closed."""
        return self._closing or self._raw.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return ``peercert``, ``ssl_object`` and ``sslcontext``, and what the socket knows."""
        if name == "peercert":
            return self._tls.getpeercert()
        if name == "ssl_object":
            return self._tls
        if name == "sslcontext":
            return self._tls.context
        return self._raw.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol inside."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol go on."""
        self._protocol = protocol

    def pause_reading(self) -> None:
        """Let what the peer sends wait in the kernel."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._raw.resume_reading()

    def is_reading(self) -> bool:
        """Say whether the socket is being read."""
        return self._raw.is_reading()

    def can_write_eof(self) -> bool:
        """Say that the end of writing is the end of the connection."""
        return False

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the socket has not taken yet."""
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return at how many bytes flow control begins and ends."""
        return self._raw.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set at how many bytes flow control begins and ends."""
        self._raw.set_write_buffer_limits(high, low)
