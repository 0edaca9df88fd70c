"""The example lab as its learners meet it: real kernel, real cluster, nbval."""

from pathlib import Path

import pytest

from k8slab.course import release
from k8slab.testing.notebooks import run_notebook

DATA = Path(__file__).parents[1] / "data" / "solutions"


@pytest.mark.parametrize("kind", ["untouched", "solved"])
def test_the_notebook_runs_through(kind, cluster, tmp_path):
    if kind == "solved":
        (notebook,) = release.build_solutions(DATA, tmp_path)
    else:
        release.build(DATA, tmp_path)
        notebook = tmp_path / "90-example" / "90-example.ipynb"
    done = run_notebook(notebook, cluster=cluster.name)
    cluster.delete("namespaces", "lab90-protect")
    cluster.wait("namespaces", "lab90-protect", until="delete")
    assert done.code == 0, done.stdout
