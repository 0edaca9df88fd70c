"""PID 1 of the cluster: forks zygote and daemon, reaps, and ends when one of them ends.

When PID 1 ends the kernel kills every process of the namespace (pid_namespaces(7)),
so that nothing can be left over. It watches a pipe from the supervisor: when the
supervisor goes, in order or not, the daemon is asked to stop, and then everything ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from k8slab.embedded import linux
from k8slab.embedded.supervisor import root
from k8slab.errors import K8slabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.config import ClusterConfig

STOP_SECONDS = 2.0
"""How long the daemon may take to stop once it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """What init gets from the supervisor."""

    config: ClusterConfig
    api_sockets: list[socket.socket]
    progress: int
    """JSON lines about the start go here."""
    alive: int
    """End of file when the supervisor is gone or wants the cluster to stop."""


def run(
    inheritance: Inheritance, daemon: Callable[[Inheritance, socket.socket, int], int]
) -> NoReturn:
    """Be PID 1; `daemon` is the main function of the daemon process."""
    code = 1
    try:
        prepare()
        name_process("k8slab-init", inheritance.config.name)
        code = _supervise(inheritance, daemon)
    except (K8slabError, OSError) as error:
        tell(inheritance.progress, {"error": str(error)})
    except BaseException:  # noqa: BLE001 - the end of a process: told, then it ends
        tell(inheritance.progress, {"error": traceback.format_exc()})
    finally:
        os._exit(code)


def run_daemon(name: str, inheritance: Inheritance, zygote: socket.socket, stop: int) -> int:
    """Be the daemon: import ``module:function`` here, in the child, and call it."""
    module, _, function = name.partition(":")
    gc.disable()  # nothing that imports and a start make is garbage: the daemon enables it
    run = getattr(importlib.import_module(module), function)
    code: int = run(
        inheritance.config,
        api_sockets=inheritance.api_sockets,
        zygote=zygote,
        progress=inheritance.progress,
        stop=stop,
    )
    return code


def tell(progress: int, line: dict[str, object]) -> None:
    """Write one line about the start."""
    os.write(progress, json.dumps(line).encode() + b"\n")


def name_process(name: str, cluster: str) -> None:
    """Say in ps(1) and top(1) who this process is."""
    linux.set_process_name(name)
    linux.set_command_line([f"{name}: cluster {cluster}"])


def prepare() -> None:
    """Mount this PID namespace's own /proc and forget the learner's environment."""
    linux.mount("proc", "/proc", "proc", root.PROC_FLAGS)
    names = ("PATH", "LANG", "LC_ALL", "TZ")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME="/tmp")
    os.umask(0o022)


def _supervise(
    inheritance: Inheritance, daemon: Callable[[Inheritance, socket.socket, int], int]
) -> int:
    cluster = inheritance.config.name
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stop_read, stop_write = os.pipe2(os.O_CLOEXEC)
    api = [sock.fileno() for sock in inheritance.api_sockets]
    zygote_pid = _child("k8slab-zygote", cluster, {theirs.fileno()}, lambda: _zygote(theirs))
    daemon_pid = _child(
        "k8slab-daemon",
        cluster,
        {ours.fileno(), stop_read, inheritance.progress, *api},
        lambda: daemon(inheritance, ours, stop_read),
        progress=inheritance.progress,
    )
    for descriptor in (ours.detach(), theirs.detach(), stop_read, inheritance.progress):
        os.close(descriptor)
    for sock in inheritance.api_sockets:
        sock.close()
    return _watch({daemon_pid: "daemon", zygote_pid: "zygote"}, inheritance.alive, stop_write)


def _zygote(channel: socket.socket) -> int:
    from k8slab.embedded.runtime import images, zygote  # noqa: PLC0415

    zygote.serve(channel, images.APPS)
    return 0


def _child(
    name: str, cluster: str, keep: set[int], main: Callable[[], int], *, progress: int = -1
) -> int:
    if pid := os.fork():
        return pid
    code = 1
    try:
        name_process(name, cluster)
        linux.close_all_but({0, 1, 2, *keep})
        code = main()
    except BaseException as error:  # noqa: BLE001 - the end of a process: told, then it ends
        traceback.print_exc()
        if progress >= 0:
            tell(progress, {"error": f"{name}: {error}"})
    finally:
        sys.stderr.flush()
        os._exit(code)


def _watch(children: dict[int, str], alive: int, stop: int) -> int:
    """Reap until one of `children` ends, or the supervisor is gone and time is up."""
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake_write)
    poll = select.poll()
    poll.register(wake_read, select.POLLIN)
    poll.register(alive, select.POLLIN)
    end = float("inf")
    while (left := end - time.monotonic()) > 0:
        ended = _reap(children)
        if ended:
            return 0 if end < float("inf") else 1
        timeout = None if left == float("inf") else left * 1000
        ready = {descriptor for descriptor, _ in poll.poll(timeout)}
        if wake_read in ready:
            os.read(wake_read, 512)
        if alive in ready:
            poll.unregister(alive)
            os.close(stop)
            end = time.monotonic() + STOP_SECONDS
    sys.stderr.write(f"init: the daemon did not stop within {STOP_SECONDS} s\n")
    return 1


def _reap(children: dict[int, str]) -> bool:
    """Reap what has ended; tells whether everything must end with it."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return False
        name = children.pop(pid, "")
        code = os.waitstatus_to_exitcode(status)
        if name and code:
            sys.stderr.write(f"init: the {name} ended with {code}\n")
            sys.stderr.flush()
        # The zygote ends in good order when the daemon has let go of it: the daemon's end counts.
        if name == "daemon" or (name and code):
            return True
