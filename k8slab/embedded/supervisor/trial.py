"""Do what a cluster does, in namespaces that vanish at once, and say what each lack needs.

Settings are not read to judge, only to explain: on some machines a user namespace can
be made, and then a link in it cannot (Ubuntu 24.04's AppArmor profile).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from k8slab import programs
from k8slab.embedded import linux
from k8slab.embedded.config import ClusterPaths
from k8slab.embedded.supervisor import birth, init, spawning
from k8slab.embedded.supervisor.identity import choose_identifiers
from k8slab.embedded.supervisor.main import prepare_inside
from k8slab.errors import K8slabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k8slab.embedded.supervisor.identity import Identifiers

DEADLINE = 20.0

_NFT = """
table ip k8slab_trial {
    set names { type ipv4_addr; elements = { 10.0.0.1 }; }
    chain nat {
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr 10.0.0.1 tcp dport 80 numgen random mod 2 0 dnat to 10.0.0.2:8080
    }
    chain filter {
        type filter hook forward priority filter; policy accept;
        ct state established accept
        ip saddr @names counter log group 1 drop
        tcp dport 81 reject with tcp reset
    }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was tried."""

    what: str
    ok: bool
    detail: str = ""
    remedy: str = ""


def preflight() -> list[Check]:
    """Try everything that a cluster needs of this machine; touches nothing outside.

    Returns one check for each thing tried, in order; what follows a lack cannot be tried
    and is left out.
    """
    with _directory() as directory:
        try:
            done = subprocess.run(
                spawning.python("k8slab.embedded.supervisor.trial", directory),
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return _overdue(error.stdout or b"")
    checks = [Check(**json.loads(line)) for line in done.stdout.splitlines()]
    if done.returncode and all(check.ok for check in checks):
        checks.append(Check(what="a trial cluster", ok=False, detail=done.stderr.strip()[-500:]))
    return checks


@contextmanager
def _directory() -> Iterator[str]:
    """Give a directory for the trial, and remove it.

    What is in it belongs to an id of the trial cluster by then: a root that may not pass over
    permissions (no CAP_DAC_OVERRIDE, as in some containers) has to take it back first.
    """
    directory = tempfile.mkdtemp(prefix="k8slab-trial-")
    try:
        yield directory
    finally:
        with suppress(FileNotFoundError, PermissionError):  # what stays is told by what follows
            os.chown(ClusterPaths(Path(directory)).inside, os.geteuid(), -1)
        shutil.rmtree(directory)


def _overdue(said: bytes) -> list[Check]:
    """Return what was tried before time was up, and that it was."""
    lines = said[: said.rfind(b"\n") + 1].splitlines()
    late = Check(
        what="a trial cluster",
        ok=False,
        detail=f"did not end within {DEADLINE:g} s",
        remedy="the machine is too busy, or stuck: look at its load (uptime) and try again",
    )
    return [*(Check(**json.loads(line)) for line in lines), late]


def main(directory: str) -> int:
    """Try, in a process of its own, and print each check as a line of JSON."""
    paths = ClusterPaths(Path(directory))
    identifiers = choose_identifiers()
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    try:
        prepare_inside(paths.inside, identifiers)
        os.scandir(paths.inside).close()  # the supervisor reads what the cluster leaves there
    except PermissionError as error:
        _print(Check(what="files of another id", ok=False, detail=str(error), remedy=_FILES_REMEDY))
        return 1
    try:
        pid = birth.give_birth(paths, identifiers, set(), partial(_trial, identifiers))
    except K8slabError as error:
        what = "a root of its own" if "mount" in error.message else "user namespace"
        remedy = error.hint or _namespace_remedy()
        _print(Check(what=what, ok=False, detail=error.message, remedy=remedy))
        return 1
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _trial(identifiers: Identifiers) -> NoReturn:
    """Be PID 1 of the trial cluster."""
    ids = "ids of its own" if identifiers.is_range else "your own id"
    _print(Check(what="user namespace", ok=True, detail=f"made one, with {ids}"))
    code = 0
    for what, attempt, remedy in _ATTEMPTS:
        try:
            detail = attempt()
        except (K8slabError, OSError) as error:
            _print(Check(what=what, ok=False, detail=str(error), remedy=remedy()))
            code = 1
            break
        _print(Check(what=what, ok=True, detail=detail))
    os._exit(code)


def _proc() -> str:
    init.prepare()
    return "mounted one in a PID namespace"


def _veth() -> str:
    programs.run(["ip", "link", "add", "trial0", "type", "veth", "peer", "name", "trial1"])
    return "made one in a network namespace"


def _bridge() -> str:
    programs.run(["ip", "link", "add", "trial2", "type", "bridge"])
    return "made one"


def _nft() -> str:
    programs.run(["nft", "-f", "-"], stdin=_NFT)
    return "loaded a table with DNAT, sets, logging and reject"


def _pod() -> str:
    """Make a nested user namespace with a /proc of its own, as each pod has."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            linux.unshare(linux.CLONE_NEWUSER)
            linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
            linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWPID)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if status:
        raise K8slabError("a user namespace inside the cluster's could not be made")
    return "made one inside the cluster's"


def _print(check: Check) -> None:
    os.write(1, json.dumps(asdict(check)).encode() + b"\n")


def _namespace_remedy() -> str:
    """Say what forbids user namespaces here, by the settings that are known to."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return (
            "this is a container: start it with --privileged, or with --security-opt "
            "seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined"
        )
    for setting, bad, good in _SETTINGS:
        path = Path("/proc/sys", *setting.split("."))
        if path.exists() and path.read_text(encoding="ascii").strip() == bad:
            return f"allow user namespaces: sudo sysctl -w {setting}={good}"
    return "start the cluster as root: sudo k8slab up"


_FILES_REMEDY = (
    "this root lacks CAP_CHOWN or CAP_DAC_OVERRIDE, as in some containers: start the container "
    "with --cap-add CHOWN --cap-add DAC_OVERRIDE or --privileged, or k8slab as an ordinary user"
)

_SETTINGS = (
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user.max_user_namespaces", "0", "65536"),
)


def _modules(*names: str) -> Callable[[], str]:
    return lambda: f"load the kernel's modules: sudo modprobe -a {' '.join(names)}"


_ATTEMPTS: tuple[tuple[str, Callable[[], str], Callable[[], str]], ...] = (
    ("mount of /proc", _proc, _namespace_remedy),
    ("veth pair", _veth, _namespace_remedy),
    ("bridge", _bridge, _modules("bridge")),
    ("nft table", _nft, _modules("nf_tables", "nf_nat", "nf_conntrack", "nfnetlink_log")),
    ("pod's user namespace", _pod, _namespace_remedy),
)
