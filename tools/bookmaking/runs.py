"""Run the notebooks of each lab, with their answers, on a fresh embedded cluster of its own.

A lab is what learners get (`labs/`, its reasons in no telling order), with the author's notebooks
in it. Each runs in a process of its own, because state directory and journal are the process's;
several run side by side. The seed is always the same, so that the names of transfers are.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from k8slab import programs
from k8slab.course import release
from k8slab.errors import K8slabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SEED = 0
CELL_SECONDS = 120
LAB_SECONDS = 600.0
"""For the longest cell, and for all of a lab: both on a machine that is busy with other things."""
WORKERS = 4
"""Labs at a time, at most. Much of a run is waiting, so there is one more than processors; and each
holds a kernel and a cluster."""

Executed = dict[str, Any]
"""Notebooks that ran, by their names (`release.notebook_name`)."""


class RunError(K8slabError):
    """A lab's notebook did not run through."""


def run_labs(sources: Sequence[Path], labs: Path, *, told: Callable[[str], None]) -> Executed:
    """Run the notebooks of the labs in the directories `sources`; `labs` has what learners get.

    Raises `RunError` with what the kernel said.
    """
    with tempfile.TemporaryDirectory(prefix="k8slab-book-") as scratch:

        def one(source: Path) -> Executed:
            found = _run(source, labs / source.name, Path(scratch) / source.name)
            told(f"ran {source.name}")
            return found

        with ThreadPoolExecutor(min(WORKERS, (os.cpu_count() or 1) + 1)) as workers:
            return {
                name: book for found in workers.map(one, sources) for name, book in found.items()
            }


def _run(source: Path, lab: Path, scratch: Path) -> Executed:
    """Run one lab in a process; return its notebooks, without the paths of this machine."""
    notebooks = furnish(source, lab, scratch)
    # Not in `scratch`: paths of sockets are short (108 bytes, unix(7)).
    with tempfile.TemporaryDirectory(prefix="k8slab-") as home:
        own = {
            "K8SLAB_HOME": home,
            "K8SLAB_CLUSTER": "",
            "K8SLAB_JOURNAL": f"{home}/progress.sqlite",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        argv = [sys.executable, "-m", f"{__package__}.runs", *map(str, notebooks)]
        done = programs.run(argv, env=own, deadline=LAB_SECONDS, check=False)
        if not done.ok:
            raise RunError(f"the lab {source.name} did not run through:\n{done.stderr[-4000:]}")
        named = {home: "~/.local/state/k8slab", str(scratch): source.name, sys.prefix: ".venv"}
        return {
            path.stem: _without_paths(nbformat.read(path, as_version=4), named)
            for path in notebooks
        }


def furnish(source: Path, lab: Path, target: Path) -> list[Path]:
    """Copy the released lab and put the notebooks with answers into it; return these."""
    shutil.copytree(lab, target, ignore=shutil.ignore_patterns(".*", "*.ipynb"))
    found = []
    for name in release.NOTEBOOKS:
        page = source / f"{name}.md"
        if page.exists():
            book = release.read_source(page)
            book["metadata"] = release.METADATA
            path = target / release.notebook_file(source.name, name)
            nbformat.write(book, path)
            found.append(path)
    return found


def _without_paths(found: Any, named: Mapping[str, str]) -> Any:
    """Put names in the place of directories of this machine, in all outputs."""
    if isinstance(found, str):
        for path, name in named.items():
            found = found.replace(path, name)
        return found
    if isinstance(found, list):
        return [_without_paths(one, named) for one in found]
    if isinstance(found, dict):
        changed = {key: _without_paths(one, named) for key, one in found.items()}
        return type(found)(changed)
    return found


def main(notebooks: Sequence[str]) -> None:
    """Be the process of one lab: start a cluster, run its notebooks, and take the cluster down."""
    from nbclient import NotebookClient  # noqa: PLC0415  only this process runs cells

    from k8slab import clusters  # noqa: PLC0415
    from k8slab.course import Journal  # noqa: PLC0415

    Journal().add("", "seed", "", value=SEED)
    cluster = clusters.up("", provider="embedded")
    try:
        for name in notebooks:
            book = nbformat.read(name, as_version=4)
            place = {"metadata": {"path": str(Path(name).parent)}}
            NotebookClient(
                book, timeout=CELL_SECONDS, kernel_name="python3", resources=place
            ).execute()
            nbformat.write(book, name)
    finally:
        clusters.delete(cluster.name)


if __name__ == "__main__":
    main(sys.argv[1:])
