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
    from k8slab.embedded.runtime.messages import Bind, RootPlan

SCRATCH = "/run/root"
"""An empty directory of the cluster's root, on which a container's root is built."""
RUN = Path("/run/k8slab")
"""A tmpfs of the cluster's root that daemon and zygote share: volumes, certificates."""
CERTIFICATES = RUN / "certificates"
"""Bound to /etc/ssl/certs: the machine's trusted certificates and the world's."""

PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAM_DIRECTORIES = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
SHIM = RUN / "tcpdump"
"""Stands in for tcpdump where the cluster has a single id; see `capture`."""
PYTHON = "/opt/k8slab/python"
"""The Python that runs k8slab, for the shim, where it is not among the programs."""

_ETC_BINDS = ("alternatives", "iproute2", "ld.so.cache", "terminfo")
_ETC_COPIES = ("protocols", "services", "ethertypes", "inputrc", "ld.so.conf", "ssl/openssl.cnf")
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


def build(plan: RootPlan, hostname: str) -> None:
    """Build the root that `plan` describes on `SCRATCH` and pivot into it.

    The caller has a new mount namespace and is in the container's PID namespace.
    """
    linux.mount("tmpfs", SCRATCH, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, _size(plan.size))
    os.chdir(SCRATCH)
    for name in _EMPTY:
        os.mkdir(name, 0o755)
    for name in ("tmp", "var/tmp"):
        os.chmod(name, _OPEN)
    os.symlink("../run", "var/run")  # relative: it is followed before this is the root
    _programs(tools=plan.tools)
    _etc(plan, hostname)
    _devices()
    linux.mount("proc", "proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    if not plan.writable_proc_sys:
        _bind("/proc/sys", "proc/sys", read_only=True)
    for bind in plan.binds:
        _volume(bind)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")


def _size(size: str) -> str:
    # A bound on files, too: an inode costs the kernel about a kilobyte.
    return f"size={size},nr_inodes=16k,mode=755"


def _programs(*, tools: bool) -> None:
    if not tools:
        return
    for name in PROGRAM_DIRECTORIES:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), name)
        elif os.path.isdir(f"/{name}"):
            os.mkdir(name)
            linux.mount(f"/{name}", name, flags=linux.MS_BIND | linux.MS_REC)

    if SHIM.exists() and (tcpdump := shutil.which("tcpdump", path=PROGRAM_PATH)):
        os.mkdir("opt/k8slab")
        _bind(tcpdump, capture.REAL.lstrip("/"))
        if not sys.base_prefix.startswith("/usr"):
            _bind(sys.base_prefix, PYTHON.lstrip("/"))
        linux.mount(str(SHIM), tcpdump.lstrip("/"), flags=linux.MS_BIND)


def install_shim() -> None:
    """Put the stand-in for tcpdump where containers bind it from, if one is needed here."""
    with open("/proc/self/gid_map", encoding="ascii") as file:
        single = sum(int(line.split()[2]) for line in file) == 1
    if not single:
        return
    interpreter = os.path.realpath(sys.executable)
    if not sys.base_prefix.startswith("/usr"):
        interpreter = f"{PYTHON}/{os.path.relpath(interpreter, os.path.realpath(sys.base_prefix))}"
    source = Path(capture.__file__).read_text(encoding="utf-8")
    SHIM.write_text(f"#!{interpreter} -ISE\n{source}", encoding="utf-8")
    SHIM.chmod(0o755)


def _etc(plan: RootPlan, hostname: str) -> None:
    for name, content in host_settings().items():
        _write(f"etc/{name}", content)
    _write("etc/hostname", f"{hostname}\n".encode())
    os.symlink("/proc/mounts", "etc/mtab")
    if plan.tools:
        for name in _ETC_BINDS:
            if os.path.exists(f"/etc/{name}"):
                _bind(f"/etc/{name}", f"etc/{name}")
    if CERTIFICATES.is_dir():
        _bind(str(CERTIFICATES), "etc/ssl/certs", read_only=True)
    for path, content in plan.files.items():
        target = path.lstrip("/")
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        _write(target, content)


@cache
def host_settings() -> dict[str, bytes]:
    """Return, read once, the files of /etc that every container gets a copy of."""
    copies = {
        name: Path("/etc", name).read_bytes()
        for name in _ETC_COPIES
        if Path("/etc", name).is_file()
    }
    return {**copies, **_ETC}


def _devices() -> None:
    os.mkdir("dev")
    # The cluster's /dev has the device files and empty directories for what follows.
    linux.mount("/dev", "dev", flags=linux.MS_BIND | linux.MS_REC)
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("devpts", "dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620")
    linux.mount("shm", "dev/shm", "tmpfs", flags | linux.MS_NODEV, "size=16m,mode=1777")


def _volume(bind: Bind) -> None:
    target = os.path.normpath(bind.path).lstrip("/")
    if os.path.isdir(bind.source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        _write(target, b"")
    _bind(bind.source, target, read_only=bind.read_only)


def _bind(source: str, target: str, *, read_only: bool = False) -> None:
    if not os.path.exists(target):
        if os.path.isdir(source):
            os.mkdir(target)
        else:
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
