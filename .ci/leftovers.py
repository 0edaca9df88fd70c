"""Run a command, and fail when it leaves something behind on this machine.

usage: leftovers.py COMMAND [ARGUMENT ...]

Processes are found exactly, whatever else runs here: we are their subreaper (prctl(2),
PR_SET_CHILD_SUBREAPER), so that whoever loses its parent becomes our child. Mounts, named
network namespaces, links and nft tables of the host are compared before and after.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36

GRACE = 5.0
"""Seconds in which processes that are ending may end."""


def host_state() -> dict[str, set[str]]:
    """Return what a run could leave in the host's namespaces, each kind as a set of lines."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    state = {
        "mount": {line.split()[4] for line in mounts},
        "network namespace": {entry.name for entry in Path("/run/netns").glob("*")},
        "link": {entry.name for entry in Path("/sys/class/net").iterdir()},
    }
    if nft := shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        done = subprocess.run([nft, "list", "tables"], capture_output=True, text=True, check=False)
        state["nft table"] = set(done.stdout.splitlines())
    return state


def children() -> dict[int, str]:
    """Return our living children with their command lines."""
    listed = Path("/proc/self/task").glob("*/children")
    pids = [int(pid) for file in listed for pid in file.read_text(encoding="ascii").split()]
    found = {}
    for pid in pids:
        try:
            ended = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
            if ended.split()[0] != "Z":
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                found[pid] = command.decode(errors="replace")[:200]
        except FileNotFoundError:
            continue
    return found


def run(argv: list[str]) -> int:
    """Run the command to its end; reap every orphan at once, as a machine's init does."""
    process = subprocess.Popen(argv)
    while process.returncode is None:
        pid, status = os.wait()
        if pid == process.pid:
            process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode


def main(argv: list[str]) -> int:
    """Run the command and compare; return its exit code, or 1 when something was left."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = host_state()
    code = run(argv)
    ends = time.monotonic() + GRACE
    while children() and time.monotonic() < ends:
        time.sleep(0.1)  # they are not ours to wait for: they may be anybody's orphans
    left = [f"process {pid}: {command}" for pid, command in children().items()]
    for kind, lines in host_state().items():
        left += [f"{kind}: {line}" for line in sorted(lines - before.get(kind, set()))]
    for line in left:
        print(f"left behind: {line}", file=sys.stderr)  # noqa: T201
    if left:
        return code or 1
    print("nothing was left behind: no process, mount, namespace, link or table")  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
