"""The supervisor: the one process of a cluster that stays in the host's namespaces.

It holds the lock, makes the listening sockets, starts init in namespaces of its own,
relays what the daemon says about the start, and waits: for a signal, for the end of
init, or for its own directory to disappear. It ends when init does, and by closing its
pipe to init it ends the cluster.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded import credentials, linux
from k8slab.embedded.config import ClusterConfig, ClusterPaths
from k8slab.embedded.supervisor import birth, bytecode, init, lock
from k8slab.embedded.supervisor.identity import Identifiers, choose_identifiers, open_process
from k8slab.errors import ClusterError, K8slabError

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_SECONDS = 3.0
"""How long init may take to end before it is killed."""
LEFTOVER_SECONDS = 30.0
"""How long what a killed supervisor left may take to be gone once it is killed, too."""
LINE_LIMIT = 65_536
"""Bytes of one line about the start; ours have some hundred."""


def main(order: str) -> int:
    """Be the supervisor, as the JSON `order` says.

    It has ``root``, ``config`` and ``daemon``, and the numbers of two descriptors:
    ``report``, a pipe to the caller, and ``starting``, the lock of a start.
    """
    wanted = json.loads(order)
    os.chdir("/")
    os.umask(0o077)
    paths = ClusterPaths(Path(wanted["root"]))
    report = Report(wanted["report"], wanted["starting"])
    try:
        config = ClusterConfig(**wanted["config"])
        return supervise(
            Supervisor(paths, config, report), partial(init.run_daemon, wanted["daemon"])
        )
    except (K8slabError, OSError) as error:
        report.error(str(error))
        return 1


def supervise(
    supervisor: Supervisor, daemon: Callable[[init.Inheritance, socket.socket, int], int]
) -> int:
    """Run a cluster from start to end; returns the exit code."""
    try:
        return supervisor.run(daemon)
    finally:
        supervisor.close()


class Report:
    """The pipe to whoever called for the start; that one may be gone already."""

    def __init__(self, pipe: int, starting: int) -> None:
        self.pipe = pipe
        self._starting = starting
        self.done = False
        self.failed = False

    def line(self, text: bytes) -> None:
        """Pass one line on."""
        if not self.done:
            with suppress(BrokenPipeError):  # poll(2) tells that, too
                os.write(self.pipe, text + b"\n")

    def error(self, text: str) -> None:
        """Say, once, that the start failed; its end is the end of this process."""
        if not self.failed:
            self.failed = True
            self.line(json.dumps({"error": text}).encode())

    def ready(self, text: bytes) -> None:
        """Say that the start is over, and let another start look."""
        os.close(self._starting)  # first: the caller may look at once
        self.line(text)
        self.done = True
        os.close(self.pipe)


class Supervisor:
    """One cluster's supervisor."""

    def __init__(self, paths: ClusterPaths, config: ClusterConfig, report: Report) -> None:
        self.paths = paths
        self.config = config
        self.report = report
        self._lock = -1
        self._recorded = False
        self._alive = -1
        self._init = 0
        self._end = float("inf")
        self._buffer = b""

    def run(self, daemon: Callable[[init.Inheritance, socket.socket, int], int]) -> int:
        """Run the cluster from start to end; returns the exit code."""
        wake = _wake_on_signals()
        self._lock = lock.open_lock(self.paths.lock)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._end_leftover()
        lock.write_record(self._lock)
        self._recorded = True
        bytecode.refresh()
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        identifiers = choose_identifiers()
        listener = self._listen()
        prepare_inside(self.paths.inside, identifiers)
        progress_read, progress_write = os.pipe2(os.O_CLOEXEC)
        alive_read, self._alive = os.pipe2(os.O_CLOEXEC)
        inheritance = init.Inheritance(
            config=self.config,
            api_sockets=[listener],
            progress=progress_write,
            alive=alive_read,
        )
        keep = {listener.fileno(), progress_write, alive_read}
        pid = birth.give_birth(self.paths, identifiers, keep, lambda: init.run(inheritance, daemon))
        self._init = pid
        lock.write_record(self._lock, init_pid=pid)
        listener.close()
        os.close(progress_write)
        os.close(alive_read)
        return self._watch(pid, wake, progress_read)

    def close(self) -> None:
        """Say that the end was an orderly one, if init has ended before us.

        A record that is not ours stays: it names a leftover, for the next start to end.
        """
        if self._recorded and not self._init:
            lock.clear_record(self._lock)

    def _end_leftover(self) -> None:
        """End the init of a supervisor that was killed: two daemons would write to one store.

        It would end by itself, but the kernel has freed the lock already.
        """
        record = lock.former_record(self._lock)
        if not (record and record.init_pid):
            return
        pidfd = open_process(record.init_pid, record.init_started)
        if pidfd is None:
            return
        # Init is the last of its namespace to be gone (pid_namespaces(7)).
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        ended = poll.poll(LEFTOVER_SECONDS * 1000)
        os.close(pidfd)
        if not ended:
            raise ClusterError(
                f"what is left of this cluster does not end: process {record.init_pid}",
                hint="it is being killed; try again in a while, or restart the machine",
            )

    def _listen(self) -> socket.socket:
        """Listen on the cluster's own port of the loopback, and keep its number."""
        try:
            listener = _bound(self.config.api_port)
        except OSError as error:
            text = f"port {self.config.api_port} is taken ({error.strerror}); taking a free one"
            self.report.line(json.dumps({"step": "listen", "message": text}).encode())
            listener = _bound_anywhere()
        self.config = replace(self.config, api_port=listener.getsockname()[1])
        new = self.paths.config.with_suffix(".new")
        new.write_text(self.config.to_json(), encoding="utf-8")
        new.rename(self.paths.config)
        return listener

    def _watch(self, pid: int, wake: int, progress: int) -> int:
        """Relay and wait until init has ended; returns the exit code."""
        pidfd = os.pidfd_open(pid)
        watch = linux.watch_file(str(self.paths.lock))
        moved = linux.watch_file(str(self.paths.root))
        poll = select.poll()
        for descriptor in (wake, pidfd, progress, watch, moved):
            poll.register(descriptor, select.POLLIN)
        caller = self.report.pipe
        poll.register(caller, 0)  # says POLLERR when nobody reads any more (pipe(7), poll(2))
        while True:
            left = self._end - time.monotonic()
            if left <= 0:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            timeout = None if left == float("inf") or left <= 0 else left * 1000
            ready = {descriptor for descriptor, _ in poll.poll(timeout)}
            if progress in ready and not self._relay(progress):
                poll.unregister(progress)
                os.close(progress)
            if caller >= 0 and (caller in ready or self.report.done):
                poll.unregister(caller)
                caller = -1
                if not self.report.done:
                    sys.stderr.write("supervisor: the caller of the start is gone\n")
                    self._stop()
            if pidfd in ready:
                return self._bury(pid)
            if wake in ready:
                os.read(wake, 512)
                self._stop()
            for descriptor in {watch, moved} & ready:
                os.read(descriptor, 4096)
                if not self._exists():
                    sys.stderr.write("supervisor: the cluster's directory is gone\n")
                    self._stop()

    def _stop(self) -> None:
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
            self._end = time.monotonic() + STOP_SECONDS

    def _bury(self, pid: int) -> int:
        _, status = os.waitpid(pid, 0)
        self._init = 0
        code = os.waitstatus_to_exitcode(status)
        if self._alive >= 0:
            sys.stderr.write(f"supervisor: init ended by itself with {code}\n")
        self.report.error("the cluster ended before it was ready")
        return abs(code)

    def _relay(self, progress: int) -> bool:
        """Pass the daemon's lines on to the caller; tells whether there may be more."""
        data = os.read(progress, LINE_LIMIT)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > LINE_LIMIT:
            lines.append(self._buffer)
            self._buffer = b""
        for line in lines:
            self._hear(line)
        return bool(data) and not self.report.done  # once it was ready nobody has more to say

    def _hear(self, line: bytes) -> None:
        """Take one line of the daemon, or of a pod that has got hold of the pipe, at its word."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            message = {"error": f"the daemon said what is no message: {line[:100]!r}"}
        try:
            if message.get("ready") and not self.report.done:
                self._publish_kubeconfig()
                self.report.ready(line)
        except (K8slabError, OSError) as error:
            message = {"error": str(error)}
        if "error" in message:
            self.report.error(str(message["error"]))
            self._stop()
        elif not message.get("ready"):
            self.report.line(line)

    def _publish_kubeconfig(self) -> None:
        """Take the credentials out of the directory that the cluster can write to."""
        name = f"k8slab-{self.config.name}"
        server = f"https://127.0.0.1:{self.config.api_port}"
        try:
            text = credentials.take_over(self.paths.inside / "kubeconfig", name, server)
        except FileNotFoundError:
            return
        credentials.write(self.paths.kubeconfig, text)

    def _exists(self) -> bool:
        """Tell whether the lock file at its path is still the one that we hold."""
        try:
            return os.path.samestat(self.paths.lock.stat(), os.fstat(self._lock))
        except FileNotFoundError:
            return False


def prepare_inside(inside: Path, identifiers: Identifiers) -> None:
    """Make the cluster's own directory, owned by its first id."""
    inside.mkdir(mode=0o700, exist_ok=True)
    if not identifiers.is_range or inside.stat().st_uid == identifiers.first_user:
        return
    for directory, names, files in os.walk(inside):
        for name in (".", *names, *files):
            path = Path(directory, name)
            os.chown(path, identifiers.first_user, identifiers.first_group, follow_symlinks=False)


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def _bound_anywhere() -> socket.socket:
    try:
        return _bound(0)
    except OSError as error:
        raise ClusterError(
            f"no port of 127.0.0.1 is free for the API: {error.strerror}",
            hint="see who listens: ss -ltnp; is the interface lo up? ip link show lo",
        ) from error


def _wake_on_signals() -> int:
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake_write)
    return wake_read
