"""HTTP/1.1 on asyncio: requests in, answers out, and a way to leave HTTP.

httptools parses; one `Connection` serves its requests one after the other. The application is
one function, ``answer(request) -> Response | Awaitable[Response]``: what can be answered at once
is written in the same turn of the event loop, without a task. A `Response` has its body as bytes,
as pieces (``AsyncIterator[bytes]``), or as a *feed*: a function that gets a `Channel` to write to
whenever there is something to say (a watch).

Nobody waits for a client that reads slowly, and none of them can fill the memory: a next request
is read only when its answers are taken, pieces are made only then, and a channel whose client
falls `Channel.LIMIT` bytes behind is cut off.

`Request.take_over` gives the connection's raw streams away: for exec, attach and port-forward.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import httptools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from k8slab.embedded.apiserver.auth import User
    from k8slab.embedded.apiserver.webhooks.ledger import Ledger

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes in a request's body: kube-apiserver's MaxRequestBodyBytes."""

DISCARD_LIMIT = 64 * 1024 * 1024
"""A body up to this size is read to its end, so that the client reads why it was refused."""

HEAD_LIMIT = 64 * 1024
"""Bytes in a request's line and headers; Go's servers allow a megabyte, no client needs it."""

TOGETHER = 64 * 1024
"""A longer body is sent apart from its head: to copy it takes longer than one more send."""

JSON = "application/json"

