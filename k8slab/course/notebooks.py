"""Grade what a notebook does: its code runs confined, and what it leaves is graded as a bundle.

Nobody should have to believe a notebook, so its code gets a fresh cluster and nothing else:
its own namespaces, no network but that cluster's API, no home (`confined`). In there the
notebook runs from top to bottom, cells that fail included, and its answers are gathered as
``k8slab submit`` does. Only that bundle comes out, and it is read and replayed like a bundle
of a stranger, in another fresh cluster. So the notebook's outputs count for nothing, and
whatever the code did to its own cluster is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab import clusters
from k8slab.clusters import kubeconfig
from k8slab.course import bundle
from k8slab.course.marking import grade_one, learner_names
from k8slab.course.release import notebook_file
from k8slab.course.replay import fresh_home
from k8slab.embedded.config import INSIDE
from k8slab.embedded.supervisor import confined, spawning
from k8slab.grading.report import Grades, handed_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.course.lab import Lab
    from k8slab.grading.report import Report

CELL_SECONDS = 120
DEADLINE = 1200.0
"""Seconds for one cell, and for the whole notebook."""
NAME = "k8slab"
MAX_NOTEBOOK = 16 << 20
_SHOWN = 2000


def grade_notebook(
    notebook: Path,
    lab: Lab,
    seed: int,
    *,
    told: Callable[[str], None],
    exercises: Sequence[str] = (),
) -> Report:
    """Run a notebook of a lab, confined, and grade what it leaves: these exercises, or all.

    `seed` picks the names of the lab's transfers, as the learner had them (a bundle says it).
    Raises `EnvironmentLacksError` where a program cannot be confined.
    """
    (learner,) = learner_names([notebook])
    try:
        found = _run(notebook, lab, seed, told)
    except bundle.BundleError as error:
        return handed_in([Grades(learner, str(notebook), error=str(error))])
    return grade_one(found, learner, told=told, asked={lab.name: exercises})


def _run(notebook: Path, lab: Lab, seed: int, told: Callable[[str], None]) -> bundle.Bundle:
    if notebook.stat().st_size > MAX_NOTEBOOK:
        raise bundle.BundleError(f"{notebook}: larger than {MAX_NOTEBOOK >> 20} MiB")
    with fresh_home() as home:
        cluster = clusters.up(NAME, provider="embedded", progress=told)
        inside = home / "inside"
        port = _furnish(inside, notebook, lab, cluster.kubeconfig)
        told(f"running {notebook.name}, confined")
        order = {"lab": lab.name, "seed": seed}
        ended = confined.run(
            [sys.executable, "-P", "-m", __name__, json.dumps(order)],
            inside,
            port=port,
            environment=_ENVIRONMENT,
            deadline=DEADLINE,
        )
        left = inside / "answers.zip"
        if ended.code or left.is_symlink() or not left.is_file():
            why = f"after {DEADLINE:g} s it still ran" if ended.code == -1 else f"exit {ended.code}"
            raise bundle.BundleError(
                f"{notebook}: it left nothing to grade ({why})", hint=ended.output[-_SHOWN:].strip()
            )
        return bundle.read(left)


_STATE = INSIDE / "state"
_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(spawning.search_path()),
    "K8SLAB_HOME": str(_STATE),
    "K8SLAB_LABS": str(INSIDE / "labs"),
    "K8SLAB_CLUSTER": NAME,
    "KUBECONFIG": str(INSIDE / "kubeconfig"),
    "PATH": os.pathsep.join(
        [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]
    ),
}


def _furnish(inside: Path, notebook: Path, lab: Lab, credentials: Path) -> int:
    """Make the directory that the notebook sees; return the port of its cluster's API.

    For what runs in there the cluster is one that exists: it can use it, and not stop it.
    """
    directory = inside / "labs" / lab.name
    shutil.copytree(lab.directory, directory, ignore=shutil.ignore_patterns(".*", "*.ipynb"))
    shutil.copyfile(notebook, directory / notebook_file(lab.name))
    shutil.copyfile(credentials, inside / "kubeconfig")
    record = inside / "state" / "clusters" / NAME
    record.mkdir(parents=True)
    found = kubeconfig.read(credentials, "")
    known = {
        "provider": "existing",
        "kubeconfig": str(INSIDE / "kubeconfig"),
        "context": found.context,
    }
    (record / "provider.json").write_text(json.dumps(known), encoding="utf-8")
    return int(found.server.rpartition(":")[2])


def main(text: str) -> int:
    """Be the process inside: run the notebook, gather the answers, leave the bundle."""
    from nbclient import NotebookClient  # noqa: PLC0415  Jupyter is for learners

    from k8slab.course import submission  # noqa: PLC0415
    from k8slab.course.journal import Journal  # noqa: PLC0415
    from k8slab.course.lab import load  # noqa: PLC0415

    order = json.loads(text)
    journal = Journal()
    journal.add("", "seed", "", value=order["seed"])
    directory = INSIDE / "labs" / order["lab"]
    client = NotebookClient(
        _notebook(directory / notebook_file(order["lab"])),
        timeout=CELL_SECONDS,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(directory)}},
    )
    client.execute()
    lab = load(directory, journal.seed)
    chosen = [(lab, [*lab.exercises])]
    found = submission.gather(chosen, clusters.attach(NAME), journal)
    left = INSIDE / "answers.zip"
    left.unlink(missing_ok=True)  # a link that the notebook made would be followed
    bundle.write(left, found.answers)
    return 0


def _notebook(file: Path) -> Any:
    """Return a notebook; ends with what is wrong where the file is none."""
    import nbformat  # noqa: PLC0415

    try:
        return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AttributeError, KeyError, nbformat.ValidationError) as error:
        first, *_ = str(error).splitlines() or [""]
        sys.exit(f"it is no notebook that Jupyter can read: {first[:_SHOWN]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
