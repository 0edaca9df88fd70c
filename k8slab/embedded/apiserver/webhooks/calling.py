"""One HTTPS call to a webhook: real packets, from the control plane's node.

That is where a kube-apiserver has its place (``hostNetwork``), so a NetworkPolicy on the webhook's
pods sees the address of that node. A Service is reached by its cluster IP, through the node's
kube-proxy, as kubeadm sets it up. Each call has a connection of its own: a real server keeps some
open, over which it still gets through for a while after a policy has closed the way.

What goes wrong is told in the words of Go's ``net``, ``net/http``, ``crypto/tls`` and
``crypto/x509``, since these are what a search engine knows.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import time
from base64 import b64decode
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httptools

from k8slab.embedded.apiserver.answers import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from k8slab.embedded.apiserver.store import Store
    from k8slab.embedded.apiserver.webhooks.configured import Webhook

    Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
    Dial = Callable[[str, int], Awaitable[Connection]]

LONGEST_ANSWER = 16 * 1024 * 1024
"""Bytes; an object and its patch have fewer."""

_CHUNK = 1 << 16
_X509 = "tls: failed to verify certificate: x509: "
_DATES = (9, 10)
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


class CallError(Exception):
    """A call that came to nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Where a webhook is, and by what name."""

    host: str
    """Which its certificate has to name."""
    port: int
    path: str
    address: str
    """Where to connect to; empty: it is not known yet."""
    shown_port: bool = True

    def url(self, seconds: int) -> str:
        """Return the URL as errors show it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.shown_port else ""
        return f"https://{host}{port}{self.path}?timeout={seconds}s"


async def call(webhook: Webhook, body: bytes, store: Store, dial: Dial) -> bytes:
    """Post a review to a webhook and return what it answers; raises `CallError`."""
    goal = _goal(webhook)
    context = await _trust(webhook)
    try:
        async with asyncio.timeout(webhook.seconds):
            address, port = _route(webhook, goal, store)
            async with _connected(goal, dial, address, port, context) as (reader, writer):
                writer.write(_head(goal, webhook.seconds, len(body)) + body)
                status, answer = await _answer(reader)
    except TimeoutError as error:
        raise CallError(_posted(goal, webhook, "context deadline exceeded")) from error
    except (CallError, OSError) as error:
        raise CallError(_posted(goal, webhook, _go_words(error))) from error
    if status != 200:
        raise CallError(f"failed to call webhook: {_status_words(status, answer)}")
    return answer


def _posted(goal: Goal, webhook: Webhook, why: str) -> str:
    return f'failed to call webhook: Post "{goal.url(webhook.seconds)}": {why}'


# --- where to


def _goal(webhook: Webhook) -> Goal:
    client = webhook.spec["clientConfig"]
    if service := client.get("service"):
        host = f"{service['name']}.{service['namespace']}.svc"
        return Goal(host, service.get("port") or 443, service.get("path") or "/", "")
    parts = urlsplit(client["url"])
    host = parts.hostname or ""
    return Goal(host, parts.port or 443, parts.path or "/", host, parts.port is not None)


def _route(webhook: Webhook, goal: Goal, store: Store) -> tuple[str, int]:
    """Return where to connect to (aggregator's ``ResolveCluster``)."""
    if goal.address:
        return goal.address, goal.port
    named = webhook.spec["clientConfig"]["service"]
    service = store.get("services", named["namespace"], named["name"])
    if service is None:
        raise CallError(f'service "{named["name"]}" not found')
    spec = service["spec"]
    if spec.get("clusterIP") == "None":
        raise CallError('cannot route to service with ClusterIP "None"')
    if spec.get("type") == "ExternalName":
        raise CallError(f"dial tcp: lookup {spec.get('externalName')}: no such host")
    if all(port["port"] != goal.port for port in spec.get("ports") or ()):
        raise CallError(f'no service port {goal.port} found for service "{named["name"]}"')
    return spec["clusterIP"], goal.port


# --- the connection


@asynccontextmanager
async def _connected(
    goal: Goal, dial: Dial, address: str, port: int, context: ssl.SSLContext
) -> AsyncIterator[Connection]:
    shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        reader, writer = await dial(address, port)
    except OSError as error:
        words = os.strerror(error.errno or errno.EIO).lower()
        raise CallError(f"dial tcp {shown}: connect: {words}") from error
    try:
        await writer.start_tls(context, server_hostname=goal.host)
        _check_name(writer.get_extra_info("peercert") or {}, goal.host)
        yield reader, writer
    finally:
        # Not closed but broken off: nobody waits for a server that does not answer the farewell.
        writer.transport.abort()


