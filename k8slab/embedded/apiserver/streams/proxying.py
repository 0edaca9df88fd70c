"""HTTP through the API server to a pod or a Service: the ``proxy`` subresources.

``/api/v1/namespaces/NS/pods/[SCHEME:]NAME[:PORT]/proxy/PATH``, and the same for ``services``,
where one of the ready endpoints is drawn. The API server connects from the control plane's node,
as on a real cluster, so that NetworkPolicies see that node. Links in HTML are not rewritten.
Source: ``registry/core/{pod,service}`` (ResourceLocation) and apimachinery ``util/proxy``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import httptools

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.answers import Answer
from k8slab.embedded.apiserver.http import Response
from k8slab.errors import ApiStatusError
from k8slab.objects.slices import SLICES, service_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.backends import PodBackend
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.routes import Target

    Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

DIAL_SECONDS = 30.0
"""How long a connection may take (``net.Dialer`` of the server's transport)."""

_CHUNK = 1 << 16
_NUMBER = re.compile(r"[0-9]{1,5}\Z")
_SCHEMES = ("", "http", "https")

_NOT_PASSED_ON = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection only (RFC 9110, 7.6.1), and the caller's credentials."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a request goes on to."""

    address: str
    port: int
    secure: bool = False

    def __str__(self) -> str:
        shown = f"[{self.address}]" if ":" in self.address else self.address
        return f"{shown}:{self.port}"


async def proxy(request: Request, target: Target, api: Api, pods: PodBackend) -> Response:
    """Answer a request about a ``proxy`` subresource with what the pod answers."""
    prefix, _, rest = request.path.partition("/proxy")
    if not rest and request.method in ("GET", "HEAD"):
        return Response(status=301, headers=[("Location", quote(f"{prefix}/proxy/"))])
    locate = _of_pod if target.kind.resource == "pods" else _of_service
    location = locate(api, target)
    connection = await _connect(pods, location)
    head = _head(request, location, rest or "/")
    if request.headers.get("upgrade"):
        await _tunnel(request, connection, head)
        return Response()  # not written: the connection has been taken over
    return await _exchange(connection, head + request.body)


# --- where to


def _parts(target: Target) -> tuple[str, str, str]:
    """Split ``[scheme:]name[:port]`` (``SplitSchemeNamePort``)."""
    words = target.name.split(":")
    if len(words) == 1:
        words = ["", *words, ""]
    elif len(words) == 2:
        words = ["", *words]
    if len(words) != 3 or words[0] not in _SCHEMES:
        singular = target.kind.singular_name
        raise statuses.bad_request(f'invalid {singular} request "{target.name}"')
    scheme, name, port = words
    return scheme, name, port


def _of_pod(api: Api, target: Target) -> Location:
    scheme, name, port = _parts(target)
    pod = api.require("pods", name, target.namespace)
    if not port:
        ports = (p for c in pod["spec"]["containers"] for p in c.get("ports") or ())
        port = str(next((p["containerPort"] for p in ports), ""))
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise statuses.bad_request("address not allowed")
    if not port:
        port = "443" if scheme == "https" else "80"
    if not _NUMBER.match(port) or not 0 < int(port) < 65536:
        raise statuses.bad_request(f'invalid pod request "{target.name}"')
    return Location(address, int(port), scheme == "https")


def _of_service(api: Api, target: Target) -> Location:
    scheme, name, port = _parts(target)
    service = api.require("services", name, target.namespace)
    if _NUMBER.match(port):
        served = service["spec"].get("ports") or ()
        names = [p.get("name", "") for p in served if p["port"] == int(port)]
        if not names:
            raise _unavailable(f'no service port {port} found for service "{name}"')
        port = names[0]
    found = list(_endpoints(api, name, target.namespace, port))
    if not found:
        raise _unavailable(f'no endpoints available for service "{name}"')
    address, number = random.choice(found)
    return Location(address, number, scheme == "https")


def _endpoints(api: Api, name: str, namespace: str, port: str) -> list[tuple[str, int]]:
    slices = [one for one in api.list(SLICES, namespace) if service_of(one) == name]
    return [
        (endpoint["addresses"][0], served["port"])
        for one in slices
        for served in one.get("ports") or ()
        if served.get("name", "") == port and served.get("port")
        for endpoint in one.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True)
    ]


