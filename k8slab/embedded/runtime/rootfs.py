"""The root of a container: a small tmpfs of its own with read-only binds of programs.

Nothing of the host is in it but programs, libraries and public settings: no home, no
state directory, no socket. The cluster's own root (see the supervisor) is what is bound
from, so what is read-only there can never be made writable here (mount_namespaces(7)).
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.embedded.runtime import capture

if TYPE_CHECKING:
    from k8slab.embedded.runtime.messages import RootPlan

SCRATCH = "/run/root"
"""An empty directory of the cluster's root, on which a container's root is built."""
RUN = Path("/run/k8slab")
"""A tmpfs of the cluster's root that daemon and zygote share: volumes, certificates."""
CERTIFICATES = RUN / "certificates"
"""Bound to /etc/ssl/certs: the machine's trusted certificates and the world's."""

PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAM_DIRECTORIES = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
NODES = RUN / "nodes"
"""A directory for each node, with what it has of its own below it (`config.CNI_DIRECTORY`)."""
SHIM = RUN / "tcpdump"
"""Stands in for tcpdump where the cluster has a single id; see `capture`."""
PYTHON = "/opt/k8slab/python"
"""The Python that runs k8slab, for the shim, where it is not among the programs."""

_ETC_BINDS = ("alternatives", "iproute2", "ld.so.cache", "terminfo")
_ETC_COPIES = ("protocols", "services", "ethertypes", "inputrc", "ld.so.conf", "ssl/openssl.cnf")
"""For programs; the apps read none of them."""
_ETC = {
    "passwd": b"root:x:0:0:root:/root:/bin/sh\n"
    b"tcpdump:x:100:100:tcpdump drops to this user:/:/usr/sbin/nologin\n"
    b"nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": b"root:x:0:\ntty:x:5:\ntcpdump:x:100:\nnogroup:x:65534:\n",
    "nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n"
    b"protocols: files\nservices: files\n",
    "hosts": b"127.0.0.1\tlocalhost\n",
    "resolv.conf": b"",
}
_EMPTY = (
    "root",
    "tmp",
    "run",
    "var",
    "var/log",
    "var/tmp",
    "mnt",
    "opt",
    "srv",
    "home",
    "proc",
    "etc",
    "etc/ssl",
    "etc/ssl/certs",
)
_OPEN = 0o1777
_OLD = "/.cluster"
"""Where the cluster's root is, covered, while a container's is built."""


def build(plan: RootPlan, hostname: str) -> None:
    """Pivot into a new tmpfs and make it the root that `plan` describes, up to /proc.

    The caller has a new mount namespace. All is built from inside, so that no symlink of the
    new root can lead out of it. The cluster's root lies at `_OLD`, but something empty and
    read-only covers it: a link in a volume could lead a mount point there, where each node's
    files and the cluster's keys are. Our working directory is the one below the cover, and
    what is bound is named from it. `finish` does the rest:
    the process that builds leaves a megabyte of pages that it wrote to, which therefore is
    not the one that stays.
    """
    linux.mount("tmpfs", SCRATCH, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, _size(plan.size))
    os.mkdir(SCRATCH + _OLD)
    linux.pivot_root(SCRATCH, SCRATCH + _OLD)
    os.chdir(_OLD)
    linux.mount(f".{SCRATCH}", _OLD, flags=linux.MS_BIND)  # of the cluster's root: read-only
    for name in _EMPTY:
        os.mkdir(f"/{name}", 0o755)
    for name in ("/tmp", "/var/tmp"):
        os.chmod(name, _OPEN)
    os.symlink("/run", "/var/run")
    if plan.tools:
        _programs()
    _etc(plan, hostname)
    _devices()
    for bind in plan.binds:
        _bind(bind.source, os.path.normpath(bind.path), read_only=bind.read_only)
    for path in plan.node_roots:
        _node_root(os.path.normpath(path))


