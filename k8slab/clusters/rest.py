"""Speak to an API server: one request, one answer; or a watch, line by line.

The official client's models take half a second to import, so this speaks plain JSON over
a `connection` with the kubeconfig's credentials. Each thread keeps one connection. A kept
connection that the server has closed is noticed before it is used again, so that no request
is ever sent twice.
"""

from __future__ import annotations

import json
import select
import ssl
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import orjson

from k8slab.clusters.connection import Connection
from k8slab.clusters.media import DEADLINE, JSON
from k8slab.errors import ApiStatusError, ClusterNotReadyError
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k8slab.clusters.connection import Answer
    from k8slab.clusters.kubeconfig import Credentials


class Rest:
    """The REST API of one cluster, for one user."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        parts = urlsplit(credentials.server)
        self.host = parts.hostname or ""
        self.tls = parts.scheme == "https"
        self.port = parts.port or (443 if self.tls else 80)
        self._base = parts.path.rstrip("/")
        self._context: ssl.SSLContext | None = None
        self._thread = threading.local()

    def get(self, path: str, *, query: Mapping[str, Any] | None = None) -> Any:
        """Return the decoded answer to a GET."""
        return self.request("GET", path, query=query)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = JSON,
        deadline: float = DEADLINE,
    ) -> Any:
        """Send one request and return the decoded answer (text where it is no JSON).

        An error of the API raises `ApiStatusError`; no answer `ClusterNotReadyError`.
        """
        connection = self._kept(deadline)
        try:
            answer = self._ask(connection, method, path, query, body, content_type)
            data = answer.body()
        except OSError as error:
            self._drop()
            raise self._no_answer(error) from error
        except BaseException:  # Ctrl-C: what comes over this connection answers nobody any more
            self._drop()
            raise
        if answer.ends:
            self._drop()
        return _decoded(answer, data)

    def stream(
        self, path: str, *, query: Mapping[str, Any] | None = None, deadline: float = DEADLINE
    ) -> Iterator[Any]:
        """Yield the JSON values of a watch, one a line, until the server or the deadline ends it.

        `deadline` bounds the silence between two lines; then `TimeoutError`.
        """
        connection = self._connection(deadline)
        try:
            for line in self._lines(connection, path, query):
                if line.strip():
                    yield orjson.loads(line)
        finally:
            connection.close()

    def _lines(
        self, connection: Connection, path: str, query: Mapping[str, Any] | None
    ) -> Iterator[bytes]:
        try:
            answer = self._ask(connection, "GET", path, query, None, JSON)
            if answer.status >= 400:
                _decoded(answer, answer.body())
            yield from answer.lines()
        except TimeoutError:
            raise
        except OSError as error:  # nobody is there, or the server was killed
            raise self._no_answer(error) from error

    def text(self, path: str, *, query: Mapping[str, Any] | None = None) -> str:
        """Return the answer to a GET as text (logs)."""
        answer = self.request("GET", path, query=query)
        return answer if isinstance(answer, str) else json.dumps(answer)

    def headers(self) -> dict[str, str]:
        """Return the headers that say who we are."""
        headers = {"User-Agent": f"k8slab/{__version__}"}
        token = self.credentials.token
        if file := self.credentials.token_file:
            # Read each time: the kubelet rewrites a projected token.
            token = Path(file).read_text(encoding="utf-8").strip()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The TLS context with the cluster's CA and the client certificate."""
        if self._context is None:
            self._context = _tls(self.credentials)
        return self._context

    def url(self, path: str, scheme: str = "") -> str:
        """Return the full address of an API path."""
        scheme = scheme or ("https" if self.tls else "http")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self._base}{path}"

    def close(self) -> None:
        """Close the calling thread's connection."""
        self._drop()

    def _connection(self, deadline: float) -> Connection:
        if not self.tls:
            return Connection(self.host, self.port, deadline)
        name = self.credentials.server_name
        return Connection(self.host, self.port, deadline, self.ssl_context, name)

    def _kept(self, deadline: float) -> Connection:
        kept: _Kept | None = getattr(self._thread, "kept", None)
        if kept and kept.connection.sock is not None:
            if not _readable(kept.connection.sock):
                kept.connection.timeout = deadline
                return kept.connection
            self._drop()
        self._thread.kept = kept = _Kept(self._connection(deadline))
        return kept.connection

    def _drop(self) -> None:
        kept: _Kept | None = getattr(self._thread, "kept", None)
        if kept:
            kept.connection.close()
            self._thread.kept = None

    def _ask(
        self,
        connection: Connection,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        content_type: str,
    ) -> Answer:
        wanted = {key: value for key, value in (query or {}).items() if value not in ("", None)}
        target = self._base + path + (f"?{urlencode(wanted)}" if wanted else "")
        headers = {**self.headers(), "Accept": JSON}
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["Content-Type"] = content_type
        return connection.ask(method, target, headers, data)

    def _no_answer(self, error: Exception) -> ClusterNotReadyError:
        return ClusterNotReadyError(
            f"the API server at {self.credentials.server} does not answer: {error or 'timeout'}",
            hint="`k8slab status` says whether the cluster runs, `k8slab up` starts it",
        )


class _Kept:
    """A connection that is closed with the thread or the handle that it belongs to."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


def _readable(sock: Any) -> bool:
    """Say whether there is something to read: on an idle connection, that it was closed."""
    poll = select.poll()  # select(2) knows no descriptor above 1023
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _tls(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=credentials.ca.decode() or None)
    if not credentials.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credentials.certificate:
        # OpenSSL reads a certificate chain from a file only; the file is 0600 and short-lived.
        with tempfile.NamedTemporaryFile(prefix="k8slab-") as file:
            file.write(credentials.certificate + b"\n" + credentials.key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _decoded(head: Answer, data: bytes) -> Any:
    is_json = head.headers.get("content-type", "").startswith(JSON)
    answer: Any = orjson.loads(data) if is_json and data else data.decode(errors="replace")
    if head.status < 400:
        return answer
    status = answer if isinstance(answer, dict) else {}
    raise ApiStatusError(
        status.get("message") or str(answer).strip() or head.reason,
        code=head.status,
        reason=status.get("reason") or head.reason,
        details=status.get("details"),
    )
