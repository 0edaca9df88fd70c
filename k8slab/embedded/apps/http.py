"""An HTTP/1.1 server on the apps' `Loop`: keep-alive, TLS, many and slow clients.

Each connection is a small state machine: (TLS handshake) -> head -> body -> answer, then
again. Nothing blocks: a slow client costs its buffer and no more, and one that neither
sends nor reads for `IDLE_SECONDS` is closed.

When it is told to end it still answers who is there, as nginx does in its image (STOPSIGNAL
SIGQUIT): a pod is out of its Services before it gets SIGTERM, but a connection may have come
just before that.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator

from k8slab.embedded.apps.loop import READ, WRITE, Loop
from k8slab.embedded.apps.messages import (
    MAX_BODY,
    MAX_HEAD,
    BadRequestError,
    Head,
    Request,
    Response,
    parse_head,
    take_body,
    text,
)
from k8slab.embedded.apps.sockets import plain

IDLE_SECONDS = 75.0
"""How long a silent connection is kept; nginx's keepalive_timeout."""
ACCEPT_PAUSE = 0.05
"""Seconds without accepting when descriptors ran out."""
FAREWELL_SECONDS = 1.0
"""How long clients are still served after the end was asked for."""
LINGER_SECONDS = 2.0
"""How long a refused client may go on sending; nginx's lingering_close waits 5 s."""
MAX_BUFFERED = MAX_BODY + 2 * MAX_HEAD
"""Bytes read ahead of the request that is being answered."""

Handler = Callable[[Request], Response]
Log = Callable[[Request, Response], None]