_NO_CONTROL = dict.fromkeys([*range(32), 127], " ")
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Request:
    """One request. Header names are lower-case; repeated headers are joined by a comma."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    certificate: dict[str, Any] | None
    """The peer's verified certificate, as `ssl.SSLSocket.getpeercert` gives it."""
    take_over: Callable[[], tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    too_large: bool = False
    """The body was longer than `BODY_LIMIT` and was not kept."""
    user: User = field(init=False)
    """Who sends it, once that is known; set by the application."""
    ledger: Ledger | None = None
    """What admission webhooks have answered about it (`webhooks`)."""

    def parameter(self, name: str) -> str:
        """Return a query parameter's first value, or an empty string."""
        values = self.query.get(name)
        return values[0] if values else ""

    def flag(self, name: str) -> bool:
        """Return a boolean query parameter: true unless it is absent, ``false`` or ``0``.

        Source: apimachinery ``runtime/conversion.go`` (Convert_Slice_string_To_bool).
        """
        return name in self.query and self.parameter(name).lower() not in ("false", "0")


@dataclass(slots=True)
class Response:
    """One answer; exactly one of `body`, `pieces` and `feed` is its content."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)
    pieces: AsyncIterator[bytes] | None = None
    feed: Callable[[Channel], None] | None = None
    close: bool = False
    """The connection ends with this answer."""

    @property
    def is_stream(self) -> bool:
        """Say whether the length is not known beforehand."""
        return self.pieces is not None or self.feed is not None

    def head(self, *, keep_alive: bool) -> bytes:
        """Return the status line and headers."""
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS.get(self.status, '')}",
            f"Content-Type: {self.content_type}",
            "Cache-Control: no-cache, private",
        ]
        # A line end in a value, which a client may have sent, would begin a header of its own.
        lines += [f"{name}: {value.translate(_NO_CONTROL)}" for name, value in self.headers]
        if self.is_stream:
            lines.append("Transfer-Encoding: chunked")
        elif self.status != HTTPStatus.NOT_MODIFIED:  # where it would be that of what is not sent
            lines.append(f"Content-Length: {len(self.body)}")
        if not keep_alive:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")


def _no_stream(response: Response, *, old: bool) -> Response:
    """Return what is said instead of a stream: its head alone, or that HTTP/1.0 cannot have it."""
    if old:
        return Response(505, b"505 HTTP Version Not Supported", "text/plain; charset=utf-8")
    return Response(response.status, b"", response.content_type, response.headers)


def chunk(data: bytes) -> bytes:
    """Frame one piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Channel:
    """What a feed writes to; it never blocks.

    While the socket takes no more, what is written waits here: the same bytes for all the clients
    to whom they go, so that a slow one costs a reference and not a copy.
    """

    LIMIT = 8 * 1024 * 1024

    def __init__(self, transport: asyncio.Transport, done: Callable[[], None]) -> None:
        self._transport = transport
        self._done = done
        self._first: Iterator[bytes] | None = None
        self._queue: deque[bytes] = deque()
        self._behind = 0
        self._paused = False
        self.open = True
        self.on_close: Callable[[], None] | None = None

    def begin(self, pieces: Iterator[bytes]) -> None:
        """Send pieces, each made when those before it were taken; what is written comes after."""
        self._first = pieces
        self._pump()

    def write(self, framed: bytes) -> None:
        """Send bytes that `chunk` has framed; cut the client off that is too far behind."""
        if not self.open:
            return
        if not (self._paused or self._queue or self._first):
            self._transport.write(framed)
            return
        self._queue.append(framed)
        self._behind += len(framed)
        if self._behind > self.LIMIT:
            self.drop()
            self._transport.abort()

    def pause(self) -> None:
        """Hold back: the socket takes no more."""
        self._paused = True

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self._pump()

    def _pump(self) -> None:
        while self._first and not self._paused:
            if piece := next(self._first, b""):
                self._transport.write(piece)
            else:
                self._first = None
        while self._queue and not self._paused:
            piece = self._queue.popleft()
            self._behind -= len(piece)
            self._transport.write(piece)

    def finish(self) -> None:
        """End the answer, without what the client did not take; the connection stays usable."""
        if self.open:
            self.drop()
            self._transport.write(b"0\r\n\r\n")
            self._done()

    def drop(self) -> None:
        """Forget the client: it has gone."""
        if self.open:
            self.open = False
            self._first = None
            self._queue.clear()
            if self.on_close:
                self.on_close()


_STREAMING: set[asyncio.Task[None]] = set()
"""The tasks of connections that were given away. Nothing else holds them: the event loop knows its
tasks, and a stream's protocol its reader, by weak references."""


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(
        self,
        answer: Callable[[Request], Response | Awaitable[Response]],
        connections: set[Connection],
    ) -> None:
        self._answer = answer
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._busy = False
        self._task: asyncio.Task[None] | None = None
        self._channel: Channel | None = None
        self._rest = b""
        self._head_only = False
        self._upgrading = self._closing = self._taken = self._held = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._new_message()

    def _new_message(self) -> None:
        self._in_head = True
        self._head_size = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._too_large = False

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (called by asyncio)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._certificate = transport.get_extra_info("peercert")
        self._connections.add(self)
        self._quiet_since = self._loop.time()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the client, and stop what is still being made for it."""
        del error
        self._connections.discard(self)
        self._closing = True
        self._writable.set()
        if self._channel:
            self._channel.drop()
        if self._task and self._busy:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Hold back: the client reads slowly."""
        self._writable.clear()
        if self._channel:
            self._channel.pause()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()
        if self._channel:
            self._channel.resume()
        self._next()

    def data_received(self, data: bytes) -> None:
        """Parse, and answer what is complete."""
        if self._upgrading:
            self._rest += data
            return
        if self._in_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrading = True
            self._rest = data[upgrade.args[0] :]
        except httptools.HttpParserError:
            self._refuse(b"400 Bad Request")
            return
        if self._in_head and self._head_size > HEAD_LIMIT:
            self._refuse(b"431 Request Header Fields Too Large")
            return
        self._next()

    def _refuse(self, status: bytes) -> None:
        if not self._closing:
            self._closing = True
            # As net/http says it: no request was read, so there is nobody to write a Status.
            self._transport.write(
                b"HTTP/1.1 %b\r\nContent-Type: text/plain; charset=utf-8\r\n"
                b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(status), status)
            )
            self._transport.close()

    # --- httptools

    def on_url(self, url: bytes) -> None:
        """Collect (called by httptools)."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect (called by httptools)."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key in self._headers:
            text = f"{self._headers[key]}, {text}"
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        """Ask for the body when the client waits to be asked."""
        self._in_head = False
        length = self._headers.get("content-length", "")
        if length.isdecimal() and int(length) > DISCARD_LIMIT:
            self._give_up()
        elif self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect (called by httptools)."""
        self._size += len(body)
        if self._size > DISCARD_LIMIT:
            self._give_up()
        elif self._size > BODY_LIMIT:
            self._body.clear()
            self._too_large = True
        else:
            self._body.append(body)

    def _give_up(self) -> None:
        """Answer now and close: the client may send gigabytes."""
        if not self._closing:
            self._too_large = True
            self._enqueue(keep_alive=False)
            self._closing = True

    def on_message_complete(self) -> None:
        """Queue the request (called by httptools)."""
        if not self._closing:
            self._enqueue(keep_alive=self._parser.should_keep_alive())

    def _enqueue(self, *, keep_alive: bool) -> None:
        path, _, query = self._url.partition(b"?")
        request = Request(
            self._parser.get_method().decode(),
            unquote(path.decode("latin-1")),
            parse_qs(query.decode("latin-1"), keep_blank_values=True) if query else {},
            self._headers,
            b"".join(self._body),
            self._certificate,
            self._take_over,
            self._too_large,
        )
        self._waiting.append((request, keep_alive))
        self._new_message()

    # --- answering

    def _next(self) -> None:
        """Answer what waits; as long as something does, nothing more is read."""
        if self._transport.is_closing():
            return
        while self._waiting and not self._busy and self._writable.is_set():
            request, keep_alive = self._waiting.popleft()
            self._busy, self._head_only = True, request.method == "HEAD"
            answer = self._answer(request)
            if isinstance(answer, Response):
                self._write(answer, keep_alive=keep_alive)
            else:
                self._task = asyncio.ensure_future(self._write_later(answer, keep_alive=keep_alive))
        if self._waiting and not self._held:
            self._held = True
            self._transport.pause_reading()
        elif self._held and not self._waiting:
            self._held = False
            self._transport.resume_reading()

    async def _write_later(self, answer: Awaitable[Response], *, keep_alive: bool) -> None:
        self._write(await answer, keep_alive=keep_alive)
        self._next()

    def _write(self, response: Response, *, keep_alive: bool) -> None:
        if self._taken:
            return
        keep_alive = keep_alive and not self._upgrading and not response.close
        if self._transport.is_closing():
            return
        if response.is_stream and (self._head_only or self._parser.get_http_version() == "1.0"):
            response = _no_stream(response, old=not self._head_only)
            keep_alive = False
        head = response.head(keep_alive=keep_alive)
        if response.feed is not None:
            self._transport.write(head)
            self._channel = Channel(self._transport, lambda: self._done(keep_alive=keep_alive))
            if not self._writable.is_set():
                self._channel.pause()
            response.feed(self._channel)
        elif response.pieces is not None:
            self._transport.write(head)
            self._task = asyncio.ensure_future(self._write_pieces(response.pieces, keep_alive))
        else:
            # The head tells the length of a body that HEAD asks not to send (RFC 9110, 9.3.2).
            body = b"" if self._head_only else response.body
            if len(body) > TOGETHER:
                self._transport.write(head)
                self._transport.write(body)
            else:
                self._transport.write(head + body)
            self._done(keep_alive=keep_alive)

    async def _write_pieces(self, pieces: AsyncIterator[bytes], keep_alive: bool) -> None:  # noqa: FBT001
        async for piece in pieces:
            if self._transport.is_closing():
                return
            if piece:
                self._transport.write(chunk(piece))
            await self._writable.wait()
        self._transport.write(b"0\r\n\r\n")
        self._done(keep_alive=keep_alive)

    def _done(self, *, keep_alive: bool) -> None:
        self._busy = False
        self._channel = None
        self._quiet_since = self._loop.time()
        if not keep_alive:
            self._closing = True
            self._transport.close()
        elif self._waiting:
            self._loop.call_soon(self._next)

    # --- leaving

    def _take_over(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._taken = True
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        self._connections.discard(self)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if self._task:
            _STREAMING.add(self._task)
            self._task.add_done_callback(_STREAMING.discard)
        if self._rest:
            reader.feed_data(self._rest)
        return reader, asyncio.StreamWriter(self._transport, protocol, reader, self._loop)

    def close_if_quiet(self, since: float) -> None:
        """End a connection without a whole request since a moment of the event loop's clock."""
        if not self._busy and self._quiet_since < since:
            self.close()

    def close(self) -> None:
        """End the connection: the server stops."""
        if self._channel:
            self._channel.finish()
        with suppress(RuntimeError):
            self._transport.close()
