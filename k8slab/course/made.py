"""What a release is known to have made in a lab's directory, so that it removes nothing else.

``.made.sha256`` lists the files that a lab was released with, as sha256sum(1) writes them. Of that
name and content a file is the release's, whose to remove; what somebody added or wrote in is
theirs. Links are looked at and never followed: what they lead to lies somewhere else.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

LIST = ".made.sha256"

TELLING = frozenset({".ipynb", ".yaml", ".yml", ".md", ".json", ".svg", ".png"})
"""Endings of what a lab is made of: without a source such a file may be a mistake of its author."""


def listing(files: Mapping[str, bytes]) -> bytes:
    """Return the list of these files, by their paths in the lab's directory."""
    return "".join(f"{_sum(files[name])}  {name}\n" for name in sorted(files)).encode()


def listed(lab: Path) -> dict[str, str]:
    """Return the sums of the files that the last release of a lab made, by their paths in it."""
    file = lab / LIST
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def orphans(lab: Path, wanted: Collection[str]) -> list[Path]:
    """Return what a release made, and nobody changed since, that is not wanted any more."""
    known = listed(lab)
    return [
        lab / name
        for name in _names(lab)
        if name not in wanted and name in known and _sum((lab / name).read_bytes()) == known[name]
    ]


def strangers(lab: Path, wanted: Collection[str]) -> list[Path]:
    """Return what lies there like a part of the lab, and is neither wanted nor a release's."""
    ours = orphans(lab, wanted)
    found = (lab / name for name in _names(lab, links=True) if name not in wanted)
    return [path for path in found if path.suffix in TELLING and path not in ours]


def written_in(lab: Path) -> bool:
    """Say whether somebody changed one of the files that a release made."""
    there = listed(lab).keys() & {*_names(lab, links=True)}
    return len(there) > len(orphans(lab, ()))


def remove(files: Iterable[Path], lab: Path) -> None:
    """Remove files of a lab, and those of their directories that are empty then."""
    for path in files:
        path.unlink()
        for directory in path.relative_to(lab).parents:
            if any((lab / directory).iterdir()):
                break
            (lab / directory).rmdir()


def refuse_links(lab: Path, names: Iterable[str]) -> None:
    """Raise `UsageError` where one of the files, or a directory on the way to it, is a link."""
    for name in names:
        inside = Path(name)
        for path in (lab, *(lab / part for part in (inside, *inside.parents[:-1]))):
            if path.is_symlink():
                raise UsageError(
                    f"{path} is a link, and a release writes nothing where that leads to",
                    hint="remove the link, or name another directory with --labs",
                )


def _names(lab: Path, *, links: bool = False) -> Iterator[str]:
    """Yield the files of a lab in order, hidden ones left out: those are of Jupyter and others."""
    found = []
    for place, directories, files in os.walk(lab):
        directories[:] = [name for name in directories if not name.startswith(".")]
        found += [
            path.relative_to(lab).as_posix()
            for path in (Path(place, name) for name in files if not name.startswith("."))
            if (path.is_symlink() and links) or (path.is_file() and not path.is_symlink())
        ]
    yield from sorted(found)


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
