"""The commands of those who write labs."""

import json

import pytest

from k8slab.cli.main import run


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
