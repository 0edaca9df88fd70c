"""Liveness, readiness and startup probes: one attempt, and the counting of attempts.

TCP and HTTP probes come from the node: their sockets are made in the node's network
namespace (a socket stays where it was made), so that a NetworkPolicy sees the node as
their source. Exec probes run in the container.
Source: core/v1 ``Probe``; kubelet ``prober``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.config import KUBERNETES_MINOR
from k8slab.embedded.linux import in_netns
from k8slab.embedded.runtime.spec import ExecSpec
from k8slab.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.controllers.context import Runtime
    from k8slab.objects.meta import Object

LONGEST_ANSWER = 10 * 1024
"""Bytes of an answer or output that are read: kubelet's ``maxRespBodyLength``."""

STANDSTILL_SECONDS = 1.0
"""A time-out that comes so much too late tells of a standstill of this process."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt went; `listening` is False when nobody listened on the port."""

    passed: bool
    message: str = ""
    listening: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a probe of one container goes."""

    address: str
    container_id: str
    container: Object
    """For named ports."""


class Prober:
    """Make attempts from one node."""

    def __init__(self, runtime: Runtime, node_netns: Callable[[], int]) -> None:
        self._runtime = runtime
        self._node_netns = node_netns

    async def attempt(self, probe: Object, target: Target) -> Attempt:
        """Make one attempt, within the probe's ``timeoutSeconds``.

        An attempt in which we ourselves stood still (a computer that was suspended) says nothing
        about the container, and is made again.
        """
        seconds = probe.get("timeoutSeconds") or 1
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(seconds):
                return await self._attempt(probe, target)
        except TimeoutError:
            if clock() - began > seconds + STANDSTILL_SECONDS:
                return await self.attempt(probe, target)
            return Attempt(passed=False, message=_overdue(probe, target, seconds))
        except ClusterError as error:
            # A command that is not there, a pod with all its processes: failed, and tried again.
            return Attempt(passed=False, message=error.message)

    async def _attempt(self, probe: Object, target: Target) -> Attempt:
        if "exec" in probe:
            return await self._exec(probe["exec"].get("command") or [], target.container_id)
        if "httpGet" in probe:
            return await self._http(probe["httpGet"], target)
        if "tcpSocket" in probe:
            wanted = probe["tcpSocket"]
            return await self._tcp(wanted.get("host") or target.address, port_of(wanted, target))
        return Attempt(passed=False, message=f"unknown kind of probe: {sorted(probe)}")

    async def _exec(self, argv: list[str], container_id: str) -> Attempt:
        process = await self._runtime.exec(container_id, ExecSpec(tuple(argv)))
        try:
            streams = [s for s in (process.stdout, process.stderr) if s is not None]
            parts = await asyncio.gather(*(_all_of(stream) for stream in streams))
            code = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            raise
        return Attempt(code == 0, b"".join(parts)[:LONGEST_ANSWER].decode("utf-8", "replace"))

    async def _tcp(self, host: str, port: int) -> Attempt:
        try:
            (await self._connect(host, port)).close()
        except OSError as error:
            return Attempt(False, _dial(host, port, error), not _nobody(error))
        return Attempt(passed=True)

    async def _http(self, wanted: Object, target: Target) -> Attempt:
        host, port = wanted.get("host") or target.address, port_of(wanted, target)
        scheme = (wanted.get("scheme") or "HTTP").lower()
        path = "/" + (wanted.get("path") or "/").lstrip("/")
        url = f"{scheme}://{_shown(host)}:{port}{path}"
        try:
            opened = await self._connect(host, port)
            status = await _get(opened, path, wanted, f"{_shown(host)}:{port}")
        except (OSError, EOFError) as error:
            why = f'Get "{url}": {_dial(host, port, error)}'
            return Attempt(False, why, not _nobody(error))
        # 3xx counts as success; a redirect to another host is not followed.
        if 200 <= status < 400:
            return Attempt(passed=True)
        return Attempt(passed=False, message=f"HTTP probe failed with statuscode: {status}")

    async def _connect(self, host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with in_netns(self._node_netns()):
            opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(opened, (host, port))
        except BaseException:
            opened.close()
            raise
        return opened


async def _all_of(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end and keep its beginning: a full pipe would stop the command."""
    kept = await stream.read(LONGEST_ANSWER)
    while more := await stream.read(LONGEST_ANSWER):
        kept += more[: LONGEST_ANSWER - len(kept)]
    return kept


def port_of(wanted: Object, target: Target) -> int:
    """Return the number of a probe's port; a name is looked up in the container's ports."""
    port = wanted.get("port", 0)
    if isinstance(port, int):
        return port
    for entry in target.container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    return int(port) if str(port).isdigit() else 0


async def _get(opened: socket.socket, path: str, wanted: Object, host: str) -> int:
    """Send one GET on a connected socket and return the status code of the answer."""
    headers = {
        "Host": host,
        "User-Agent": f"kube-probe/1.{KUBERNETES_MINOR}",
        "Accept": "*/*",
        "Connection": "close",
    }
    headers.update({h["name"]: h.get("value", "") for h in wanted.get("httpHeaders") or ()})
    context: ssl.SSLContext | None = None
    if (wanted.get("scheme") or "HTTP").upper() == "HTTPS":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(
        sock=opened, ssl=context, server_hostname="" if context else None, limit=LONGEST_ANSWER
    )
    try:
        lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        first = await reader.readline()
        words = first.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            raise EOFError("malformed HTTP response" if first else "EOF")
        return int(words[1])
    finally:
        writer.transport.abort()


def _nobody(error: Exception) -> bool:
    return isinstance(error, ConnectionRefusedError)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _dial(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        # asyncio puts words of its own into strerror.
        return f"dial tcp {_shown(host)}:{port}: connect: {os.strerror(error.errno).lower()}"
    return str(error)


def _overdue(probe: Object, target: Target, seconds: int) -> str:
    if "exec" in probe:
        return f"command timed out after {seconds}s"
    wanted = probe.get("httpGet") or probe.get("tcpSocket") or {}
    address = f"{_shown(wanted.get('host') or target.address)}:{port_of(wanted, target)}"
    if "httpGet" in probe:
        path = "/" + (wanted.get("path") or "/").lstrip("/")
        return (
            f'Get "http://{address}{path}": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)"
        )
    return f"dial tcp {address}: i/o timeout"


@dataclass(slots=True)
class Counter:
    """Turn attempts into a verdict by the probe's thresholds."""

    successes: int = 0
    failures: int = 0

    def count(self, attempt: Attempt, probe: Object) -> bool | None:
        """Return the verdict that a threshold now gives, or ``None`` for no change."""
        if attempt.passed:
            self.successes, self.failures = self.successes + 1, 0
            return True if self.successes >= (probe.get("successThreshold") or 1) else None
        self.successes, self.failures = 0, self.failures + 1
        return False if self.failures >= (probe.get("failureThreshold") or 3) else None