class HttpServer:
    """Answer requests on any number of listening sockets with one handler."""

    def __init__(self, loop: Loop, handler: Handler, log: Log) -> None:
        self.loop = loop
        self.handler = handler
        self.log = log
        self.connections: set[_Connection] = set()
        self.leaving = False
        self._listeners: dict[socket.socket, ssl.SSLContext | None] = {}
        self._sweeping = False

    def serve(self, listener: socket.socket, context: ssl.SSLContext | None = None) -> None:
        """Accept on `listener` from now on; with a `context`, over TLS."""

        def ready(_events: int) -> None:
            self._accept(listener, context)

        self._listeners[listener] = context
        self.loop.watch(listener, READ, ready)

    def finish(self) -> int:
        """Accept nobody new, answer those who are there for a short time; return 0."""
        for listener, context in self._listeners.items():
            while self._accept(listener, context):
                pass
            self.loop.unwatch(listener)
            listener.close()
        self.leaving = True
        self.loop.call_later(FAREWELL_SECONDS, self.loop.stop)
        for connection in list(self.connections):
            connection.finish()
        return self.loop.run() if self.connections else 0

    def forget(self, connection: _Connection) -> None:
        """Take note that a connection is closed."""
        self.connections.remove(connection)
        if self.leaving and not self.connections:
            self.loop.stop()

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> bool:
        """Accept who waits; return whether there may be more."""
        # A burst is taken in portions, so that open connections are served in between.
        for _ in range(64):
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return False
            except OSError:  # no descriptors left: the kernel's queue keeps the clients
                self.loop.unwatch(listener)
                self.loop.call_later(ACCEPT_PAUSE, lambda: self.serve(listener, context))
                return False
            try:
                self._take(sock, peer, context)
            except OSError:  # the client has reset it meanwhile, as a probe does
                sock.close()
        return True

    def _take(self, sock: socket.socket, peer: tuple, context: ssl.SSLContext | None) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number))
        _Connection(self, sock, peer, context)
        self._sweep_later()

    def _sweep_later(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self.loop.call_later(IDLE_SECONDS / 5, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = False
        oldest = time.monotonic() - IDLE_SECONDS
        for connection in list(self.connections):
            if connection.last_active < oldest and not connection.waiting:
                connection.close()
        if self.connections:
            self._sweep_later()


class _Connection:
    """One client; see the module for its states."""

    def __init__(
        self,
        server: HttpServer,
        sock: socket.socket,
        peer: tuple,
        context: ssl.SSLContext | None,
    ) -> None:
        self.server = server
        self.client = plain(peer)
        self.address = plain(sock.getsockname())
        self.scheme = "https" if context else "http"
        self.sock = (
            context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            if context
            else sock
        )
        self.last_active = time.monotonic()
        self.waiting = False
        self._shaking = context is not None
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._stream: Iterator[bytes] | None = None
        self._head: Head | None = None
        self._closing = False
        self._refused = False
        self._served = False
        self._exit_code: int | None = None
        server.connections.add(self)
        server.loop.watch(self.sock, READ, self._ready)

    def close(self) -> None:
        """Forget the client."""
        if self in self.server.connections:
            self.server.loop.unwatch(self.sock)
            self.sock.close()
            self.server.forget(self)

    def finish(self) -> None:
        """Close when the answer that is under way, or to what has been sent, is given."""
        if self.waiting or self._outgoing or self._stream is not None:
            self._closing = True
            return
        self._ready(READ)  # a further request may have come
        if self._served and not (self.waiting or self._outgoing or self._incoming):
            self.close()

    def _ready(self, _events: int) -> None:
        self.last_active = time.monotonic()
        try:
            if self._shaking:
                self.sock.do_handshake()  # type: ignore[attr-defined]
                self._shaking = False
            if self._outgoing or self._stream is not None:
                self._write()
            elif self._read():
                self._answer_next()
        except (ssl.SSLWantReadError, BlockingIOError):
            self._watch(READ)
        except ssl.SSLWantWriteError:
            self._watch(WRITE)
        except OSError:  # reset, or a TLS alert: the client has gone (ssl.SSLError is an OSError)
            self.close()

    def _watch(self, events: int) -> None:
        self.server.loop.watch(self.sock, events, self._ready)

    def _read(self) -> bool:
        """Take what has arrived; return False when there is nothing to act upon."""
        data = self.sock.recv(65536)
        if not data:
            self.close()
            return False
        self._incoming += data
        while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            self._incoming += self.sock.recv(65536)
        if self.waiting and len(self._incoming) > MAX_BUFFERED:
            self.close()
            return False
        if self._closing:
            self._incoming.clear()
        return not self.waiting

    def _answer_next(self) -> None:
        """Answer one request if it is complete; `_finish` comes back for the next."""
        if self.waiting or self._closing:
            return
        try:
            request = self._take_request()
        except BadRequestError as error:
            self._refuse(error)
            return
        if request is not None:
            self._answer(request, self.server.handler(request))

    def _take_request(self) -> Request | None:
        if self._head is None:
            end = self._incoming.find(b"\r\n\r\n")
            if end < 0 and len(self._incoming) <= MAX_HEAD:
                return None
            if end < 0 or end > MAX_HEAD:
                raise BadRequestError(431, f"request line and headers may have {MAX_HEAD} bytes")
            self._head = parse_head(bytes(self._incoming[:end]))
            del self._incoming[: end + 4]
            if self._head.expects_continue and not self._incoming:
                self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = self._head
        body = take_body(self._incoming, head.length)
        if body is None:
            if len(self._incoming) > MAX_BUFFERED:
                raise BadRequestError(413, f"a body may have {MAX_BODY} bytes")
            return None
        self._head = None
        return Request(
            method=head.method,
            target=head.target,
            version=head.version,
            headers=head.headers,
            body=body,
            client=self.client,
            server=self.address,
            scheme=self.scheme,
        )

    def _refuse(self, error: BadRequestError) -> None:
        request = Request(
            method="-", target="-", version="-", headers=(), client=self.client, server=self.address
        )
        self._closing = self._refused = True
        self._send(request, text(str(error), error.status))

    def _answer(self, request: Request, response: Response) -> None:
        last = self.server.leaving or response.exit_code is not None
        self._closing = last or not request.keeps_alive
        if response.delay <= 0:
            self._send(request, response)
            return
        self.waiting = True
        self.server.loop.call_later(response.delay, lambda: self._resume(request, response))

    def _resume(self, request: Request, response: Response) -> None:
        if self not in self.server.connections:
            return
        self.waiting = False
        try:
            self._send(request, response)
        except OSError:
            self.close()

    def _send(self, request: Request, response: Response) -> None:
        self.server.log(request, response)
        self._served = True
        self._exit_code = response.exit_code
        self._outgoing += response.head(keep_alive=not self._closing)
        if request.method != "HEAD":
            self._outgoing += response.body
            self._stream = response.stream
        try:
            self._write()
        except (ssl.SSLWantWriteError, BlockingIOError):
            self._watch(WRITE)
        except ssl.SSLWantReadError:
            self._watch(READ)

    def _write(self) -> None:
        """Send what there is; raises when the socket takes no more for now."""
        while self._outgoing or self._stream is not None:
            if not self._outgoing and self._stream is not None:
                piece = next(self._stream, None)
                if piece is None:
                    self._stream = None
                    break
                self._outgoing += piece
            # At most 64 KiB at once: a repeated TLS write must offer the same bytes.
            sent = self.sock.send(self._outgoing[:65536])
            del self._outgoing[:sent]
            if self._outgoing and sent == 0:
                raise BlockingIOError
        self._finish()

    def _finish(self) -> None:
        if self._exit_code is not None:
            self.close()
            self.server.loop.stop(self._exit_code)
        elif self._refused:
            # What the client still sends is read and dropped, else a reset could overtake
            # the answer that tells it why.
            self.sock.shutdown(socket.SHUT_WR)
            self._watch(READ)
            self.server.loop.call_later(LINGER_SECONDS, self.close)
        elif self._closing:
            self.close()
        else:
            self._watch(READ)
            if self._incoming:
                self.server.loop.call_later(0, self._next_request)

    def _next_request(self) -> None:
        if self in self.server.connections:
            try:
                self._answer_next()
            except OSError:
                self.close()
