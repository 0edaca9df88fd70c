"""The volumes of sandboxes: directories that containers of one pod share.

Files of a ConfigMap, Secret or token volume are changed all at once, as the kubelet
does it (``pkg/volume/util/atomic_writer.go``): the files lie in a directory named by
the time, ``..data`` is a link to it, each name is a link into ``..data``, and an update
renames a new ``..data`` over the old one. Other volumes lie on a tmpfs of the pod's own,
so that an endless writer fills only that.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.embedded.runtime.messages import Bind
from k8slab.embedded.runtime.rootfs import CERTIFICATES, RUN
from k8slab.embedded.runtime.spec import FileData

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
    source = volume / mount.sub_path if mount.sub_path else volume
    if mount.sub_path and mount.files is None:
        source.mkdir(parents=True, exist_ok=True)
    read_only = mount.read_only or mount.files is not None
    if mount.sub_path:
        source = source.resolve()  # through ``..data``: what is mounted stays as it is
    return Bind(source=str(source), path=mount.path, read_only=read_only)


def update(sandbox_uid: str, volume: str, files: dict[str, bytes]) -> None:
    """Change the files of a volume that has files; containers see all or nothing."""
    write(_path(sandbox_uid, volume, files=True), files)


def remove(sandbox_uid: str) -> None:
    """Forget the volumes of a sandbox."""
    scratch = RUN / sandbox_uid / "scratch"
    if scratch.is_dir():
        linux.umount(str(scratch), linux.MNT_DETACH)
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


def _path(sandbox_uid: str, volume: str, *, files: bool) -> Path:
    return RUN / sandbox_uid / ("files" if files else "scratch") / volume


def _scratch(sandbox_uid: str) -> None:
    directory = RUN / sandbox_uid / "scratch"
    if not directory.exists():
        directory.mkdir(parents=True)
        flags = linux.MS_NOSUID | linux.MS_NODEV
        linux.mount("tmpfs", str(directory), "tmpfs", flags, f"size={SIZE},nr_inodes=16k,mode=755")


def trust(extra: bytes) -> None:
    """Write the bundle that pods trust: the machine's authorities and `extra` (PEM)."""
    CERTIFICATES.mkdir(parents=True, exist_ok=True)
    machine = next((path for path in _BUNDLES if path.is_file()), None)
    bundle = CERTIFICATES / "ca-certificates.crt.new"
    bundle.write_bytes((machine.read_bytes() if machine else b"") + extra)
    bundle.rename(CERTIFICATES / "ca-certificates.crt")
