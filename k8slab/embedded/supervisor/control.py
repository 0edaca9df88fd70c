"""Start, stop and look at clusters, from the command line or a notebook."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.embedded.config import make_private, make_state_home
from k8slab.embedded.supervisor import lock, memory, spawning
from k8slab.embedded.supervisor.identity import open_process
from k8slab.errors import ClusterError, ClusterNotReadyError, EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from k8slab.embedded.config import ClusterConfig, ClusterPaths

DAEMON = "k8slab.embedded.daemon:run"
"""What runs as the cluster's daemon, with the arguments of `init.run_daemon`."""
LOG_LINES = 15
"""Lines of the cluster's log that an error shows."""
LOG_TAIL = 16_384
"""Bytes at its end that are read for that."""
DISK_NEEDED = 4 * 1024 * 1024
"""Free bytes without which a start would fail halfway."""
LOG_LIMIT = 4 * 1024 * 1024
"""Bytes of a log that a start keeps; a longer one is begun anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A cluster that runs."""

    pid: int
    """Of its supervisor."""
    seconds: float
    already_running: bool
    ready: dict[str, Any] = field(default_factory=dict)
    """What the daemon said when it was ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """What runs of a cluster; a pid is 0 where there is no such process."""

    state: str
    """``running``, ``starting``, ``stopped``, or ``stale``: it did not end in an orderly way."""
    supervisor_pid: int = 0
    init_pid: int = 0
    daemon_pid: int = 0
    zygote_pid: int = 0
    memory_bytes: int = 0
    """Of all its processes, pods included (proportional set size)."""

    @property
    def running(self) -> bool:
        """Tell whether there is a cluster to talk to."""
        return self.state == "running"


def start(
    config: ClusterConfig, paths: ClusterPaths, *, on_progress: Callable[[dict[str, Any]], None]
) -> Started:
    """Start the cluster and return once it is ready; one that runs already is left alone.

    `on_progress` gets what the daemon says on its way, as dicts. When another start is
    under way, this one waits for it. Interrupted (Ctrl-C), it takes the half-started
    cluster down. Raises `ClusterNotReadyError` with the daemon's error and log.
    """
    began = time.monotonic()
    _make_directories(paths)
    starting = _wait_for_turn(paths, on_progress)
    try:
        if lock.is_held(paths.lock) and (record := lock.read_record(paths.lock)):
            seconds = time.monotonic() - began
            return Started(pid=record.pid, seconds=seconds, already_running=True)
        _demand_disk(paths)
        report = _spawn(config, paths, starting)
    finally:
        os.close(starting)
    try:
        with os.fdopen(report, "rb") as lines:
            ready = _follow(lines, paths, on_progress)
    except BaseException as error:
        # The supervisor ends when nobody listens before the cluster is ready.
        os.close(_wait_for_turn(paths, lambda _message: None))
        if isinstance(error, ClusterNotReadyError):
            _explain(error, paths)
        raise
    record = lock.read_record(paths.lock)
    return Started(
        pid=record.pid if record else 0,
        seconds=time.monotonic() - began,
        already_running=False,
        ready=ready,
    )


def stop(paths: ClusterPaths, deadline: float = 10.0) -> bool:
    """Stop the cluster and return when nothing of it is left; tells whether it ran.

    After `deadline` seconds it is killed, which ends all of it just as well.
    """
    record = lock.read_record(paths.lock)
    if record is None:
        return False
    processes = [
        open_process(record.pid, record.started),
        open_process(record.init_pid, record.init_started) if record.init_pid else None,
    ]
    pidfds = [pidfd for pidfd in processes if pidfd is not None]
    try:
        if processes[0] is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(processes[0], signal.SIGTERM)
        if not _wait_for(pidfds, deadline):
            for pidfd in pidfds:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if not _wait_for(pidfds, deadline):
                raise ClusterError(f"processes {record.pid} and {record.init_pid} do not end")
    finally:
        for pidfd in pidfds:
            os.close(pidfd)
    return bool(pidfds)


def status(paths: ClusterPaths) -> ClusterStatus:
    """Look at a cluster's processes; touches nothing."""
    record = lock.read_record(paths.lock)
    if record is None:
        return ClusterStatus(state="stopped")
    if not lock.is_held(paths.lock):
        return ClusterStatus(state="stale")
    family = memory.descendants(record.pid)
    by_name = {process.name: process.pid for process in reversed(family)}
    return ClusterStatus(
        state="starting" if lock.is_held(lock.starting_lock(paths)) else "running",
        supervisor_pid=record.pid,
        init_pid=record.init_pid,
        daemon_pid=by_name.get("k8slab-daemon", 0),
        zygote_pid=by_name.get("k8slab-zygote", 0),
        memory_bytes=sum(memory.proportional_bytes(process.pid) for process in family),
    )


