"""Process identity and user ids: pids that are not reused, ids that own nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from k8slab.errors import ClusterError

FIRST_ID = 0x7000_0000
"""The first of the ids that a cluster started by root uses: the range 1879048192 to
2147483647 is used by nobody (systemd, "Users, Groups, UIDs and GIDs on systemd systems")."""
IDS = 65_536


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Which host ids the cluster's user namespace maps, from 0 on."""

    first_user: int
    first_group: int
    count: int

    @property
    def is_range(self) -> bool:
        """Tell whether the cluster has ids of its own, not just the learner's."""
        return self.count > 1


def choose_identifiers() -> Identifiers:
    """Return an unprivileged range for root, and the caller's own id for an ordinary user.

    Root of a container whose own ids are few gets those from 1 on.
    """
    available = min(_mapped("uid"), _mapped("gid"))
    if os.geteuid() != 0 or available < 2:
        return Identifiers(os.geteuid(), os.getegid(), 1)
    if available >= FIRST_ID + IDS:
        return Identifiers(FIRST_ID, FIRST_ID, IDS)
    return Identifiers(1, 1, min(IDS, available) - 1)


def write_maps(pid: int, identifiers: Identifiers) -> None:
    """Write the maps of the user namespace that process `pid` has just made.

    Raises `ClusterError` with the map and what is needed to write it (user_namespaces(7)).
    """
    if not identifiers.is_range:
        _write(pid, "setgroups", "deny", "")
    for kind, first in (("uid", identifiers.first_user), ("gid", identifiers.first_group)):
        capability = f"CAP_SET{kind.upper()}" if identifiers.is_range else ""
        _write(pid, f"{kind}_map", f"0 {first} {identifiers.count}", capability)


def _write(pid: int, name: str, text: str, capability: str) -> None:
    try:
        Path(f"/proc/{pid}/{name}").write_text(text, encoding="ascii")
    except OSError as error:
        raise ClusterError(
            f"the {name} of the cluster's user namespace could not be written: {error.strerror}",
            hint=f"this root lacks {capability}, as in some containers: start the container with "
            "--cap-add SETUID --cap-add SETGID or --privileged, or k8slab as an ordinary user"
            if capability
            else "",
        ) from error


def _mapped(kind: str) -> int:
    """Return how many ids from 0 on this process' own user namespace has."""
    lines = Path(f"/proc/self/{kind}_map").read_text(encoding="ascii").splitlines()
    extents = [[int(part) for part in line.split()] for line in lines]
    return next((count for first, _, count in extents if first == 0), 0)


def start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since boot, or 0 when there is none.

    A pid and its start time name a process for good (proc_pid_stat(5), field 22).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(text.rpartition(")")[2].split()[19])


def open_process(pid: int, started: int) -> int | None:
    """Return a pidfd of exactly this process, or ``None`` when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if start_time(pid) == started:
        return descriptor
    os.close(descriptor)
    return None
