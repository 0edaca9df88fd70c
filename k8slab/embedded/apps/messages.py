"""HTTP/1.1 requests and responses as values: from bytes, to bytes (RFC 9112).

Everything is bounded: the head by `MAX_HEAD`, the body by `MAX_BODY`. What breaks a
bound or the grammar becomes a `BadRequestError` that knows its status code.
"""

from __future__ import annotations

import http
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.embedded.apps.sockets import Address

MAX_HEAD = 16 * 1024
"""Bytes of request line and headers; nginx allows 32 KiB in all, Go's server 1 MiB."""
MAX_BODY = 1024 * 1024
"""Bytes of a request body; nginx's default client_max_body_size."""

_REASONS = {status.value: status.phrase for status in http.HTTPStatus}


class BadRequestError(Exception):
    """A request that cannot be answered; `status` is the code to answer it with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, and where it came from and to."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    client: Address = ("", 0)
    server: Address = ("", 0)
    scheme: str = "http"

    @property
    def path(self) -> str:
        """Return the path of the target, decoded, without the query."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        """Return the last value of each query parameter."""
        pairs = parse_qs(self.target.partition("?")[2], keep_blank_values=True)
        return {name: values[-1] for name, values in pairs.items()}

    def header(self, name: str, default: str = "") -> str:
        """Return the first header of this name, in any case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), default)

    @property
    def keeps_alive(self) -> bool:
        """Tell whether the client wants to send another request (RFC 9112, 9.3)."""
        words = {word.strip().lower() for word in self.header("connection").split(",")}
        return "keep-alive" in words if self.version == "HTTP/1.0" else "close" not in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer; `delay` holds it back, `exit_code` ends the process after it."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    exit_code: int | None = None
    stream: Iterator[bytes] | None = field(default=None, compare=False)
    """A long body, made piece by piece; `stream_length` bytes in all."""
    stream_length: int = 0

    def head(self, *, keep_alive: bool) -> bytes:
        """Return status line and headers, the empty line included."""
        length = self.stream_length if self.stream is not None else len(self.body)
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Unknown')}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in self.headers),
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def text(body: str, status: int = 200) -> Response:
    """Return a plain-text response that ends with a line end."""
    return Response(status=status, body=(body if body.endswith("\n") else body + "\n").encode())


@dataclass(frozen=True, slots=True)
class Head:
    """Request line and headers, and how long the body is."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    length: int
    """Bytes of the body; -1 when it comes in chunks."""
    expects_continue: bool


def parse_head(data: bytes) -> Head:
    """Read everything before the empty line; raises `BadRequestError`."""
    lines = data.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[0].isalpha() or not words[2].startswith("HTTP/1."):
        raise BadRequestError(400, "the request line is not METHOD TARGET HTTP/1.1")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequestError(400, "a header line is not NAME: VALUE")
        headers.append((name, value.strip()))
    return _with_length(words, tuple(headers))


def _with_length(words: list[str], headers: tuple[tuple[str, str], ...]) -> Head:
    lengths = {value for name, value in headers if name.lower() == "content-length"}
    codings = [value.lower() for name, value in headers if name.lower() == "transfer-encoding"]
    length = 0
    if codings:
        if codings != ["chunked"] or lengths:
            raise BadRequestError(400, "Transfer-Encoding is not chunked alone")
        length = -1
    elif lengths:
        if len(lengths) > 1 or not (digits := lengths.pop()).isdecimal():
            raise BadRequestError(400, "Content-Length is not one number")
        length = int(digits)
        if length > MAX_BODY:
            raise BadRequestError(413, f"a body may have {MAX_BODY} bytes")
    expects = any(n.lower() == "expect" and v.lower() == "100-continue" for n, v in headers)
    return Head(words[0], words[1], words[2], headers, length, expects)


def take_body(buffer: bytearray, length: int) -> bytes | None:
    """Remove a body from the front of `buffer`, or return ``None`` while it is incomplete."""
    if length == -1:
        return _take_chunks(buffer)
    if len(buffer) < length:
        return None
    body = bytes(buffer[:length])
    del buffer[:length]
    return body


def _take_chunks(buffer: bytearray) -> bytes | None:
    """Read chunks (RFC 9112, 7.1); trailers are read and dropped."""
    body = bytearray()
    at = 0
    while True:
        end = buffer.find(b"\r\n", at)
        if end < 0:
            return None
        try:
            size = int(bytes(buffer[at:end]).partition(b";")[0], 16)
        except ValueError:
            raise BadRequestError(400, "a chunk's size is not a hexadecimal number") from None
        if size < 0 or len(body) + size > MAX_BODY:
            raise BadRequestError(413, f"a body may have {MAX_BODY} bytes")
        if size == 0:
            return _after_trailers(buffer, end, bytes(body))
        at = end + 2
        if len(buffer) < at + size + 2:
            return None
        body += buffer[at : at + size]
        at += size + 2


def _after_trailers(buffer: bytearray, end: int, body: bytes) -> bytes | None:
    stop = buffer.find(b"\r\n\r\n", end)
    if stop < 0:
        return None
    del buffer[: stop + 4]
    return body
