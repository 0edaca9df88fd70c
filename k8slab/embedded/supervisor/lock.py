"""The files that say whether a cluster runs: its lock, and the one of whoever starts it.

``supervisor.lock`` is held (flock(2)) by the supervisor and names it. ``starting.lock``
is held by whoever starts the cluster, then by the supervisor until the cluster is
ready; so a second start waits for the first, however that one ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.supervisor.identity import start_time
from k8slab.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

    from k8slab.embedded.config import ClusterPaths


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What ``supervisor.lock`` says: processes by pid and start time."""

    pid: int
    started: int
    init_pid: int = 0
    init_started: int = 0


def starting_lock(paths: ClusterPaths) -> Path:
    """Return the path of the lock that a start holds."""
    return paths.root / "starting.lock"


def open_lock(path: Path) -> int:
    """Open a lock file, making it; the lock goes with the last copy of the descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def is_held(path: Path) -> bool:
    """Tell whether somebody holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def write_record(descriptor: int, *, init_pid: int = 0) -> None:
    """Name this process, and init once it is there, in the lock file."""
    record = Record(
        pid=os.getpid(),
        started=start_time(os.getpid()),
        init_pid=init_pid,
        init_started=start_time(init_pid) if init_pid else 0,
    )
    text = json.dumps(asdict(record)).encode()
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))


def former_record(descriptor: int) -> Record | None:
    """Return who held the lock that we hold now and did not end in an orderly way, if anybody."""
    try:
        return Record(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):  # empty: the end was an orderly one
        return None


def clear_record(descriptor: int) -> None:
    """Name nobody: the end was an orderly one."""
    os.ftruncate(descriptor, 0)


def read_record(path: Path) -> Record | None:
    """Return who is named in the lock file, alive or not; ``None`` when nobody is.

    Raises `ClusterError` when it cannot be read although the lock is held.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    if not text:
        return None
    try:
        return Record(**json.loads(text))
    except (ValueError, TypeError) as error:
        if not is_held(path):
            return None
        raise ClusterError(
            f"{path} does not say who holds it: {error}",
            hint=f"remove it: rm {path}\n  its cluster ends then, and `k8slab up` starts it anew",
        ) from error
