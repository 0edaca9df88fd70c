import json
import shutil
from pathlib import Path

import pytest

from k8slab.course import load, made, release
from k8slab.course.__main__ import main
from k8slab.errors import ExerciseError, UsageError

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


def once_released(lab, name, content):
    """Put into a built lab what an earlier release made, under a name that no source has now."""
    (lab / name).write_bytes(content)
    with (lab / made.LIST).open("ab") as file:
        file.write(made.listing({name: content}))


def test_an_edited_lab_is_found_and_built_again(built, tmp_path):
    assert release.stale(DATA, tmp_path / "labs") == []
    once_released(built, "lab.ipynb", (built / NOTEBOOK).read_bytes())
    (built / NOTEBOOK).write_text("{}")
    (built / "manifests" / "shop.yaml").unlink()
    assert len(release.stale(DATA, tmp_path / "labs")) == 4  # the list is another one, too
    release.build(DATA, tmp_path / "labs")
    assert release.stale(DATA, tmp_path / "labs") == []


def test_what_a_learner_adds_is_left_alone(built, tmp_path):
    (built / "notes.txt").write_text("mine")
    (built / ".ipynb_checkpoints").mkdir()
    (built / ".ipynb_checkpoints" / NOTEBOOK).write_text("{}")
    release.build(DATA, tmp_path / "labs")
    assert (built / "notes.txt").exists()
    assert (built / ".ipynb_checkpoints" / NOTEBOOK).exists()


@pytest.mark.parametrize("name", ["lab.ipynb", "manifests/own.yaml", "notes.md"])
def test_what_somebody_wrote_is_told_and_left_alone(built, tmp_path, name):
    labs = tmp_path / "labs"
    once_released(built, name, b"as it was released")
    (built / name).write_bytes(b"as somebody changed it")
    (built / "manifests" / "more.yaml").write_text("somebody's own")
    (built / "empty" / "below").mkdir(parents=True)
    release.build(DATA, labs)
    assert (built / name).read_bytes() == b"as somebody changed it"
    assert (built / "empty" / "below").is_dir()
    told = "has no source, and no release made it as it is: move it away"
    said = sorted(f"{built / path} {told}" for path in (name, "manifests/more.yaml"))
    assert release.left(DATA, labs) == release.stale(DATA, labs) == said


def test_links_are_neither_followed_nor_removed(built, tmp_path):
    labs, other = built.parent, tmp_path / "other"
    shutil.move(built, other)
    shutil.copytree(other, labs / "91-mine")
    (labs / "91-mine" / "link.yaml").symlink_to(other / "exercises.yaml")
    (labs / "91-mine" / "below").symlink_to(other)
    (labs / "92-mine").symlink_to(other)
    before = sorted(other.rglob("*"))
    release.build(DATA, labs, withdraw=True)
    assert sorted(other.rglob("*")) == before
    assert (labs / "91-mine" / "link.yaml").is_symlink()
    assert (labs / "92-mine").is_symlink()
    shutil.rmtree(built)
    built.symlink_to(other)
    (other / NOTEBOOK).write_text("mine")
    with pytest.raises(UsageError, match=f"{built} is a link, and a release writes nothing"):
        release.build(DATA, labs)
    assert (other / NOTEBOOK).read_text() == "mine"


def gone(built, name):
    """Make a lab that was released once, and whose source is gone."""
    source = built.parent.parent / "source" / name
    shutil.copytree(DATA / "90-example", source)
    file = source / "exercises.yaml"
    file.write_text(file.read_text().replace("90-example", name))
    release.build_lab(source, built.parent / name)
    return built.parent / name


def test_a_lab_whose_source_is_gone_goes_when_that_is_asked_for(built):
    labs = built.parent
    page = gone(built, "92-written") / "92-written.ipynb"
    page.write_text(page.read_text().replace("# your answer", "mine"))
    (gone(built, "91-gone") / "notes.txt").write_text("mine")
    gone(built, "93-gone")
    shutil.copytree(built, labs / "94-mine")
    (labs / "95-mine").mkdir()
    (labs / "95-mine" / "exercises.yaml").write_text("lab: 95-mine")
    kept = [
        f"{labs}/92-written has no source, and somebody wrote in it: move it away",
        f"{labs}/94-mine has no source, and no release made it: move it away",
        f"{labs}/95-mine has no source, and no release made it: move it away",
    ]
    asked = "has no source, k8slab author release --withdraw removes it"
    release.build(DATA, labs)
    assert sorted(release.left(DATA, labs)) == sorted(
        [*kept, f"{labs}/91-gone {asked}", f"{labs}/93-gone {asked}"]
    )
    release.build(DATA, labs, withdraw=True)
    assert release.left(DATA, labs) == release.stale(DATA, labs) == kept
    assert [path.name for path in (labs / "91-gone").iterdir()] == ["notes.txt"]
    assert not (labs / "93-gone").exists()
    assert "mine" in page.read_text()
    assert (labs / "92-written" / "manifests" / "shop.yaml").exists()


def test_another_directory_of_sources_takes_no_lab_away(built, capsys):
    labs, other = built.parent, built.parent.parent / "other"
    gone(built, "91-sample")
    shutil.copytree(labs.parent / "source", other)
    assert main(["--solutions", str(other), "--labs", str(labs)]) == 0
    assert f"{built} has no source, k8slab author release --withdraw" in capsys.readouterr().err
    assert (built / NOTEBOOK).exists()
    assert main(["--solutions", str(other), "--labs", str(labs), "--withdraw"]) == 0
    assert not built.exists()


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_a_directory_without_sources_removes_no_lab(built, capsys, options):
    wrong = built.parent.parent / "solution"
    argv = ["--solutions", str(wrong), "--labs", str(built.parent), *options]
    assert main(argv) == 2
    assert f"there is no lab's source in {wrong}" in capsys.readouterr().err
    assert (built / NOTEBOOK).exists()


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
