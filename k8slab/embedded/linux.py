"""The kernel calls that Python 3.11 lacks: namespaces, mounts, prctl.

Each function raises `KernelError` with the call and what it was asked to do.
Sources: unshare(2), setns(2), mount(2), pivot_root(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import threading
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_SYS_MOUNT_SETATTR = 442  # one number on every architecture (syscalls(2), Linux 5.12)
_SYS_OPENAT2 = 437  # as well (Linux 5.6)
_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 0x02, 0x08
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_CAPABILITY_VERSION_3 = 0x20080522
IN_ATTRIB = 0x4
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800

_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)
_libc_at_once = ctypes.PyDLL(None, use_errno=True)
"""For calls of microseconds: keeps the interpreter lock, which a busy event loop would take."""


def _check(result: int, call: str, *values: object) -> None:
    """Raise `KernelError` for a call that failed; it is put into words only then."""
    if result != 0:
        number = ctypes.get_errno()
        raise KernelError(f"{call % values}: {os.strerror(number)}", errno=number)


def fork() -> int:
    """Fork a process of a single thread (fork(2)); raises `OSError` as `os.fork` does.

    `os.fork` also runs what modules have registered: locks that another thread may hold are
    made anew, `random` is seeded. Where there is one thread nobody holds a lock, and all this
    would write to some 200 shared pages before the child has done anything: 0.8 ms and 0.8 MB
    for each process. A child that draws random numbers has to call ``random.seed()``.
    """
    pid = int(_libc_at_once.fork())
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return pid


def unshare(flags: int) -> None:
    """Leave the given namespaces for new ones (unshare(2))."""
    _check(_libc.unshare(flags), "unshare(%#x)", flags)


def setns(fd: int, kind: int = 0) -> None:
    """Enter the namespace behind `fd`; for a network namespace the calling thread only."""
    _check(_libc_at_once.setns(fd, kind), "setns(fd %d, %#x)", fd, kind)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount, bind or remount (mount(2))."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(result, "mount(%r, %r, %r, %#x)", source, target, kind, flags)


def restrict_mount(target: str, attributes: int, *, recursive: bool = True) -> None:
    """Add `MOUNT_ATTR_*` to the mount at `target` and to all below it (mount_setattr(2)).

    Unlike a remount it keeps what the mount has already, which an ordinary user
    could not take away (mount_namespaces(7), locked flags).
    """
    request = struct.pack("=QQQQ", attributes, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        request,
        ctypes.c_size_t(len(request)),
    )
    _check(result, "mount_setattr(%r, %#x)", target, attributes)


def umount(target: str, flags: int = 0) -> None:
    """Unmount (umount2(2))."""
    _check(_libc.umount2(target.encode(), flags), "umount(%r)", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root of this mount namespace (pivot_root(2))."""
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    result = _libc.syscall(ctypes.c_long(number), new_root.encode(), put_old.encode())
    _check(result, "pivot_root(%r, %r)", new_root, put_old)


def prctl(option: int, value: int = 0) -> None:
    """Set one property of this process (prctl(2))."""
    result = _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0)
    _check(result, "prctl(%d, %d)", option, value)


def set_capabilities(mask: int) -> None:
    """Make `mask` this process' permitted and effective capabilities, none inheritable.

    Bit n of `mask` is capability number n (capset(2)).
    """
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = struct.pack("=IIIIII", low, low, 0, high, high, 0)
    _check(_libc.capset(header, data), "capset(%#x)", mask)


@cache
def ids() -> int:
    """Return how many ids the cluster's user namespace maps; those of pods map all of them."""
    ranges = Path("/proc/self/gid_map").read_text("ascii").splitlines()
    return sum(int(line.split()[2]) for line in ranges)


def has_one_id() -> bool:
    """Tell whether the user namespace maps a single id, as an ordinary user's does.

    Then no file can be given to another user and no process become one (user_namespaces(7)).
    """
    return ids() == 1


def watch_file(path: str) -> int:
    """Return an inotify descriptor, readable once `path` is removed, moved or unlinked."""
    descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    _check(0 if descriptor >= 0 else -1, "inotify_init1")
    mask = ctypes.c_uint32(IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)
    watch = _libc.inotify_add_watch(descriptor, os.fsencode(path), mask)
    _check(0 if watch >= 0 else -1, "inotify_add_watch(%r)", path)
    return int(descriptor)


def set_command_line(argv: Sequence[str]) -> None:
    """Make ps(1) show `argv` as this process' command line, as far as there is room.

    It is written over the arguments that the kernel keeps for /proc/PID/cmdline.
    """
    start, end = _arguments()
    text = "\0".join(argv).encode()[: end - start - 1]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, text, len(text))


@cache
def _arguments() -> tuple[int, int]:
    """Return where the arguments lie in memory, which a fork does not change.

    proc_pid_stat(5), fields 48 and 49.
    """
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return int(fields[45]), int(fields[46])


def set_process_name(name: str) -> None:
    """Set what top(1) and ``ps -e`` show: at most 15 bytes (PR_SET_NAME)."""
    descriptor = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(descriptor, name.encode())
    os.close(descriptor)


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor of this process except these (close_range(2))."""
    last = 0
    for number in [*sorted(keep), os.sysconf("SC_OPEN_MAX")]:
        if number > last:  # closerange(0, 0) would close everything
            os.closerange(last, number)
        last = number + 1


def read_regular(path: Path, limit: int) -> bytes:
    """Read a file in whose place somebody may have put a link, a pipe or something without end.

    Raises `OSError`, also for what is no file of at most `limit` bytes. Only the last step of
    `path` is held not to be a link.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> None:
    """Rename a directory at `path`, where there is one, to a free name beside it.

    For where a file of ours has to go: a file or a link can be unlinked, and what somebody keeps
    in a directory is not ours to remove.
    """
    if path.is_dir() and not path.is_symlink():
        names = (path.with_name(f"{path.name}.aside{number}") for number in count(1))
        path.rename(next(name for name in names if not os.path.lexists(name)))


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open what lies in a directory; no ``..`` and no link of `path` leads out of it (openat2(2)).

    Raises `OSError`: EXDEV for a path that leads out.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    descriptor = int(
        _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(directory),
            os.fsencode(path),
            how,
            ctypes.c_size_t(len(how)),
        )
    )
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return descriptor


def open_netns() -> int:
    """Open the network namespace of the calling thread; the caller closes the descriptor."""
    return os.open(
        f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC
    )


@contextmanager
def in_netns(fd: int) -> Iterator[None]:
    """Run the body in another network namespace, on this thread only.

    Sockets made in the body stay in that namespace for good.
    """
    home = open_netns()
    try:
        setns(fd, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def new_netns() -> int:
    """Make an empty network namespace and return a descriptor that keeps it alive."""
    home = open_netns()
    try:
        unshare(CLONE_NEWNET)
        try:
            return open_netns()
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
