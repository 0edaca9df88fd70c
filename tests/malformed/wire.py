"""A client that sends exactly the bytes it is told to, over TLS, and reads what comes back.

No HTTP library is in between: they refuse to send what these tests are about.
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any

DEADLINE = 30.0
"""Seconds within which the server answers anything; the machine may be busy."""

QUIET = 0.1
"""Seconds without a byte after which an answer without end (a watch) is taken as one."""


@dataclass
class Answer:
    """What came back; `is_open` when the answer goes on (a watch, an upgrade)."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_open: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Case:
    """One request."""

    method: str
    path: str | bytes
    body: bytes = b""
    headers: dict[str, str | bytes] = field(default_factory=dict)

    def raw(self) -> bytes:
        """Return the request as it goes over the wire."""
        headers = {"Host": "k8slab", **self.headers}
        if self.body and "Content-Length" not in headers:
            headers["Content-Length"] = str(len(self.body))
        lines = [b"%b %b HTTP/1.1" % (_bytes(self.method), _bytes(self.path))]
        lines += [b"%b: %b" % (_bytes(name), _bytes(value)) for name, value in headers.items()]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


class Wire:
    """Sends requests one after the other, on one connection as long as the server keeps it."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port, self._context = port, context
        self._socket: ssl.SSLSocket | None = None
        self._data = b""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._data = None, b""

    def send(self, raw: bytes, *, method: str = "GET") -> Answer | None:
        """Send bytes and return the answer; ``None`` when the server closed without one."""
        kept = self._socket is not None
        try:
            return self._exchange(raw, method)
        except ConnectionError:
            self.close()
            if not kept:
                return None
        # The server had closed the kept connection; a fresh one shows what it says to this.
        try:
            return self._exchange(raw, method)
        except ConnectionError:
            self.close()
            return None

    def request(self, case: Case) -> Answer | None:
        """Send a request."""
        return self.send(case.raw(), method=case.method)

    def _exchange(self, raw: bytes, method: str) -> Answer:
        if self._socket is None:
            plain = socket.create_connection(("127.0.0.1", self._port), DEADLINE)
            self._socket = self._context.wrap_socket(plain, server_hostname="127.0.0.1")
        self._socket.settimeout(DEADLINE)
        refused = None
        try:
            self._socket.sendall(raw)
        except (ConnectionError, ssl.SSLError) as error:
            refused = error  # it may have answered before it stopped reading
        try:
            answer = self._answer(method)
        except ssl.SSLError as error:
            raise ConnectionResetError(str(error)) from refused
        if answer.is_open or answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def _answer(self, method: str) -> Answer:
        while b"\r\n\r\n" not in self._data:
            self._receive()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        first, *lines = head.decode("utf-8", "replace").split("\r\n")
        status = int(first.split(" ")[1])
        if status == 100:
            return self._answer(method)
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        if status == 101:
            return Answer(status, headers, b"", is_open=True)
        if method == "HEAD":
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            body, is_open = self._chunks()
            return Answer(status, headers, body, is_open)
        if "content-length" not in headers:
            return Answer(status, headers, self._rest())
        length = int(headers["content-length"])
        while len(self._data) < length:
            self._receive()
        body, self._data = self._data[:length], self._data[length:]
        return Answer(status, headers, body)

    def _chunks(self) -> tuple[bytes, bool]:
        assert self._socket is not None
        body = b""
        self._socket.settimeout(QUIET)
        try:
            while True:
                while b"\r\n" not in self._data:
                    self._receive()
                size, _, rest = self._data.partition(b"\r\n")
                length = int(size, 16)
                while len(rest) < length + 2:
                    self._receive()
                    rest = self._data.partition(b"\r\n")[2]
                body, self._data = body + rest[:length], rest[length + 2 :]
                if length == 0:
                    return body, False
        except TimeoutError:
            return body, True

    def _rest(self) -> bytes:
        """Return what comes until the server closes (HTTP/1.0)."""
        while True:
            try:
                self._receive()
            except ConnectionError:
                data = self._data
                self.close()
                return data

    def _receive(self) -> None:
        assert self._socket is not None
        piece = self._socket.recv(1 << 16)
        if not piece:
            raise ConnectionResetError("the server closed the connection")
        self._data += piece
