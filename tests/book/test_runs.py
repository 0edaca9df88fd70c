"""A lab runs on a cluster of its own, and a page is made of what it showed."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from bookmaking import runs, stage

from k8slab.clusters import doctor
from k8slab.course import release
from k8slab.errors import EnvironmentLacksError, UsageError

EXAMPLE = Path(__file__).parents[1] / "data" / "solutions" / "90-example"


@pytest.fixture(scope="module")
def needs_cluster():
    findings, providers = doctor.examine()
    if "embedded" not in providers:
        lacking = [one.what for one in findings if one.required and not one.ok]
        if os.environ.get("K8SLAB_REQUIRE_CLUSTER"):
            raise EnvironmentLacksError(f"no embedded cluster here: {lacking}")
        pytest.skip(f"no embedded cluster here: {lacking}")


@pytest.fixture
def place(tmp_path):
    """Give a lab's source, and what a learner gets of it."""
    source = tmp_path / "solutions" / EXAMPLE.name
    shutil.copytree(EXAMPLE, source)
    release.build_lab(source, tmp_path / "labs" / source.name)
    return source, tmp_path / "labs"


def outputs(book):
    return [one for cell in book["cells"] for one in cell.get("outputs", ())]


def write(source, *cells):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    head = "---\nkernelspec: {display_name: Python 3, language: python, name: python3}\n---\n"
    texts = [f"```{{code-cell}} ipython3\n{cell['source']}\n```" for cell in book["cells"]]
    (source / "lab.md").write_text(head + "\n\n".join(["# Lab", *texts]))


@pytest.mark.timeout(900)  # a cluster, a kernel, and all of a lab
def test_a_lab_runs_with_its_answers_and_tells_nothing_of_this_machine(place, needs_cluster):
    source, labs = place
    told = []
    found = runs.run_labs([source], labs, told=told.append)
    assert told == ["ran 90-example"]
    assert set(found) == {"90-example"}
    text = str(outputs(found["90-example"]))
    assert "solved, " in text
    assert "cluster k8slab (embedded)" in text
    assert str(source.parent.parent) not in text


def test_a_lab_is_named_by_its_number_or_its_name_and_others_are_told():
    assert [one.name for one in stage.sources(["02", "02-dns"])] == ["02-dns"]
    with pytest.raises(UsageError, match="there is no lab '99'") as caught:
        stage.sources(["99"])
    assert "02-dns" in caught.value.hint


def test_paths_of_this_machine_are_named_in_all_outputs(tmp_path):
    told = {"text": f"{tmp_path}/a", "list": [f"see {tmp_path}"], "number": 1}
    named = runs._without_paths(told, {str(tmp_path): "90-example"})
    assert named == {"text": "90-example/a", "list": ["see 90-example"], "number": 1}


@pytest.mark.timeout(900)
def test_a_cell_that_fails_stops_the_book_with_its_words(place, needs_cluster):
    source, labs = place
    write(source, "print('before')", "raise LookupError('the cell says why')")
    with pytest.raises(runs.RunError, match="the cell says why") as caught:
        runs.run_labs([source], labs, told=lambda line: None)
    assert "the lab 90-example did not run through" in str(caught.value)
