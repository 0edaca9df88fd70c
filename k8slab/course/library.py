"""Find labs: in a directory, by number, by name."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from k8slab.course.journal import Journal
from k8slab.course.lab import FILE, Lab, load
from k8slab.errors import UsageError
from k8slab.programs import with_variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


LABS = "K8SLAB_LABS"
"""Names another directory of labs."""


def labs_directory() -> Path:
    """Return where the labs are: ``$K8SLAB_LABS``, else ``labs`` above here, else our own."""
    here = Path.cwd()
    if found := _given() or _first(chain((here, *here.parents), _own())):
        return found
    raise UsageError(
        "no labs were found from here",
        hint=f"change to the course's directory, or set {LABS}",
    )


@contextmanager
def graders_course() -> Iterator[None]:
    """Go by our own labs for the length of a block, in processes that it starts too.

    Whoever grades may stand in a directory of answers, or have k8slab installed in one, and what
    a learner put there is not the course. ``$K8SLAB_LABS`` names another one here too.
    """
    found = _given() or _first(_own())
    if found is None:
        raise UsageError(
            "this installation has no labs to grade by",
            hint=f"name the directory of the course's labs: export {LABS}=DIRECTORY",
        )
    with with_variable(LABS, str(found)):
        yield


def _given() -> Path | None:
    given = os.environ.get(LABS)
    return Path(given).absolute() if given else None


def _own() -> Iterator[Path]:
    """Yield what has labs of ours beside us: the clone, or the directory that a bundle made.

    A virtual environment may stand anywhere, in a repository of answers too: what is beside it
    is ours only where pip says that it took k8slab from the wheels of a bundle there (PEP 610).
    """
    yield Path(__file__).parents[2]
    room = Path(sys.prefix).parent
    if (room / "wheels").resolve() == _wheels():
        yield room


def _wheels() -> Path | None:
    """Return the directory of the wheel that k8slab was installed from; ``None`` without one."""
    from importlib import metadata  # noqa: PLC0415  only where the labs are asked for

    try:
        text = metadata.distribution("k8slab").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    url = urlsplit(json.loads(text)["url"] if text else "")
    return Path(unquote(url.path)).parent.resolve() if url.path.endswith(".whl") else None


def _first(directories: Iterable[Path]) -> Path | None:
    for directory in directories:
        if any((directory / "labs").glob(f"*/{FILE}")):
            return directory / "labs"
    return None


def lab_names() -> list[str]:
    """Return the names of all labs, in order."""
    return [place.name for place in directories(labs_directory())]


def directories(labs: Path) -> list[Path]:
    """Return the labs in a directory, in order: what else stands there is none of ours."""
    return sorted(path.parent for path in labs.glob(f"*/{FILE}"))


def find(name: str = "") -> Lab:
    """Return a lab by directory, name or number; without any, the lab of this directory.

    Raises `UsageError` that names the labs there are.
    """
    place = Path(name or ".")
    if _is_lab(place):
        return load(_without_dots(place), Journal().seed)
    if not name:
        raise UsageError(
            f"there is no {FILE} in {Path.cwd()}", hint="open the lab's notebook in its directory"
        )
    return named(name)


def _without_dots(place: Path) -> Path:
    """Return an absolute path: `..` names no lab, and what is only linked to has its name here."""
    if place.name == "..":
        return place.resolve()
    if ".." in place.parts:
        return place.parent.resolve() / place.name
    return place.absolute()


def _is_lab(place: Path) -> bool:
    try:
        return (place / FILE).is_file()
    except OSError:  # no name of a file; whoever asks is told which labs there are
        return False


def named(name: str) -> Lab:
    """Return a lab by name or number, whatever stands in the current directory; for graders."""
    found = [one for one in lab_names() if one == name or one.partition("-")[0] == name]
    if not found:
        raise UsageError(f"there is no lab {name!r}", hint=f"there are: {', '.join(lab_names())}")
    return load(labs_directory() / found[0], Journal().seed)