def _unavailable(message: str) -> ApiStatusError:
    return ApiStatusError(message, code=503, reason="ServiceUnavailable")


# --- the connection


async def _connect(pods: PodBackend, location: Location) -> Connection:
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            reader, writer = await pods.dial(location.address, location.port)
            if location.secure:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                await writer.start_tls(context, server_hostname=location.address)
    except TimeoutError as error:
        raise _unreachable(location, "i/o timeout") from error
    except OSError as error:
        words = os.strerror(error.errno or errno.EIO).lower()
        raise _unreachable(location, f"connect: {words}") from error
    return reader, writer


def _unreachable(location: Location, why: str) -> ApiStatusError:
    return _unavailable(f"error trying to reach service: dial tcp {location}: {why}")


def _head(request: Request, location: Location, path: str) -> bytes:
    query = f"?{urlencode(request.query, doseq=True)}" if request.query else ""
    lines = [f"{request.method} {quote(path, safe='/%:@!$&()*+,;=~-._')}{query} HTTP/1.1"]
    passed = {
        name: value
        for name, value in request.headers.items()
        if name not in _NOT_PASSED_ON and not name.startswith("impersonate-")
    }
    upgrade = request.headers.get("upgrade")
    passed |= {
        "host": str(location),
        "x-forwarded-host": request.headers.get("host", ""),
        "x-forwarded-proto": "https",
        "x-forwarded-uri": request.path,
        **({"connection": "Upgrade", "upgrade": upgrade} if upgrade else {"connection": "close"}),
    }
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        passed["content-length"] = str(len(request.body))
    lines += [f"{name}: {value}" for name, value in passed.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


async def _exchange(connection: Connection, message: bytes) -> Response:
    """Send a request, and answer with the head of its answer and the pieces that follow."""
    reader, writer = connection
    writer.write(message)
    answer = Answer()
    parser = httptools.HttpResponseParser(answer)
    try:
        while not answer.has_head:
            data = await reader.read(_CHUNK)
            if not data:
                raise _unavailable("error trying to reach service: EOF")
            parser.feed_data(data)
    except (httptools.HttpParserError, OSError) as error:
        writer.close()
        raise _unavailable(f"error trying to reach service: {error}") from error
    except ApiStatusError:
        writer.close()
        raise
    kinds = [value for name, value in answer.headers if name.lower() == "content-type"]
    shown = [(name, value) for name, value in answer.headers if not _is_ours(name)]
    return Response(
        status=parser.get_status_code(),
        content_type=kinds[0] if kinds else "application/octet-stream",
        headers=shown,
        pieces=_pieces(connection, parser, answer),
    )


def _is_ours(name: str) -> bool:
    return name.lower() in _NOT_PASSED_ON or name.lower() == "content-type"


async def _pieces(
    connection: Connection, parser: httptools.HttpResponseParser, answer: Answer
) -> AsyncIterator[bytes]:
    reader, writer = connection
    try:
        while True:
            for piece in answer.body:
                yield piece
            answer.body.clear()
            if answer.is_complete or not (data := await _more(reader)):
                return
            parser.feed_data(data)
    finally:
        writer.close()


async def _more(reader: asyncio.StreamReader) -> bytes:
    with suppress(ConnectionError):  # a reset ends an answer like a close
        return await reader.read(_CHUNK)
    return b""


async def _tunnel(request: Request, connection: Connection, head: bytes) -> None:
    """Hand the connection over: after an upgrade both sides speak what they like."""
    theirs, writer = connection
    writer.write(head)
    mine, answer = request.take_over()

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                sink.write(data)
                await sink.drain()

    copying = asyncio.create_task(copy(mine, writer))
    try:
        await copy(theirs, answer)
    finally:
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
        writer.close()
        answer.close()
