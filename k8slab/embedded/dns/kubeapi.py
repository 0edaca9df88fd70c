"""Keeping a `Catalogue` in step with the API: list once, then watch.

For each resource one connection: a list gives the objects and a resource version, a watch from
that version streams what changes. A lost connection resumes from the last version seen; when
the API no longer has it (410 Gone) everything is listed again.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from asyncio import sslproto
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from k8slab.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from k8slab.embedded.apps.sockets import Address
    from k8slab.embedded.dns.catalogue import Catalogue

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

PATHS = {
    "services": "/api/v1/services",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
    "namespaces": "/api/v1/namespaces",
    "pods": "/api/v1/pods",
}
FIRST_PAUSE, LAST_PAUSE = 0.05, 5.0
"""Seconds between attempts to reach the API: doubled each time, up to the last."""


class ApiError(ClusterError):
    """The API could not be reached, or answered with something else than asked for."""


class _GoneError(ApiError):
    """410: the API has forgotten this resource version."""


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """Where the API is, and the pod's service account."""

    address: Address
    account: Path

    @classmethod
    def in_cluster(cls, environment: Mapping[str, str]) -> ApiAccess:
        """Read what the kubelet gives each pod; raises `UsageError` when it is not there."""
        host = environment.get("KUBERNETES_SERVICE_HOST", "")
        port = environment.get("KUBERNETES_SERVICE_PORT", "")
        if not host or not port.isdecimal():
            raise UsageError(
                "plugin/kubernetes: unable to load in-cluster configuration, "
                "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
            )
        account = environment.get("SERVICE_ACCOUNT_DIRECTORY")
        return cls((host, int(port)), Path(account) if account else SERVICE_ACCOUNT)

    def context(self) -> ssl.SSLContext:
        """Return a TLS context that trusts the cluster's CA alone."""
        return ssl.create_default_context(cafile=str(self.account / "ca.crt"))

    def token(self) -> str:
        """Return the token as it is now: the kubelet renews the file."""
        return (self.account / "token").read_text().strip()


_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""A watch only listens: it would not notice that the server has gone, when somebody flushed the
node's rules or routes and the server's end was reset meanwhile. client-go asks every 30 s (HTTP/2
health check); learners mend such things in seconds."""


class Watcher:
    """Follows some resources; `synced` when each has been listed once."""

    def __init__(self, access: ApiAccess, catalogue: Catalogue, say: Callable[[str], None]) -> None:
        # asyncio gives each TLS connection a buffer of 256 KiB; a record has at most 16.
        sslproto.SSLProtocol.max_size = 32 * 1024
        self._access = access
        self._catalogue = catalogue
        self._say = say
        self._context = access.context()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listed: set[str] = set()
        self._news = asyncio.Condition()

    def follow(self, resources: set[str]) -> None:
        """Begin to follow these resources; those that are followed already go on."""
        for resource in sorted(resources - set(self._tasks)):
            self._tasks[resource] = asyncio.create_task(self._follow(resource))

    @property
    def synced(self) -> bool:
        """Tell whether everything that is followed has been listed."""
        return self._listed >= set(self._tasks)

    async def wait_synced(self, seconds: float) -> bool:
        """Wait until `synced`, at most so long; return whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: self.synced)
        return self.synced

    async def close(self) -> None:
        """Stop following."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _follow(self, resource: str) -> None:
        revision = ""
        pause = FIRST_PAUSE
        while True:
            try:
                connection = await _Connection.open(self._access, self._context)
                try:
                    while True:  # on one connection: a handshake is time without news
                        if not revision:
                            revision = await self._list(connection, resource)
                        async for seen in self._watch(connection, resource, revision):
                            revision, pause = seen, FIRST_PAUSE
                finally:
                    connection.close()
            except _GoneError:
                revision = ""
            except (OSError, asyncio.IncompleteReadError, ValueError, ApiError) as error:
                self._say(
                    f"[ERROR] plugin/kubernetes: Failed to watch {resource}: {error} "
                    f"(next attempt in {pause:.2f}s)"
                )
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 2, LAST_PAUSE)

    async def _list(self, connection: _Connection, resource: str) -> str:
        """Take over all objects; return the list's resource version."""
        page = b"".join([piece async for piece in connection.get(PATHS[resource])])
        listed = orjson.loads(page)
        old = self._catalogue.keys(resource)
        for obj in listed.get("items") or ():
            self._catalogue.put(resource, obj)
            meta = obj["metadata"]
            old.discard((meta.get("namespace", ""), meta["name"]))
        for namespace, name in old:
            self._catalogue.remove(resource, namespace, name)
        self._listed.add(resource)
        async with self._news:
            self._news.notify_all()
        return str(listed["metadata"]["resourceVersion"])

    async def _watch(
        self, connection: _Connection, resource: str, revision: str
    ) -> AsyncIterator[str]:
        """Apply what changes; yield each resource version that has been taken over."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": revision,
            # As client-go does, so that not all clients come back at once.
            "timeoutSeconds": str(random.randint(300, 600)),
        }
        rest = b""
        async for piece in connection.get(f"{PATHS[resource]}?{urlencode(query)}"):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield self._apply(resource, orjson.loads(line))

    def _apply(self, resource: str, event: dict[str, Any]) -> str:
        obj = event["object"]
        if event["type"] == "ERROR":
            if obj.get("code") == 410:
                raise _GoneError(str(obj.get("message", "gone")))
            raise ApiError(f"the API ended the watch: {obj.get('message', obj)}")
        meta = obj["metadata"]
        if event["type"] == "DELETED":
            self._catalogue.remove(resource, meta.get("namespace", ""), meta["name"])
        elif event["type"] != "BOOKMARK":
            self._catalogue.put(resource, obj)
        return str(meta["resourceVersion"])


class _Connection:
    """One HTTP/1.1 connection to the API, for one request after the other."""

    def __init__(
        self, access: ApiAccess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._access = access
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, access: ApiAccess, context: ssl.SSLContext) -> _Connection:
        """Connect over TLS, within 10 s."""
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*access.address, ssl=context)
        for level, option, value in _ALIVE:
            writer.get_extra_info("socket").setsockopt(level, option, value)
        return cls(access, reader, writer)

    def close(self) -> None:
        """Close without waiting for the other side."""
        self._writer.transport.abort()

    async def get(self, target: str) -> AsyncIterator[bytes]:
        """Yield the body of a GET as it comes; raises `ApiError` unless the answer is 200."""
        host, port = self._access.address
        name = f"[{host}]" if ":" in host else host
        self._writer.write(
            f"GET {target} HTTP/1.1\r\nHost: {name}:{port}\r\nAccept: application/json\r\n"
            "User-Agent: k8slab-dns\r\n"
            f"Authorization: Bearer {self._access.token()}\r\n\r\n".encode()
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:])
        }
        if status != 200:
            body = b"".join([piece async for piece in self._body(headers)])
            kind = _GoneError if status == 410 else ApiError
            raise kind(f"GET {target.partition('?')[0]}: {status} {_message(body)}")
        async for piece in self._body(headers):
            yield piece

    async def _body(self, headers: dict[str, str]) -> AsyncIterator[bytes]:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self._reader.readline()).partition(b";")[0] or b"0", 16):
                yield (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        elif "content-length" in headers:
            yield await self._reader.readexactly(int(headers["content-length"]))
        else:
            while piece := await self._reader.read(65536):
                yield piece


def _message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
