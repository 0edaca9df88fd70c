"""exec, attach, logs and port-forward for the API server: from a pod to its processes.

The kubelets know which container of the runtime is which; nothing is kept here. Messages
are the kubelet's.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.linux import in_netns
from k8slab.embedded.runtime import logs as runtime_logs
from k8slab.embedded.runtime.spec import ContainerCannotRunError, ExecSpec
from k8slab.errors import ApiStatusError, ClusterError
from k8slab.objects.meta import name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from k8slab.embedded.apiserver.backends import LogOptions, Process
    from k8slab.embedded.controllers.kubelet.kubelets import ContainerInfo, Kubelets
    from k8slab.embedded.runtime.runtime import Runtime
    from k8slab.objects.meta import Object

_IMAGE_WORDS = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class RuntimePods:
    """`PodBackend` of a cluster whose pods are processes of one runtime."""

    def __init__(self, runtime: Runtime, control_plane: Callable[[], int]) -> None:
        self.kubelets: Kubelets | None = None
        """Set once there are any; before, no pod runs."""
        self._runtime = runtime
        self._control_plane = control_plane

    async def exec(
        self, pod: Object, container: str, argv: list[str], *, tty: bool, stdin: bool
    ) -> Process:
        """Start one more process in a container."""
        container_id = self._running(pod, container)
        try:
            return await self._runtime.exec(
                container_id, ExecSpec(tuple(argv), tty=tty, stdin=stdin)
            )
        except ContainerCannotRunError as error:
            raise statuses.internal_error(
                "error executing command in container: failed to exec in container: "
                f'failed to start exec "{container_id[:12]}": {error.message}: unknown'
            ) from error
        except ClusterError as error:
            raise _not_found(container) from error

    async def attach(self, pod: Object, container: str, *, tty: bool, stdin: bool) -> Process:
        """Hold the streams of a container's first process, which may have ended by now."""
        del tty, stdin  # the container has a terminal and an input, or has not
        info = self._info(pod, container)
        try:
            return await self._runtime.attach(info.id if info else "")
        except ClusterError as error:
            raise _not_found(container) from error

    async def connect(
        self, pod: Object, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to localhost inside the pod, by IPv4 or else IPv6."""
        netns = self.kubelets.pod_netns(pod) if self.kubelets else None
        if netns is None:
            raise statuses.internal_error(f"pod {name_of(pod)} is not running")
        refused = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        for family, address in _LOOPBACKS:
            with in_netns(netns):
                sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sock.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
            except OSError as error:
                sock.close()
                refused = refused if family == socket.AF_INET6 else error
                continue
            return await asyncio.open_connection(sock=sock)
        raise refused

    async def dial(
        self, address: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect from the control plane's node."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with in_netns(self._control_plane()):
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except BaseException:  # a caller that gives up cancels
            sock.close()
            raise
        return await asyncio.open_connection(sock=sock)

    async def logs(self, pod: Object, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Find the log of the wanted instance; raise as the kubelet does, then read it."""
        if not pod["spec"].get("nodeName"):
            return _nothing()
        info = self._info(pod, container)
        path = await asyncio.to_thread(_choose_log, info, pod, container, options.previous)
        wanted = runtime_logs.LogOptions(
            follow=options.follow,
            since=options.since or 0.0,
            tail=options.tail,
            limit=options.limit,
            timestamps=options.timestamps,
        )

        def seen() -> None:
            """Do not tell whoever attaches next what the log has told."""
            if info and not options.previous:
                with suppress(ClusterError):  # the container went meanwhile
                    self._runtime.log_seen(info.id)

        live = partial(self._runtime.live_log, str(path))
        return runtime_logs.read_log(path, wanted, live, seen=seen)

    def _info(self, pod: Object, container: str) -> ContainerInfo | None:
        return self.kubelets.container(pod, container) if self.kubelets else None

    def _running(self, pod: Object, container: str) -> str:
        info = self._info(pod, container)
        if info is None or not info.running:
            raise _not_found(container)
        return info.id


def _not_found(container: str) -> ApiStatusError:
    return statuses.internal_error(f'container not found ("{container}")')


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""  # makes this a generator


def _choose_log(info: ContainerInfo | None, pod: Object, container: str, previous: bool) -> Path:  # noqa: FBT001
    """Return the log of the present or the previous instance.

    A container that waits to be started again has no present instance: both questions mean
    the one that ended last (kubelet ``validateContainerLogStatus``).
    """
    where = f'container "{container}" in pod "{name_of(pod)}"'
    if info is not None:
        wanted = info.previous_log if previous and not info.waiting else info.log
        if wanted is not None and wanted.exists():
            return wanted
    if previous:
        raise statuses.bad_request(f"previous terminated {where} not found")
    reason = (info.waiting if info else "") or "ContainerCreating"
    words = _IMAGE_WORDS.get(reason, reason)
    raise statuses.bad_request(f"{where} is waiting to start: {words}")
