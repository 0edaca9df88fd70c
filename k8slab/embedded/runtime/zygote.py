"""The process from which every pod process is forked.

It has one thread and has imported every app, so that a fork is cheap, shares its
memory with its siblings and may unshare what it likes (a process with threads can not
make a user namespace, and one that has unshared a PID namespace can start no thread).

It does as little as possible: for each request it forks a child that serves it (see
`launch`), and as subreaper (prctl(2)) it inherits the processes that those children
leave behind and reports to the daemon how each of them ended.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import sys
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.embedded.runtime import capabilities, launch, pause, rootfs
from k8slab.embedded.runtime.messages import EXIT, receive_request

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable


def serve(channel: socket.socket, apps: Iterable[str]) -> None:
    """Serve requests on `channel` (unix, SOCK_SEQPACKET) until the daemon closes it."""
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    gc.disable()  # nothing that an import makes is garbage
    _preload([*apps, pause.NAME])
    gc.enable()
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake_write)
    rootfs.host_settings()  # what is read once here, no child reads
    capabilities.last()
    linux.ids()
    gc.collect()
    gc.freeze()  # a collection in a child would otherwise write to every shared page
    helpers: set[int] = set()
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if wake_read in ready:
            os.read(wake_read, 512)
            _report_exits(channel, helpers)
        if channel.fileno() in ready:
            descriptors = receive_request(channel)
            if descriptors is None:
                return
            helpers.add(_fork(descriptors, [channel.fileno(), wake_read, wake_write]))


def _fork(descriptors: dict[str, int], own: list[int]) -> int:
    pid = linux.fork()
    if pid == 0:
        for descriptor in own:
            os.close(descriptor)
        launch.serve(descriptors)
    for descriptor in descriptors.values():
        os.close(descriptor)
    return pid


def _report_exits(channel: socket.socket, helpers: set[int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in helpers:
            helpers.discard(pid)
        else:
            channel.send(EXIT.pack(pid, status))


def _preload(apps: Iterable[str]) -> None:
    """Import the apps; one that cannot be imported is told when a container wants it."""
    for app in apps:
        try:
            importlib.import_module(app.partition(":")[0])
        except ImportError as error:
            sys.stderr.write(f"zygote: the app {app} is not available: {error}\n")
