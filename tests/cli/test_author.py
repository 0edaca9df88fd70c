"""The commands of those who write labs."""

import json
import shutil
from pathlib import Path

import pytest

from k8slab.cli import labs
from k8slab.cli.main import run
from k8slab.course import Journal


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_lab_is_begun_judged_and_released(place, capsys):
    assert run(["author", "new-lab", "91-sample"]) == 0
    assert run(["author", "new-exercise", "91-sample", "second", "--json"]) == 0
    said = capsys.readouterr().out
    assert "wrote solutions/91-sample/lab.md" in said
    assert "solutions/91-sample/manifests/second.yaml" in json.loads(said[said.index("[") :])
    assert run(["author", "validate"]) == 1
    assert "2 exercises are checked; a core has 4 to 6" in capsys.readouterr().out
    assert run(["author", "validate", "91-sample", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)
    assert {"place": "solutions/91-sample/lab.md", "text": "1 predictions; a core has 3 to 5"} in (
        problems
    )
    assert run(["author", "release", "--check"]) == 1
    assert "is missing: run make labs" in capsys.readouterr().out
    assert run(["author", "release"]) == 0
    assert run(["author", "release", "--check"]) == 0
    assert (place / "labs" / "91-sample" / "91-sample.ipynb").is_file()


def test_a_lab_that_is_not_there_is_said_with_those_that_are(place, capsys):
    run(["author", "new-lab", "91-sample"])
    assert run(["author", "validate", "92-nothing"]) == 2
    said = capsys.readouterr().err
    assert "there is no lab '92-nothing' in solutions" in said
    assert "there are: 91-sample" in said


@pytest.mark.parametrize("command", ["validate", "release"])
def test_a_place_without_sources_is_said_and_nothing_is_removed(place, capsys, command):
    run(["author", "new-lab", "91-sample"])
    run(["author", "release"])
    assert run(["author", command, "--solutions", "elsewhere"]) == 2
    assert f"there is no lab's source in {place}/elsewhere" in capsys.readouterr().err
    assert (place / "labs" / "91-sample" / "91-sample.ipynb").is_file()


def test_a_lab_that_is_kept_without_a_source_is_told_whatever_else_is_done(place, capsys):
    run(["author", "new-lab", "91-sample"])
    run(["author", "new-lab", "92-gone"])
    run(["author", "release"])
    shutil.rmtree(place / "solutions" / "92-gone")
    capsys.readouterr()
    for argv in (["release"], ["release", "--json"]):
        assert run(["author", *argv]) == 0
        said = capsys.readouterr()
        assert "labs/92-gone has no source, k8slab author release --withdraw" in said.err
        assert "current" not in said.err
        assert said.out in ("", "[]\n")
    assert run(["author", "release", "--check", "--withdraw"]) == 1
    assert (place / "labs" / "92-gone").is_dir()
    assert run(["author", "release", "--withdraw"]) == 0
    assert not (place / "labs" / "92-gone").exists()
    assert "removed labs/92-gone/92-gone.ipynb" in capsys.readouterr().out


def test_a_place_for_labs_that_cannot_be_is_said(place, capsys):
    (place / "file").touch()
    assert run(["author", "new-lab", "91-sample", "--solutions", "file/below"]) == 2
    assert "file/below" in capsys.readouterr().err
    run(["author", "new-lab", "91-sample"])
    assert run(["author", "release", "--labs", "file/below"]) == 2
    assert "Not a directory\n  look at the path" in capsys.readouterr().err


def test_each_preview_has_the_authors_own_names_and_a_progress_of_its_own(place, monkeypatch):
    opened = []

    def open_labs(_root, *, environment, **_more):
        journal = Journal(Path(environment["K8SLAB_JOURNAL"]))
        opened.append((journal.seed(), journal.path))
        journal.add("91-sample", "begin", "first")

    monkeypatch.setattr(labs, "open_labs", open_labs)
    run(["author", "new-lab", "91-sample"])
    for _ in range(2):
        assert run(["author", "preview", "91-sample"]) == 0
    own = Journal()
    assert {seed for seed, _ in opened} == {own.seed()}
    assert len({path for _, path in opened}) == 2
    assert own.events("91-sample") == []