def finish(plan: RootPlan) -> None:
    """Mount /proc in the container's PID namespace, and let the cluster's root go.

    In that order: a new /proc may be mounted only where one is to be seen already.
    """
    linux.umount(_OLD)  # the cover
    if plan.cluster_processes:
        linux.mount(f"{_OLD}/proc", "/proc", flags=linux.MS_BIND | linux.MS_REC)
    else:
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    if not plan.writable_proc_sys:
        linux.mount("/proc/sys", "/proc/sys", flags=linux.MS_BIND | linux.MS_REC)
        linux.restrict_mount("/proc/sys", linux.MOUNT_ATTR_RDONLY)
    linux.umount(_OLD, linux.MNT_DETACH)
    os.rmdir(_OLD)


def _node_root(path: str) -> None:
    """Show at `path` what a node's disk would hold: these programs, devices and settings.

    All nodes are one machine, so /proc there has the processes of all of them.
    """
    os.makedirs(path, exist_ok=True)
    linux.mount("/", path, flags=linux.MS_BIND | linux.MS_REC)
    linux.mount("./proc", f"{path}/proc", flags=linux.MS_BIND | linux.MS_REC)
    linux.umount(path + _OLD)  # the cover
    linux.umount(path + _OLD, linux.MNT_DETACH)


def _size(size: str) -> str:
    # A bound on files, too: an inode costs the kernel about a kilobyte.
    return f"size={size},nr_inodes=16k,mode=755"


def _programs() -> None:
    for name in PROGRAM_DIRECTORIES:
        source = f"./{name}"
        if os.path.islink(source):
            os.symlink(os.readlink(source), f"/{name}")
        elif os.path.isdir(source):
            _bind(f"/{name}", f"/{name}")
    tcpdump = shutil.which("tcpdump", path=PROGRAM_PATH)
    if tcpdump and os.path.exists(f".{SHIM}"):
        os.mkdir("/opt/k8slab")
        _bind(tcpdump, capture.REAL)
        if not sys.base_prefix.startswith("/usr"):
            _bind(sys.base_prefix, PYTHON)
        _bind(str(SHIM), tcpdump)


def install_shim() -> None:
    """Put the stand-in for tcpdump where containers bind it from, if one is needed here."""
    if not linux.has_one_id():
        return
    # Not sys.executable: that may be a link of a virtual environment, which pods do not see.
    prefix = sys.base_prefix if sys.base_prefix.startswith("/usr") else PYTHON
    interpreter = f"{prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    source = Path(capture.__file__).read_text(encoding="utf-8")
    SHIM.write_text(f"#!{interpreter} -ISE\n{source}", encoding="utf-8")
    SHIM.chmod(0o755)


def _etc(plan: RootPlan, hostname: str) -> None:
    for name, content in _ETC.items():
        _write(f"/etc/{name}", content)
    _write("/etc/hostname", f"{hostname}\n".encode())
    os.symlink("/proc/mounts", "/etc/mtab")
    if plan.tools:
        for name, content in host_settings().items():
            _write(f"/etc/{name}", content)
        for name in _ETC_BINDS:
            if os.path.exists(f"./etc/{name}"):
                _bind(f"/etc/{name}", f"/etc/{name}")
    if os.path.isdir(f".{CERTIFICATES}"):
        _bind(str(CERTIFICATES), "/etc/ssl/certs", read_only=True)
    for path, content in plan.files:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, content)


@cache
def host_settings() -> dict[str, bytes]:
    """Return, read once, the files of /etc that containers with programs get a copy of."""
    return {
        name: Path("/etc", name).read_bytes()
        for name in _ETC_COPIES
        if Path("/etc", name).is_file()
    }


def _devices() -> None:
    # The cluster's /dev has the device files and empty directories for what follows.
    _bind("/dev", "/dev")
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620")
    linux.mount("shm", "/dev/shm", "tmpfs", flags | linux.MS_NODEV, "size=16m,mode=1777")


def _bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show `source` of the cluster's root at `target`, which is made where it is missing."""
    source = f".{source}"
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _write(target, b"")
    linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REC)
    if read_only:
        linux.restrict_mount(target, linux.MOUNT_ATTR_RDONLY)


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
