"""How the cluster's first process comes to be, in namespaces of its own.

    supervisor -- fork --> midwife        builds the root, makes the namespaces
                              `-- fork --> init       PID 1 there

The midwife ends at once and leaves init to the supervisor, its subreaper. One order
serves both: root builds the root first and then enters a user namespace of unprivileged
ids, an ordinary user must enter it before anything else is allowed.
"""

from __future__ import annotations

import os
import socket
import traceback
from typing import TYPE_CHECKING, NoReturn

from k8slab.embedded import linux
from k8slab.embedded.supervisor import root
from k8slab.embedded.supervisor.identity import Identifiers, write_maps
from k8slab.errors import ClusterError, K8slabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.config import ClusterPaths

_NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS


def give_birth(
    paths: ClusterPaths,
    identifiers: Identifiers,
    keep: set[int],
    first: Callable[[], NoReturn],
) -> int:
    """Fork init, which runs `first` with the descriptors `keep`; returns its pid.

    The caller must be a subreaper. Raises `ClusterError` with what failed.
    """
    mountpoint = paths.root / "root"
    mountpoint.mkdir(exist_ok=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    midwife = os.fork()
    if midwife == 0:
        ours.close()
        linux.close_all_but({0, 1, 2, theirs.fileno(), *keep})
        _be_midwife(paths, identifiers, theirs, first)
    theirs.close()
    try:
        with ours:  # closed before anybody waits: a midwife that nobody answers ends then
            return _converse(ours, midwife, identifiers)
    finally:
        os.waitpid(midwife, 0)


def _converse(channel: socket.socket, midwife: int, identifiers: Identifiers) -> int:
    while data := channel.recv(65_536):
        tag, _, text = data.decode().partition(" ")
        if tag == "map":
            write_maps(midwife, identifiers)
            channel.send(b"mapped")
        elif tag == "init":
            return int(text)
        else:
            raise ClusterError(f"the cluster's namespaces could not be made: {text}")
    raise ClusterError("the process that makes the cluster's namespaces died")


def _be_midwife(
    paths: ClusterPaths,
    identifiers: Identifiers,
    channel: socket.socket,
    first: Callable[[], NoReturn],
) -> NoReturn:
    try:
        os.umask(0o022)
        pid = _make_namespaces(paths, identifiers, channel)
        if pid == 0:
            channel.close()
            first()
        channel.send(f"init {pid}".encode())
    except (K8slabError, OSError) as error:
        channel.send(f"error {error}".encode())
    except BaseException:  # noqa: BLE001 - the end of a process: told, then it ends
        channel.send(f"error {traceback.format_exc()}".encode())
    finally:
        os._exit(0)


def _make_namespaces(paths: ClusterPaths, identifiers: Identifiers, channel: socket.socket) -> int:
    """Enter the namespaces and fork; returns as fork(2) does."""
    if identifiers.is_range:
        linux.unshare(linux.CLONE_NEWNS)
        root.build(paths.root / "root", paths.inside, identifiers.first_user)
    linux.unshare(linux.CLONE_NEWUSER)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)  # else /proc/self belongs to the host's root
    channel.send(b"map")
    if channel.recv(16) != b"mapped":
        raise ClusterError("the supervisor could not map the cluster's ids")
    if identifiers.is_range:
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)
    linux.unshare(_NAMESPACES)
    if not identifiers.is_range:
        root.build(paths.root / "root", paths.inside, 0)
    linux.unshare(linux.CLONE_NEWPID)  # last: the next child is the first process in there
    return os.fork()
