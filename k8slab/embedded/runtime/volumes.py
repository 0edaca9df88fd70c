"""The volumes of sandboxes: directories that containers of one pod share.

Files of a ConfigMap, Secret or token volume are changed all at once, as the kubelet
does it (``pkg/volume/util/atomic_writer.go``): the files lie in a directory named by
the time, ``..data`` is a link to it, each name is a link into ``..data``, and an update
renames a new ``..data`` over the old one. Other volumes lie on a tmpfs of the pod's own,
so that an endless writer fills only that.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.embedded.runtime.messages import Bind
from k8slab.embedded.runtime.rootfs import CERTIFICATES, RUN
from k8slab.embedded.runtime.spec import ContainerCannotRunError, FileData
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from k8slab.embedded.runtime.spec import Mount

SIZE = "64m"
"""What the empty directories of one pod may hold in all."""


_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Alpine, Arch
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora and its family
    Path("/etc/ssl/ca-bundle.pem"),  # openSUSE
)


def bind(sandbox_uid: str, mount: Mount) -> Bind:
    """Make the volume of `mount` if it is new and return how a container sees it."""
    volume = _path(sandbox_uid, mount.volume, files=mount.files is not None)
    if mount.files is not None:
        if not volume.exists():
            write(volume, mount.files)
    else:
        _scratch(sandbox_uid)
        volume.mkdir(mode=0o777, exist_ok=True)
        volume.chmod(0o777)
    source = _part(sandbox_uid, volume, mount) if mount.sub_path else volume
    read_only = mount.read_only or mount.files is not None
    return Bind(source=str(source), path=mount.path, read_only=read_only)


def update(sandbox_uid: str, volume: str, files: dict[str, bytes]) -> None:
    """Change the files of a volume that has files; containers see all or nothing."""
    write(_path(sandbox_uid, volume, files=True), files)


def remove(sandbox_uid: str) -> None:
    """Forget the volumes of a sandbox."""
    place = RUN / sandbox_uid
    for mounted in (*place.glob("parts/*"), *place.glob("scratch")):
        _unmount(str(mounted))
    shutil.rmtree(RUN / sandbox_uid, ignore_errors=True)


def write(volume: Path, files: dict[str, bytes]) -> None:
    """Make `files` the contents of the directory `volume`, by path, in one step."""
    # Each pod that starts comes here, on the event loop: text paths, and few calls.
    place = str(volume)
    os.makedirs(place, exist_ok=True)
    old = os.readlink(f"{place}/..data") if os.path.islink(f"{place}/..data") else ""
    new = time.strftime("..%Y_%m_%d_%H_%M_%S.") + str(time.monotonic_ns())
    os.mkdir(f"{place}/{new}")
    for name, content in files.items():
        if "/" in name:
            os.makedirs(os.path.dirname(f"{place}/{new}/{name}"), exist_ok=True)
        with open(f"{place}/{new}/{name}", "wb", buffering=0) as file:
            file.write(content)
            if isinstance(content, FileData):
                os.fchmod(file.fileno(), content.mode)
    os.symlink(new, f"{place}/..data_tmp")
    os.rename(f"{place}/..data_tmp", f"{place}/..data")
    wanted = {name.split("/")[0] for name in files}
    present = {name for name in os.listdir(place) if not name.startswith("..")}
    for name in wanted - present:
        os.symlink(f"..data/{name}", f"{place}/{name}")
    for name in present - wanted:
        os.unlink(f"{place}/{name}")
    if old:
        shutil.rmtree(f"{place}/{old}")


def _part(sandbox_uid: str, volume: Path, mount: Mount) -> Path:
    """Show a part of a volume at a path of its own, which no program can change.

    A container that shares the volume may put links into it, at any time, that lead out of it
    for us. So the part is opened with a call that follows none of these, and mounted by its
    descriptor (kubelet: ``pkg/volume/util/subpath``, after CVE-2017-1002101).
    """
    root = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        part = _opened(root, mount.sub_path, make=mount.files is None)
    except OSError as error:
        text = f'failed to prepare subPath for volumeMount "{mount.volume}": {mount.sub_path}: '
        leads_out = "it leads out of the volume" if error.errno == errno.EXDEV else error.strerror
        raise ContainerCannotRunError(f"{text}{leads_out}") from error
    finally:
        os.close(root)
    try:
        return _mounted(part, RUN / sandbox_uid / "parts", f"{mount.volume}/{mount.sub_path}")
    finally:
        os.close(part)


def _opened(root: int, path: str, *, make: bool) -> int:
    """Open a part of a volume; directories that are missing are made."""
    try:
        return linux.open_beneath(root, path, os.O_PATH)
    except FileNotFoundError:
        if not make:
            raise
    names = Path(path).parts
    for depth, name in enumerate(names):
        parent = linux.open_beneath(root, "/".join(names[:depth]) or ".", os.O_PATH)
        try:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
        finally:
            os.close(parent)
    return linux.open_beneath(root, path, os.O_PATH)


def _mounted(part: int, place: Path, key: str) -> Path:
    """Mount what is behind a descriptor; a container that starts again gets the same path."""
    is_directory = stat.S_ISDIR(os.fstat(part).st_mode)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    target = place / f"{name}-{'directory' if is_directory else 'file'}"
    if target.exists():
        _unmount(str(target))
    elif is_directory:
        target.mkdir(parents=True)
    else:
        place.mkdir(parents=True, exist_ok=True)
        target.touch()
    linux.mount(f"/proc/self/fd/{part}", str(target), flags=linux.MS_BIND)
    return target


def _unmount(target: str) -> None:
    """Unmount what may not be mounted: a container before may have failed halfway."""
    try:
        linux.umount(target, linux.MNT_DETACH)
    except KernelError as error:
        if error.errno != errno.EINVAL:  # umount(2): "target is not a mount point"
            raise


def _path(sandbox_uid: str, volume: str, *, files: bool) -> Path:
    return RUN / sandbox_uid / ("files" if files else "scratch") / volume


def _scratch(sandbox_uid: str) -> None:
    directory = RUN / sandbox_uid / "scratch"
    if not directory.exists():
        directory.mkdir(parents=True)
        flags = linux.MS_NOSUID | linux.MS_NODEV
        size = f"size={SIZE},nr_inodes=16k,mode=755"
        try:
            linux.mount("tmpfs", str(directory), "tmpfs", flags, size)
        except KernelError:  # else the next container would find it, without its bound
            directory.rmdir()
            raise


def trust(extra: bytes) -> None:
    """Write the bundle that pods trust: the machine's authorities and `extra` (PEM)."""
    CERTIFICATES.mkdir(parents=True, exist_ok=True)
    machine = next((path for path in _BUNDLES if path.is_file()), None)
    bundle = CERTIFICATES / "ca-certificates.crt.new"
    bundle.write_bytes((machine.read_bytes() if machine else b"") + extra)
    bundle.rename(CERTIFICATES / "ca-certificates.crt")
