"""Which processes belong to a cluster, and what memory they take: proc_pid_stat(5)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a cluster."""

    pid: int
    parent: int
    name: str


def descendants(pid: int) -> list[Process]:
    """Return a process and all that descend from it, parents first."""
    children: dict[int, list[Process]] = defaultdict(list)
    first = None
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and (process := _read(directory)):
            children[process.parent].append(process)
            if process.pid == pid:
                first = process
    found = [first] if first else []
    for process in found:  # grows while it is walked
        found.extend(children[process.pid])
    return found


def proportional_bytes(pid: int) -> int:
    """Return the proportional set size of a process, 0 when it has ended or is not ours."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(directory: Path) -> Process | None:
    try:
        text = (directory / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    head, _, tail = text.rpartition(")")
    name = head.partition("(")[2]
    return Process(int(directory.name), int(tail.split()[1]), name)
