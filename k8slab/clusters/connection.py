"""One kept HTTP/1.1 connection (RFC 9112): a request out, its answer in, one after the other.

`http.client` reads headers with the parser for e-mail, which takes as long as all the rest of a
small request. An API server's answers need little of the protocol: a status line, headers, and a
body that has a length, comes in chunks, or ends with the connection.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from io import BufferedReader

LONGEST_LINE = 65536
"""Bytes of a line of the head, as the standard library allows."""

MOST_HEADERS = 100


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
    _file: BufferedReader | None = None

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request; return its answer, whose body is still to be read."""
        sock, file = self._connected()
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}:{self.port}"]
        lines += [f"{key}: {value}" for key, value in headers.items()]
        if body or method not in ("GET", "HEAD", "DELETE"):
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        sock.settimeout(self.timeout)
        sock.sendall(head + body)
        return _read_head(file)

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        if self._file is not None:
            self._file.close()
        if self.sock is not None:
            self.sock.close()
        self.sock = self._file = None

    def _connected(self) -> tuple[socket.socket, BufferedReader]:
        if self.sock is None or self._file is None:
            self.sock = socket.create_connection((self.host, self.port), self.timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                name = self.name or self.host
                self.sock = self.context.wrap_socket(self.sock, server_hostname=name)
            self._file = self.sock.makefile("rb")
        return self.sock, self._file


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer, and the file from which its body is read."""

    status: int
    reason: str
    file: BufferedReader
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in lower case."""
    minor: str = "1"
    """The second digit of the protocol's version."""

    @property
    def ends(self) -> bool:
        """Say whether the connection ends with this answer."""
        wish = self.headers.get("connection", "").lower()
        unbounded = not self._chunked and "content-length" not in self.headers
        return "close" in wish or self.minor == "0" or (unbounded and self._has_body)

    @property
    def _chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def _has_body(self) -> bool:
        return self.status >= 200 and self.status not in (204, 304)

    def body(self) -> bytes:
        """Return the whole body."""
        if self._chunked:
            return b"".join(self._chunks())
        if not self._has_body:
            return b""
        if "content-length" in self.headers:
            return _exactly(self.file, int(self.headers["content-length"]))
        return self.file.read()

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of a body, each as soon as it is there.

        A server that goes between two chunks ends them; one that goes within a chunk raises.
        """
        rest = b""
        for chunk in self._chunks(cut=True) if self._chunked else self.file:
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def _chunks(self, *, cut: bool = False) -> Iterator[bytes]:
        while not (cut and self._at_end()):
            size = _line(self.file).partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size):
                raise ConnectionError(f"this is no size of a chunk: {size[:20]!r}")
            if not (number := int(size, 16)):
                break
            yield _exactly(self.file, number)
            _line(self.file)
        while not self._at_end() and _line(self.file):  # trailers
            pass

    def _at_end(self) -> bool:
        return not self.file.peek(1)


def _read_head(file: BufferedReader) -> Answer:
    """Read status line and headers; answers that only announce another one (1xx) are left out."""
    while True:
        version, _, rest = _line(file).decode("latin-1").partition(" ")
        status, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not status.isdigit():
            raise ConnectionError(f"this is no answer of HTTP: {version} {rest}"[:100])
        headers: dict[str, str] = {}
        while line := _line(file):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
            if len(headers) > MOST_HEADERS:
                raise ConnectionError(f"an answer with more than {MOST_HEADERS} headers")
        if int(status) >= 200:
            return Answer(int(status), reason, file, headers, version[7:])


def _line(file: BufferedReader) -> bytes:
    """Return one line of the head or of the frame of a chunk, without its end."""
    line = file.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ConnectionError("the connection ended before the answer did")
    return line.rstrip(b"\r\n")


def _exactly(file: BufferedReader, number: int) -> bytes:
    found = file.read(number)
    if len(found) < number:
        raise ConnectionError("the connection ended before the answer did")
    return found
