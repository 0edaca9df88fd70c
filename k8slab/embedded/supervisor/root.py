"""The root of the cluster's mount namespace: programs, read-only, and nothing else.

A tmpfs holds the machine's programs and libraries, some settings of /etc, the Python
that runs k8slab and its packages, all at their own paths and read-only, and the
cluster's own directory at `INSIDE`. It is built before the user namespace is entered
where that is possible (by root), since root's Python may lie in a directory that the
cluster's unprivileged ids could not pass through.

Init mounts the /proc of its own PID namespace over the one here. A user namespace may do so
only where a /proc is fully visible already (mount_namespaces(7); the kernel's
``mount_too_revealing``), and a privileged pod can take away again what init mounted. So the one
below is not the host's: it belongs to a PID namespace in which nobody is any more.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.embedded.config import INSIDE
from k8slab.embedded.runtime.rootfs import PROGRAM_DIRECTORIES, RUN, SCRATCH
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable

_ETC = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "ethertypes",
    "inputrc",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki",
    "protocols",
    "services",
    "ssl",
    "terminfo",
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
PROC_FLAGS = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
_SITE_NAMES = ("site-packages", "dist-packages")
_READ_ONLY = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID
RUN_SIZE = "512m"
"""What files of ConfigMaps and Secrets may take in all; an empty tmpfs takes nothing."""


def build(mountpoint: Path, inside: Path, owner: int) -> None:
    """Build the root on the directory `mountpoint` and pivot into it.

    The caller has a new mount namespace. `owner` is the user and group id to which the
    writable directories belong, as the caller's user namespace numbers it.
    """
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", str(mountpoint), "tmpfs", linux.MS_NOSUID, "size=4m,mode=755")
    for name in ("etc", "dev", "proc", "sys", "root", "var", *_strip(SCRATCH, RUN, "/tmp", INSIDE)):
        (mountpoint / name).mkdir(parents=True)
    _programs(mountpoint)
    for name in _ETC:
        _setting(Path("/etc", name), mountpoint)
    _devices(mountpoint / "dev")
    _empty_proc(mountpoint / "proc")
    owned = f"uid={owner},gid={owner}"
    flags = linux.MS_NOSUID | linux.MS_NODEV
    for path, size in ((RUN, RUN_SIZE), (Path("/tmp"), "64m")):
        target = str(mountpoint / path.relative_to("/"))
        linux.mount("tmpfs", target, "tmpfs", flags, f"size={size},mode=755,{owned}")
    for path in python_directories():
        _bind(path, mountpoint)
    linux.mount(str(inside), str(mountpoint / INSIDE.relative_to("/")), flags=linux.MS_BIND)
    linux.restrict_mount(str(mountpoint), linux.MOUNT_ATTR_RDONLY, recursive=False)
    os.chdir(mountpoint)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")


def python_directories() -> list[Path]:
    """Return the directories outside the programs' that this Python runs from, none in another."""
    package = Path(__file__).resolve().parents[2]
    sites = [Path(entry) for entry in sys.path if Path(entry).name in _SITE_NAMES]
    candidates = [Path(sys.prefix), Path(sys.base_prefix), *sites, package]
    found: list[Path] = []
    for path in sorted({path.absolute() for path in candidates}, key=lambda path: path.parts):
        within = [*found, *(Path("/", name) for name in PROGRAM_DIRECTORIES)]
        if path.is_dir() and not any(path.is_relative_to(parent) for parent in within):
            found.append(path)
    return found


def _empty_proc(target: Path) -> None:
    """Mount the /proc of a new PID namespace, whose only process ends at once.

    What unshares a PID namespace does not enter it, its first child does (pid_namespaces(7)).
    """

    def unshare() -> None:
        linux.unshare(linux.CLONE_NEWPID)
        _in_child(mount)

    def mount() -> None:
        linux.mount("proc", str(target), "proc", PROC_FLAGS)

    _in_child(unshare)


def _in_child(act: Callable[[], None]) -> None:
    """Do something in a child that ends then; its `KernelError` comes out as one of our own."""
    if pid := os.fork():
        _, status = os.waitpid(pid, 0)
        if number := os.waitstatus_to_exitcode(status):
            raise KernelError(
                f"mount of an empty /proc: {os.strerror(abs(number))}", errno=abs(number)
            )
        return
    code = errno.EIO
    try:
        act()
        code = 0
    except KernelError as error:
        code = error.errno
    finally:
        os._exit(code)


def _strip(*paths: str | Path) -> list[str]:
    return [str(path).lstrip("/") for path in paths]


def _programs(root: Path) -> None:
    for name in PROGRAM_DIRECTORIES:
        source = Path("/", name)
        if source.is_symlink():
            (root / name).symlink_to(source.readlink())
        elif source.is_dir():
            _bind(source, root)


def _setting(source: Path, root: Path) -> None:
    """Show a directory of /etc, or keep a copy of a file.

    A file is not bound: whoever installs a program replaces it (ldconfig(8) renames a new
    ld.so.cache over the old one), and a file that has no name any more cannot be bound into
    the next container.
    """
    if source.is_dir():
        _bind(source, root)
    elif source.is_file():
        (root / source.relative_to("/")).write_bytes(source.read_bytes())


def _bind(source: Path, root: Path) -> None:
    """Show `source` at its own path below `root`, read-only, with everything mounted in it."""
    target = root / source.relative_to("/")
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    linux.mount(str(source.resolve()), str(target), flags=linux.MS_BIND | linux.MS_REC)
    linux.restrict_mount(str(target), _READ_ONLY)


def _devices(directory: Path) -> None:
    """Make a /dev that containers share, read-only; each mounts its own pts and shm in it."""
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("tmpfs", str(directory), "tmpfs", flags, "size=64k,mode=755")
    for name in _DEVICES:
        (directory / name).touch()
        linux.mount(f"/dev/{name}", str(directory / name), flags=linux.MS_BIND)
    for name in ("pts", "shm"):
        (directory / name).mkdir()
    for name, target in _LINKS.items():
        (directory / name).symlink_to(target)
    linux.restrict_mount(str(directory), linux.MOUNT_ATTR_RDONLY, recursive=False)
