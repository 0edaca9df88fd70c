"""Put a file in the place of what was there, whole: it is as it was, or as it is to be.

The new one is made beside the old, under a name that nobody can foresee and that is no link,
and is moved when it is on the disk. It gets the old one's owner and mode, but none of the rights
that what is written must not give. Where it cannot be moved, it is written in place, as most
programs do: a file may be mounted by itself, as containers get theirs, lie in a directory that may
not be written to, or have an owner whom only root can give.

A command that is killed (SIGKILL) meanwhile leaves the new one there, a ``.k8slab-`` and sixteen
letters: nobody else can say whether it is still being written.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from k8slab.errors import UsageError

_NOT_BESIDE = {errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS}
"""What open(2), fchown(2) and rename(2) say in these cases."""


def replaceable(file: Path) -> Path:
    """Return the path that a file may be moved to, so that it is what `file` leads to.

    A link is followed, as every program does that writes. Raises `UsageError` for what is no file,
    such as ``/dev/null``: rename(2) would put the file in its place, and root may do that.
    """
    try:
        other = file.exists() and not file.is_file()
    except OSError as error:  # its name is too long, or a directory on the way is closed
        raise UsageError(f"{file}: {error.strerror}", hint="name another place") from error
    target = Path(os.path.realpath(file))
    if other or target.is_symlink():  # what is a link still leads in a circle
        raise UsageError(f"{file} is no file, which could be replaced", hint="name another place")
    return target


def write(file: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file whole; it gets no rights but those of `mode`, and of the umask where it is new.

    A device or a pipe is written to, and so is what only a process knows by that name, as
    ``/dev/stdout``: proc(5). Raises `OSError`, which names the file.
    """
    try:
        if file.absolute().is_relative_to("/dev") or (file.exists() and not file.is_file()):
            file.write_bytes(content)
        else:
            _replace(Path(os.path.realpath(file)), content, mode)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def _replace(target: Path, content: bytes, mode: int) -> None:
    try:
        _move_into(target, content, mode)
    except OSError as error:
        if error.errno not in _NOT_BESIDE or not target.is_file():
            raise
        old = target.stat()
        if os.geteuid() in (0, old.st_uid):
            target.chmod(stat.S_IMODE(old.st_mode) & mode)
        target.write_bytes(content)


def _move_into(target: Path, content: bytes, mode: int) -> None:
    old = target.stat() if target.is_file() else None
    beside = target.with_name(f".k8slab-{os.urandom(8).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(beside, flags, 0o600 if old else mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if old:
                _be_like(descriptor, old, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(target)
    except BaseException:
        beside.unlink()
        raise


def _be_like(descriptor: int, old: os.stat_result, mode: int) -> None:
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & mode)
