"""What the daemon asks of the zygote, and how the question travels.

A request is a tuple in a memory file, so that it may have any size; the datagram on the
zygote's socket carries only the names of the descriptors that travel along (unix(7),
SCM_RIGHTS). The child that serves the request reads the memory file and answers on its own
``status`` socket: the zygote itself never looks inside. Tuples and marshal, since what a
child does to read its request it does with pages that were shared until then: dataclasses
and pickle cost 50 pages and 0.3 ms more.

Answers on ``status`` are datagrams with a tag and a text, or descriptors; end of file
means that the program runs, since exec closes the socket. The child that made a sandbox
stays for the first container, which is asked for on the same socket.
"""

from __future__ import annotations

import array
import marshal  # both ends are one program, forked from one parent
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

_MOST_DESCRIPTORS = 32
_LONGEST = 65_536
_SPACE = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
EXIT = struct.Struct("=ii")
"""The zygote's report: a pid and its wait status (wait(2))."""


SANDBOX_NAMESPACES = ("user", "network", "ipc", "uts")
"""The order in which the namespaces of a sandbox come back; on a node's network no ``user``."""


class MakeSandbox(NamedTuple):
    """Make the namespaces of a pod, then serve a `StartContainer` in them.

    With the descriptor ``network`` it is a pod on its node's network: it stays in the
    cluster's user namespace, since only there it can have rights over that network.
    """

    hostname: str
    sysctls: tuple[tuple[str, str], ...] = ()


class Bind(NamedTuple):
    """One directory or file of the cluster's mount namespace inside a container."""

    source: str
    path: str
    read_only: bool = False


class RootPlan(NamedTuple):
    """What the root of a container is made of."""

    tools: bool = True
    size: str = "64m"
    files: tuple[tuple[str, bytes], ...] = ()
    """Path and content."""
    binds: tuple[Bind, ...] = ()
    node_roots: tuple[str, ...] = ()
    """Where the node's file system is shown, which can be a root itself (chroot(1))."""
    cluster_processes: bool = False
    """/proc shows the cluster's PID namespace, and the container stays in it."""
    writable_proc_sys: bool = False


class Program(NamedTuple):
    """What runs: an app (``module:function``) or a program found in the container's PATH."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    app: str = ""
    working_directory: str = ""
    tty: bool = False
    user: int = 0
    capabilities: int = 0
    """Bit n is capability number n (capabilities(7))."""
    inherited: tuple[str, ...] = ()
    """Names of descriptors that the app gets as ``K8SLAB_FD_<NAME>``."""


class StartContainer(NamedTuple):
    """Run a program in a root and PID namespace of its own.

    Descriptors: ``network``, ``ipc``, ``uts``, ``user`` to join, which the child that made
    them does not need; ``stdin``, ``stdout``, ``stderr``; ``target`` is the pidfd of a process
    whose PID namespace is joined.
    """

    hostname: str
    root: RootPlan
    program: Program
    processes: int
    """The most processes that the pod may have (RLIMIT_NPROC); 0 for no limit of ours."""


class JoinContainer(NamedTuple):
    """Run a program inside a running container. Descriptor: ``target``, its pidfd."""

    program: Program
    processes: int
    nested: bool
    """Whether the container has a user namespace other than the cluster's."""


Request = MakeSandbox | StartContainer | JoinContainer
_KINDS = (MakeSandbox, StartContainer, JoinContainer)
_VERSION = 2
"""Of marshal's formats the last in which reading a string does not touch an older equal one."""


def send_request(channel: socket.socket, request: Request, descriptors: dict[str, int]) -> None:
    """Send `request`; the zygote needs ``status``, too. The caller closes its own copies."""
    memory = os.memfd_create("k8slab-request", os.MFD_CLOEXEC)
    try:
        os.write(memory, marshal.dumps((_KINDS.index(type(request)), _plain(request)), _VERSION))
        names = ",".join(["request", *descriptors])
        send_descriptors(channel, names.encode(), [memory, *descriptors.values()])
    finally:
        os.close(memory)


def send_descriptors(channel: _socket.socket, tag: bytes, numbers: Sequence[int]) -> None:
    """Send a datagram with descriptors; the caller closes its own copies."""
    rights = array.array("i", numbers)
    channel.sendmsg([tag], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def receive(channel: _socket.socket) -> tuple[bytes, list[int]]:
    """Return the next datagram and the descriptors with it, which exec will close.

    (`socket.recv_fds` does not pass its flags on.)
    """
    numbers = array.array("i")
    data, ancillary, _, _ = channel.recvmsg(_LONGEST, _SPACE, _CLOEXEC)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    return data, numbers.tolist()


def receive_request(channel: _socket.socket) -> dict[str, int] | None:
    """Return the descriptors of the next request by name, or ``None`` at the end of file."""
    names, numbers = receive(channel)
    return dict(zip(names.decode().split(","), numbers, strict=True)) if names else None


def read_request(memory: int) -> Request:
    """Read what `send_request` wrote, and close it."""
    kind, parts = marshal.loads(os.pread(memory, os.fstat(memory).st_size, 0))  # noqa: S302 - ours
    os.close(memory)
    if _KINDS[kind] is MakeSandbox:
        return MakeSandbox(*parts)
    if _KINDS[kind] is StartContainer:
        hostname, (tools, size, files, binds, *more), program, processes = parts
        root = RootPlan(tools, size, files, tuple(Bind(*bind) for bind in binds), *more)
        return StartContainer(hostname, root, Program(*program), processes)
    program, processes, nested = parts
    return JoinContainer(Program(*program), processes, nested)


def _plain(value: Any) -> Any:
    """Return tuples without their names: marshal takes none of a class."""
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value