def _make_directories(paths: ClusterPaths) -> None:
    make_state_home()
    make_private(paths.root)


def _demand_disk(paths: ClusterPaths) -> None:
    free = shutil.disk_usage(paths.root).free
    if free < DISK_NEEDED:
        raise EnvironmentLacksError(
            f"the disk that holds {paths.root} is full: {free / 2**20:.1f} MiB are free",
            hint=f"a cluster needs {DISK_NEEDED / 2**20:.0f} MiB: make room, or move the state "
            "directory (export K8SLAB_HOME=DIRECTORY)",
        )


def _wait_for_turn(paths: ClusterPaths, on_progress: Callable[[dict[str, Any]], None]) -> int:
    starting = lock.open_lock(lock.starting_lock(paths))
    try:
        try:
            fcntl.flock(starting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_progress({"step": "wait", "message": "waiting for another start of this cluster"})
            fcntl.flock(starting, fcntl.LOCK_EX)
    except BaseException:
        os.close(starting)
        raise
    return starting


def _spawn(config: ClusterConfig, paths: ClusterPaths, starting: int) -> int:
    """Start the supervisor in a session of its own; returns the pipe with its report."""
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    order = {
        "root": str(paths.root),
        "config": asdict(config),
        "daemon": DAEMON,
        "report": report_write,
        "starting": starting,
    }
    try:
        with _open_log(paths.log) as log:
            subprocess.run(
                spawning.python(
                    "k8slab.embedded.supervisor.main", json.dumps(order), detached=True
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(report_write, starting),
                start_new_session=True,
                check=True,
            )
    except BaseException:
        os.close(report_read)
        raise
    finally:
        os.close(report_write)
    return report_read


def _open_log(path: Path) -> Any:
    mode = "wb" if path.exists() and path.stat().st_size > LOG_LIMIT else "ab"
    return path.open(mode)


def _follow(
    lines: Any, paths: ClusterPaths, on_progress: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    for line in lines:
        message: dict[str, Any] = json.loads(line)
        if message.get("ready"):
            return message
        if "error" in message:
            raise ClusterNotReadyError(
                f"the cluster did not start: {message['error']}", hint=_log_end(paths)
            )
        on_progress(message)
    raise ClusterNotReadyError("the supervisor died while it started", hint=_log_end(paths))


def _explain(error: ClusterNotReadyError, paths: ClusterPaths) -> None:
    """Raise `EnvironmentLacksError` when the machine lacks what a cluster needs."""
    _demand_disk(paths)
    from k8slab.embedded.supervisor.trial import preflight  # noqa: PLC0415

    for check in preflight():
        if not check.ok:
            raise EnvironmentLacksError(
                f"this machine cannot run a cluster: {check.what}: {check.detail}",
                hint=check.remedy,
            ) from error


def _log_end(paths: ClusterPaths) -> str:
    if not paths.log.exists():
        return f"its log {paths.log} is gone"
    with paths.log.open("rb") as file:
        # A pod with the rights of the cluster can write to it: as much as it likes, and anything.
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL))
        text = file.read(LOG_TAIL).decode(errors="replace")
    shown = "".join(
        one if one.isprintable() or one in "\t\n" else "\N{REPLACEMENT CHARACTER}" for one in text
    )
    lines = shown.splitlines()[-LOG_LINES:]
    return "\n  ".join([f"the end of its log, {paths.log}:", *lines])


def _wait_for(pidfds: list[int], deadline: float) -> bool:
    """Wait until all these processes have ended; tells whether they have."""
    end = time.monotonic() + deadline
    poll = select.poll()
    waiting = set(pidfds)
    for pidfd in waiting:
        poll.register(pidfd, select.POLLIN)
    while waiting:
        ready = poll.poll(max(0.0, end - time.monotonic()) * 1000)
        if not ready:
            return False
        for pidfd, _ in ready:
            poll.unregister(pidfd)
            waiting.discard(pidfd)
    return True
