"""One kept HTTP/1.1 connection: a request out, its answer in, one after the other.

`http.client` reads headers with the parser for e-mail, which takes as long as all the rest of a
small request. httptools reads answers here, as it reads requests in the embedded API server.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

_BYTES = 65536


@dataclass
class Connection:
    """A connection to one server, made with the first request; every wait ends at `timeout`.

    What goes wrong is an `OSError`, an answer that is none or breaks off too.
    """

    host: str
    port: int
    timeout: float
    context: ssl.SSLContext | None = None
    """For TLS; plain HTTP without it."""
    name: str = ""
    """Whose certificate the server must show, where it is not the host's."""
    sock: socket.socket | None = None

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request; return its answer, whose body is still to be read."""
        sock = self.sock = self.sock or self._connected()
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}:{self.port}"]
        lines += [f"{key}: {value}" for key, value in headers.items()]
        if body or method not in ("GET", "HEAD", "DELETE"):
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        sock.settimeout(self.timeout)
        sock.sendall(head + body)
        return Answer(sock)

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def _connected(self) -> socket.socket:
        sock = socket.create_connection((self.host, self.port), self.timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is None:
            return sock
        return self.context.wrap_socket(sock, server_hostname=self.name or self.host)


class Answer:
    """An answer whose head has been read. httptools calls what begins with `on_`."""

    def __init__(self, sock: socket.socket) -> None:
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        """By name in lower case."""
        self.ends = False
        """Whether the connection ends with this answer."""
        self._sock = sock
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._within_chunk = self._is_complete = False
        while not self.status:
            self._read_more()

    def body(self) -> bytes:
        """Return the whole body."""
        while not self._is_complete:
            self._read_more()
        return b"".join(self._parts)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of a body, each as soon as it is there.

        A server that goes between two chunks ends them; one that goes within a chunk raises.
        """
        rest = b""
        while True:
            *whole, rest = b"".join([rest, *self._parts]).split(b"\n")
            self._parts.clear()
            yield from whole
            if self._is_complete:
                break
            self._read_more(between_chunks=True)
        if rest:
            yield rest

    def _read_more(self, *, between_chunks: bool = False) -> None:
        """Read what comes next; `between_chunks` an answer may end without having said so."""
        if data := self._sock.recv(_BYTES):
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError as error:
                raise ConnectionError(f"this is no answer of HTTP: {error}") from error
        elif self._may_end_here(between_chunks=between_chunks):
            self._is_complete = True
        else:
            raise ConnectionError("the connection ended before the answer did")

    def _may_end_here(self, *, between_chunks: bool) -> bool:
        if not self.status or "content-length" in self.headers:
            return False
        chunked = "transfer-encoding" in self.headers
        return not chunked or (between_chunks and not self._within_chunk)

    def on_status(self, reason: bytes) -> None:
        """Note the reason."""
        self.reason = reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note the status, unless it only announces another one (1xx)."""
        status = self._parser.get_status_code()
        if status < 200:
            self.headers.clear()
        else:
            self.status, self.ends = status, not self._parser.should_keep_alive()

    def on_chunk_header(self) -> None:
        """Note that a chunk begins."""
        self._within_chunk = True

    def on_chunk_complete(self) -> None:
        """Note that a chunk is whole."""
        self._within_chunk = False

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """Note that all has come."""
        self._is_complete = self.status > 0