async def _trust(webhook: Webhook) -> ssl.SSLContext:
    bundle = webhook.spec["clientConfig"].get("caBundle") or ""
    if bundle:
        return _context(bundle)
    # The system's authorities are many: reading them takes longer than others should wait.
    return await asyncio.to_thread(_context, "")


@lru_cache(maxsize=64)
def _context(bundle: str) -> ssl.SSLContext:
    """Return a client that trusts a bundle (PEM in base64), or the system's authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # _check_name does it, and says what the certificate names
    # What is in the bundle is trusted itself, whoever has signed it, as Go has it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not bundle:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cadata=b64decode(bundle).decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        why = "unable to load root certificates: unable to parse bytes as PEM block"
        raise CallError(f"could not get REST client: {why}") from error
    return context


def _check_name(certificate: dict, host: str) -> None:
    """Refuse a certificate that does not name the host (Go's ``VerifyHostname``)."""
    named = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    numbers = [
        value for kind, value in certificate.get("subjectAltName", ()) if kind == "IP Address"
    ]
    if _is_address(host):
        if host in {str(ip_address(number)) for number in numbers if _is_address(number)}:
            return
        told = ", ".join(numbers)
        none = f"cannot validate certificate for {host} because it doesn't contain any IP SANs"
        why = f"certificate is valid for {told}, not {host}" if numbers else none
    else:
        if any(_matches(pattern.lower(), host.lower()) for pattern in named):
            return
        told = ", ".join(named)
        none = "certificate relies on legacy Common Name field, use SANs instead"
        why = f"certificate is valid for {told}, not {host}" if named else none
    raise CallError(f"{_X509}{why}")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _matches(pattern: str, host: str) -> bool:
    """Compare names; an asterisk stands for the whole first label (RFC 6125, 6.4.3)."""
    if not pattern.startswith("*."):
        return pattern == host
    return pattern[1:] == f".{host.partition('.')[2]}"


# --- request and answer


def _head(goal: Goal, seconds: int, length: int) -> bytes:
    host = goal.url(seconds).removeprefix("https://").partition("/")[0]
    lines = (
        f"POST {goal.path}?timeout={seconds}s HTTP/1.1",
        f"Host: {host}",
        "User-Agent: kube-apiserver-admission",
        "Accept: application/json",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    answer = Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.is_complete:
        data = await reader.read(_CHUNK)
        try:
            if data:
                parser.feed_data(data)
            elif answer.body:  # without a length, the end of the connection ends the answer
                break
            else:
                raise CallError("EOF")
        except httptools.HttpParserError as error:
            raise CallError(f"malformed HTTP response: {error}") from error
        if sum(map(len, answer.body)) > LONGEST_ANSWER:
            raise CallError(f"the answer has more than {LONGEST_ANSWER} bytes")
    return parser.get_status_code(), b"".join(answer.body)


_STATUSES = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    406: "the server was unable to respond with a content type that the client supports",
    409: "the server reported a conflict",
    410: "the server could not find the requested resource",
    415: "the body of the request was in an unknown format",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: (
        "the server was unable to return a response in the time allotted, but may still be "
        "processing the request"
    ),
}


def _status_words(status: int, body: bytes) -> str:
    """Say what a status other than 200 means (client-go's ``NewGenericServerResponse``)."""
    said = body[:2048].decode("utf-8", "replace").strip()
    if status == 403:
        return said or "the server responded with the status code 403"
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500:
        said = said or "unknown"
        return f'an error on the server ("{said}") has prevented the request from succeeding'
    return f"the server responded with the status code {status} but did not return more information"


def _go_words(error: Exception) -> str:
    if isinstance(error, CallError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _DATES:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            return f"{_X509}certificate has expired or is not yet valid: current time {now}"
        return f"{_X509}certificate signed by unknown authority"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if "HTTP_REQUEST" in reason or "WRONG_VERSION" in reason or "RECORD" in reason:
            return "http: server gave HTTP response to HTTPS client"
        return f"remote error: tls: {reason.lower().replace('_', ' ')}"
    if isinstance(error, ConnectionResetError):
        return "read: connection reset by peer" if error.errno else "EOF"
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else "EOF"
