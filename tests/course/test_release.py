import json
import shutil
from pathlib import Path

import pytest

from k8slab.course import load, release
from k8slab.course.__main__ import main
from k8slab.errors import ExerciseError

NOTEBOOK = "90-example.ipynb"
DATA = Path(__file__).parents[1] / "data" / "solutions"


@pytest.fixture
def built(tmp_path):
    release.build(DATA, tmp_path / "labs")
    return tmp_path / "labs" / "90-example"


def test_the_released_notebook_has_no_solution_and_no_key(built):
    text = (built / NOTEBOOK).read_text()
    notebook = json.loads(text)
    assert "matchLabels" not in text
    assert "raise_on_fail" not in text
    assert "# your answer" in text
    assert all(not cell.get("outputs") for cell in notebook["cells"])
    assert notebook["nbformat"] == 4


def test_keys_hints_and_solutions_are_sealed_and_still_work(built):
    text = (built / "exercises.yaml").read_text()
    assert "key:" not in text
    assert "reason:" not in text
    assert "A policy is needed" not in text
    assert not (built / "answers").exists()
    released, source = load(built), load(DATA / "90-example")
    assert released.prediction("open-by-default") == source.prediction("open-by-default")
    assert released.exercise("protect") == source.exercise("protect")


def test_a_build_gives_the_same_bytes_twice(built, tmp_path):
    release.build(DATA, tmp_path / "again")
    for path in sorted(built.iterdir()):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / "90-example" / path.name).read_bytes()


def test_an_edited_lab_is_found_and_built_again(built, tmp_path):
    assert release.stale(DATA, tmp_path / "labs") == []
    (built / "lab.ipynb").write_bytes((built / NOTEBOOK).read_bytes())  # its name of once
    (built / NOTEBOOK).write_text("{}")
    (built / "manifests" / "shop.yaml").unlink()
    assert len(release.stale(DATA, tmp_path / "labs")) == 3
    release.build(DATA, tmp_path / "labs")
    assert release.stale(DATA, tmp_path / "labs") == []


def test_what_a_learner_adds_is_left_alone(built, tmp_path):
    (built / "notes.txt").write_text("mine")
    (built / ".ipynb_checkpoints").mkdir()
    (built / ".ipynb_checkpoints" / NOTEBOOK).write_text("{}")
    release.build(DATA, tmp_path / "labs")
    assert (built / "notes.txt").exists()
    assert (built / ".ipynb_checkpoints" / NOTEBOOK).exists()


@pytest.mark.parametrize("change", [lambda text: text.replace("# your answer", "mine"), "{".join])
def test_a_notebook_of_another_name_is_left_alone_when_somebody_wrote_in_it(
    built, tmp_path, change
):
    old = built / "lab.ipynb"
    old.write_text(change((built / NOTEBOOK).read_text()))
    before = old.read_bytes()
    assert release.build(DATA, tmp_path / "labs") == []
    assert old.read_bytes() == before
    (said,) = release.stale(DATA, tmp_path / "labs")
    assert said == f"{old} has no source: somebody wrote in it: move it away"


def test_notebooks_are_called_after_their_lab():
    assert release.notebook_file("90-example") == "90-example.ipynb"
    assert release.notebook_file("90-example", "stretch") == "90-example-stretch.ipynb"


def test_the_solution_notebook_keeps_everything_for_nbval(tmp_path):
    (path,) = release.build_solutions(DATA, tmp_path)
    text = path.read_text()
    assert "matchLabels" in text
    assert "raise_on_fail" in text
    assert (path.parent / "manifests" / "shop.yaml").exists()


def test_regions_are_replaced_at_their_indentation():
    source = "if x:\n    ### BEGIN SOLUTION\n    y = 1\n    ### END SOLUTION\nz = 2"
    assert release.strip_solutions(source) == "if x:\n    # your answer\nz = 2"


@pytest.mark.parametrize(
    "source", ["### BEGIN SOLUTION", "### END SOLUTION", "### BEGIN SOLUTION\n### BEGIN SOLUTION"]
)
def test_a_region_that_does_not_close_is_refused(source):
    with pytest.raises(ExerciseError):
        release.strip_solutions(source)


def test_the_command_builds_and_compares(tmp_path, capsys):
    solutions = tmp_path / "solutions"
    shutil.copytree(DATA, solutions)
    options = ["--solutions", str(solutions), "--labs", str(tmp_path / "labs")]
    assert main(["--check", *options]) == 1
    assert main(options) == 0
    assert main(["--check", *options]) == 0
    manifest = solutions / "90-example" / "manifests" / "shop.yaml"
    (manifest.with_name("more.yaml")).write_text("")
    assert main(options) == 0
    (manifest.with_name("more.yaml")).unlink()
    assert main(options) == 0
    said = capsys.readouterr().err
    assert "wrote " in said
    assert f"removed {tmp_path / 'labs' / '90-example' / 'manifests' / 'more.yaml'}" in said
    (solutions / "90-example" / "exercises.yaml").write_text("lab: 90-example")
    assert main(options) == 2
    assert "field 'title' is missing" in capsys.readouterr().err
