"""The API server: from a connection to an answer.

Who (401), what (404), may they (403), and then `Rest`. The daemon starts it with `serve`.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver import (
    default_roles,
    discovery,
    openapi,
    pretty,
    statuses,
    yamlanswers,
)
from k8slab.embedded.apiserver.auth import authenticate, authorize, impersonated
from k8slab.embedded.apiserver.bodies import too_large
from k8slab.embedded.apiserver.http import Connection, Request, Response
from k8slab.embedded.apiserver.options import warnings_of
from k8slab.embedded.apiserver.pki import Tokens, server_context
from k8slab.embedded.apiserver.rest import Rest
from k8slab.embedded.apiserver.routes import Target, action_of, target_of
from k8slab.embedded.apiserver.streaming import Streaming
from k8slab.embedded.apiserver.tls import Tls
from k8slab.embedded.apiserver.webhooks.connecting import check_connection
from k8slab.errors import ApiStatusError, ReviewPendingError

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.backends import LabBackend, PodBackend
    from k8slab.embedded.apiserver.tls import TlsTransport
    from k8slab.embedded.config import ClusterConfig

log = logging.getLogger(__name__)

HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
BACKLOG = 1000
"""Connections that may wait, and that asyncio accepts at once: fewer than `RESERVED_FILES`."""

RESERVED_FILES = 1024
"""Open files that are not the API's: namespaces, pods' streams, probes."""

TOLD = 64
"""How many connections above the limit are answered, and not only broken off."""

HOUSEKEEPING_SECONDS = 5.0
"""How often the write-ahead log is folded back, on a thread of its own, and quiet ends found."""

QUIET_SECONDS = 90.0
"""A connection without a request ends after this time (kube-apiserver's IdleTimeout)."""


MOST_REVIEWS = 20
"""How often webhooks are asked about one request: again when others change the object meanwhile."""


class Application:
    """Answers requests; holds no connection."""

    def __init__(self, api: Api, tokens: Tokens, streaming: Streaming) -> None:
        self.api = api
        self.tokens = tokens
        self.rest = Rest(api, tokens)
        self.streaming = streaming

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """Answer one request; every error becomes a Status."""
        answer = self._plainly(request)
        if yamlanswers.is_wanted(request):
            return yamlanswers.translated(answer)
        if not pretty.is_wanted(request):
            return answer
        if isinstance(answer, Response):
            return pretty.indented(answer)
        return pretty.indented_later(answer)

    def _plainly(self, request: Request) -> Response | Awaitable[Response]:
        answer: Response | Awaitable[Response]
        try:
            answer = self._answer(request)
        except ReviewPendingError as pending:
            answer = self._reviewed(request, pending)
        except ApiStatusError as error:
            return error_response(error)
        except Exception as error:  # noqa: BLE001  the last line of defence: logged, told as 500
            return failed(request, error)
        return answer if isinstance(answer, Response) else self._guarded(request, answer)

    async def _guarded(self, request: Request, answer: Awaitable[Response]) -> Response:
        try:
            response = await answer
        except ApiStatusError as error:
            response = error_response(error)
        except Exception as error:  # noqa: BLE001  the last line of defence: logged, told as 500
            response = failed(request, error)
        if request.ledger and request.ledger.warnings:
            response.headers += warnings_of(request.ledger.warnings)
        return response

    async def _reviewed(self, request: Request, pending: ReviewPendingError) -> Response:
        """Have webhooks asked and answer the request anew, until nothing is left to ask."""
        for _ in range(MOST_REVIEWS):
            request.ledger = pending.ledger
            await pending.answered()
            try:
                answer = self._answer(request)
            except ReviewPendingError as further:
                pending = further
            else:
                return answer if isinstance(answer, Response) else await answer
        target = target_of(request.path, self.api.kinds)
        assert target is not None
        raise statuses.conflict(target.kind.resource, target.name)

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        user = impersonated(request, authenticate(request, self.tokens, self.api), self.api)
        request.user = user
        if request.too_large:
            raise too_large()
        action = action_of(request)
        authorize(self.api.roles, user, action)
        target = target_of(request.path, self.api.kinds)
        if target is None:
            return self._plain(request)
        if target.subresource == "proxy":
            check_connection(self.api, request, target)
            return self.streaming.proxy(request, target, self.api)
        if self.streaming.serves(target):
            if target.subresource != "log" and action.verb == "get":
                # A WebSocket begins with GET; whoever may only read must not run commands
                # (AuthorizePodWebsocketUpgradeCreatePermission, since 1.35).
                authorize(self.api.roles, user, replace(action, verb="create"))
            check_connection(self.api, request, target)
            return self.streaming.answer(request, self._pod(target), target)
        return self.rest.answer(request, target)

    def _pod(self, target: Target) -> dict:
        return self.api.require("pods", target.name, target.namespace)

    def _plain(self, request: Request) -> Response | Awaitable[Response]:
        if request.path.startswith("/apis/lab.k8slab.dev/"):
            return self.streaming.lab(request)
        if request.path in HEALTH or request.path.startswith(("/livez/", "/readyz/")):
            return Response(body=b"ok", content_type="text/plain; charset=utf-8")
        found = discovery.answer(request, self.api.kinds) or openapi.answer(request, self.api.kinds)
        if found is not None:
            return found
        raise unserved(request.path)


UNSERVED = {
    "horizontalpodautoscalers": "no load is measured here to scale by; use kubectl scale",
    "limitranges": "namespaces have no limits here",
    "resourcequotas": "namespaces have no limits here",
}
"""By resource: why a learner does not find what every real cluster has."""


def unserved(path: str) -> ApiStatusError:
    """Return 404 for a path behind which there is nothing."""
    why = next((f" ({UNSERVED[part]})" for part in path.split("/") if part in UNSERVED), "")
    message = f"the server could not find the requested resource{why}"
    return ApiStatusError(message, code=404, reason="NotFound")


def error_response(error: ApiStatusError) -> Response:
    """Return an error as its Status."""
    headers = []
    if error.code == 401:
        headers.append(("WWW-Authenticate", 'Bearer realm="kubernetes"'))
    if seconds := error.details.get("retryAfterSeconds"):
        headers.append(("Retry-After", str(seconds)))
    body = orjson.dumps(statuses.status_object(error))
    return Response(status=error.code, body=body, headers=headers)


def failed(request: Request, error: Exception) -> Response:
    """Log what should not have happened, and return 500; a full disk is told as such."""
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    answer = statuses.internal_error(f"{type(error).__name__}: {error}")
    if isinstance(error, sqlite3.OperationalError):
        answer = statuses.internal_error(
            f"the cluster's state cannot be written: {error}; make room on the disk that holds it"
        )
    return error_response(answer)


class Server:
    """A running API server.

    It takes as many connections as its limit of open files allows, less those that the rest of
    the process may need. The next ones are told so (429, as a real server's clients know it),
    and when even these are too many, broken off.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._housekeeping: asyncio.Task[None] | None = None
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = max(soft - RESERVED_FILES, soft // 2)

    async def start(self, sockets: list[socket.socket], directory: Path) -> None:
        """Accept TLS connections on listening sockets."""
        tls = Tls(server_context(directory), most=self.most + TOLD)

        def connection() -> TlsTransport:
            answer = self._application.answer if tls.open < self.most else self._refuse
            return tls.connection(Connection(answer, self._connections))

        loop = asyncio.get_running_loop()
        for listener in sockets:
            listener.setblocking(False)
            # Connections inherit it: else what is written in two parts waits 40 ms for the
            # client's delayed acknowledgement (Nagle), in each exec. Go sets it, too; asyncio
            # does so for sockets alone that were made with the protocol's number.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = await loop.create_server(connection, sock=listener, backlog=BACKLOG)
            self._servers.append(server)
        self._housekeeping = asyncio.create_task(self._keep_house())

    def _refuse(self, request: Request) -> Response:
        del request
        error = ApiStatusError(
            f"too many connections: the limit of open files leaves room for {self.most}; close "
            "some, or raise the limit (`ulimit -n`) and start the cluster again",
            code=429,
            reason="TooManyRequests",
            details={"retryAfterSeconds": 1},
        )
        answer = error_response(error)
        answer.close = True
        return answer

    async def _keep_house(self) -> None:
        store = self._application.api.store
        loop = asyncio.get_running_loop()
        done = store.revision
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            for connection in tuple(self._connections):
                connection.close_if_quiet(loop.time() - QUIET_SECONDS)
            if store.revision != done:
                done = store.revision
                await asyncio.to_thread(store.checkpoint)

    async def close(self) -> None:
        """Stop accepting, end watches, close connections."""
        if self._housekeeping:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)
        for server in self._servers:
            server.close()
        self._application.rest.watching.close()
        for connection in tuple(self._connections):
            connection.close()


async def serve(
    api: Api,
    *,
    config: ClusterConfig,
    pki_directory: Path,
    sockets: list[socket.socket],
    pods: PodBackend,
    lab: LabBackend,
) -> Server:
    """Serve the API on listening sockets and return the running server.

    The sockets may come from other network namespaces (they keep theirs). `pki_directory` was
    filled by `pki.ensure_pki`.
    """
    del config
    default_roles.furnish(api)
    api.webhooks.dial = pods.dial
    application = Application(api, Tokens(pki_directory), Streaming(pods, lab))
    server = Server(application)
    await server.start(sockets, pki_directory)
    return server
