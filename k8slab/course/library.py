"""Find labs: in a directory, by number, by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from k8slab.course.journal import Journal
from k8slab.course.lab import FILE, Lab, load
from k8slab.errors import UsageError


def labs_directory() -> Path:
    """Return where the labs are: ``$K8SLAB_LABS``, else ``labs`` above here, else our own.

    Our own are those of the clone, or beside the virtual environment that a bundle made.
    """
    if given := os.environ.get("K8SLAB_LABS"):
        return Path(given).absolute()
    here = Path.cwd()
    clone = Path(__file__).parents[2]
    for directory in (here, *here.parents, clone, Path(sys.prefix).parent):
        if any((directory / "labs").glob(f"*/{FILE}")):
            return directory / "labs"
    raise UsageError(
        "no labs were found from here", hint="change to the course's directory, or set K8SLAB_LABS"
    )


def lab_names() -> list[str]:
    """Return the names of all labs, in order."""
    return sorted(path.parent.name for path in labs_directory().glob(f"*/{FILE}"))


def find(name: str = "") -> Lab:
    """Return a lab by directory, name or number; without any, the lab of this directory.

    Raises `UsageError` that names the labs there are.
    """
    place = Path(name or ".")
    if (place / FILE).is_file():
        return load(place.absolute(), Journal().seed)
    if not name:
        raise UsageError(
            f"there is no {FILE} in {Path.cwd()}", hint="open the lab's notebook in its directory"
        )
    root = labs_directory()
    found = [one for one in lab_names() if one == name or one.partition("-")[0] == name]
    if not found:
        raise UsageError(f"there is no lab {name!r}", hint=f"there are: {', '.join(lab_names())}")
    return load(root / found[0], Journal().seed)
