"""What k8slab remembers of each cluster: one directory, who made it, one lock.

``$STATE/clusters/NAME/`` is 0700. ``cluster.json`` belongs to the embedded cluster;
``provider.json`` is written for clusters of every other provider. ``up.lock`` is held
(flock(2)) while a command changes the cluster, so that two `up` at once become one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from k8slab.embedded.config import (
    ClusterPaths,
    exists,
    make_private,
    make_state_home,
    state_home,
    unusable,
)
from k8slab.errors import ClusterError, ClusterNotFoundError, EnvironmentLacksError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEFAULT_NAME = "k8slab"
NAME_VARIABLE = "K8SLAB_CLUSTER"
"""Names the cluster that commands and notebooks mean when they are not told."""

LONGEST_NAME = 40
"""The name begins node names, which are labels of at most 63 characters (RFC 1123)."""

PAUSE = 0.05
"""Seconds between two looks at a lock that somebody holds."""

_NEEDED: dict[str, tuple[str, ...]] = {"kind": (), "existing": ("kubeconfig", "context")}
"""What the record of a cluster has to name beside its provider."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def chosen_name(name: str = "") -> str:
    """Return the name that is meant, checked: the given one, ``$K8SLAB_CLUSTER``, the default."""
    name = name or os.environ.get(NAME_VARIABLE) or DEFAULT_NAME
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UsageError(
            f"{name!r} cannot be the name of a cluster",
            hint=f"use small letters, digits and '-', at most {LONGEST_NAME} characters",
        )
    return name


def names() -> list[str]:
    """Return the names of all clusters that have a directory, sorted.

    One that is damaged counts, and so does one that is closed to us: who asks for it is told.
    """
    try:
        entries = [*os.scandir(state_home() / "clusters")]
    except FileNotFoundError:
        return []
    except OSError as error:  # a file, a circle of links, somebody else's
        raise unusable(state_home(), error.strerror) from error
    return sorted(entry.name for entry in entries if _is_cluster(entry.name))


def _is_cluster(name: str) -> bool:
    try:
        return exists(ClusterPaths.of(name).config) or exists(_file(name))
    except EnvironmentLacksError:
        return True


def provider_of(name: str) -> str:
    """Return the provider that made the cluster, empty when there is no such cluster."""
    if exists(_file(name)):
        return str(read(name)["provider"])
    return "embedded" if exists(ClusterPaths.of(name).config) else ""


def read(name: str) -> dict[str, str]:
    """Return what was recorded for a cluster that is not embedded."""
    file = _file(name)
    try:
        record: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        lacks = _lacks(record)
    except FileNotFoundError as error:
        raise no_cluster(name) from error
    except (ValueError, AttributeError) as error:  # no JSON, or no object
        raise UsageError(f"{file} is damaged: {error}", hint=f"remove it: rm {file}") from error
    if lacks:
        raise UsageError(f"{file} is damaged: it names no {lacks}", hint=f"remove it: rm {file}")
    return record


def _lacks(record: dict[str, str]) -> str:
    """Return what a record should name and does not; empty when nothing is missing."""
    needed = _NEEDED.get(str(record.get("provider")))
    if needed is None:
        return f"provider among {', '.join(_NEEDED)}"
    return next((key for key in needed if not isinstance(record.get(key), str)), "")


def _file(name: str) -> Path:
    return ClusterPaths.of(name).root / "provider.json"


def write(name: str, record: dict[str, str]) -> None:
    """Record a cluster; the file is whole or not there at all."""
    root = directory(name)
    beside = root / f".provider.json.{os.getpid()}"
    beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    beside.replace(root / "provider.json")


def forget(name: str) -> None:
    """Remove the directory of a cluster; `ClusterError` says what cannot be removed and why."""
    root = ClusterPaths.of(name).root
    shutil.rmtree(root, ignore_errors=True)
    if not exists(root):
        return
    try:  # what is left has a reason, which is told now
        shutil.rmtree(root)
    except OSError as error:
        raise ClusterError(
            f"not all of the cluster {name} could be removed: {error.filename}: {error.strerror}",
            hint=f"nothing of it runs any more; remove what is left: sudo rm -r {root}",
        ) from error


def directory(name: str) -> Path:
    """Return the directory of a cluster, made (0700) where it is missing."""
    return make_private(ClusterPaths.of(name).root)


@contextmanager
def locked(name: str, *, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the cluster's lock; `waiting` is told once when another command holds it."""

    def said(_holder: str) -> None:
        waiting(f"another command works on the cluster {name}; waiting for it")

    make_private(make_state_home() / "clusters")
    with exclusive(name, waiting=said):
        yield


@contextmanager
def exclusive(
    name: str, *, waiting: Callable[[str], None], holder: str = "", patience: float = 0.0
) -> Iterator[bool]:
    """Hold the lock of this name in the state directory; give whether there was a wait for it.

    Who has to wait for more than `patience` seconds is told once what the other one gave as
    `holder`. Ctrl-C ends the wait, and the kernel frees the lock of a process that was killed.
    """
    file = make_private(make_state_home() / "locks") / f"{name}.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags, 0o600), "r+b", buffering=0) as held:
        had_to_wait = not _taken(held, patience)
        if had_to_wait:
            waiting(held.readline().decode().rstrip())
            fcntl.flock(held, fcntl.LOCK_EX)
        line = f"{holder}\n".encode()
        with suppress(OSError):  # the disk is full: held all the same, by one without a name
            os.pwrite(held.fileno(), line, 0)  # in one go: it may be read at any time
            held.truncate(len(line))
        yield had_to_wait


def _taken(file: BinaryIO, patience: float) -> bool:
    """Try to take the lock, again and again while patience lasts; flock(2) knows no deadline."""
    ends = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= ends:
                return False
            threading.Event().wait(PAUSE)
        else:
            return True


def no_cluster(name: str) -> ClusterNotFoundError:
    """Return the error that there is no cluster of this name."""
    known = ", ".join(names())
    option = "" if name == DEFAULT_NAME else f" --name {name}"
    hint = f"make it: k8slab up{option}" + (f"; there are: {known}" if known else "")
    return ClusterNotFoundError(f"there is no cluster named {name!r}", hint=hint)
