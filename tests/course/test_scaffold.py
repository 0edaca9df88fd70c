"""What an author begins with works before a word of it is changed."""

import pytest

from k8slab.course import Journal, Session, load
from k8slab.course.answers import answer_files, give
from k8slab.course.mutants import Trials
from k8slab.course.release import build
from k8slab.course.review import review
from k8slab.course.scaffold import new_exercise, new_lab
from k8slab.errors import UsageError
from k8slab.grading import Status
from k8slab.testing.fake import FakeCluster


def test_a_new_lab_can_be_released_and_lacks_only_what_its_author_must_write(tmp_path):
    new_lab(tmp_path / "solutions", "91-sample", title='A "quoted" title')
    source = tmp_path / "solutions" / "91-sample"
    assert load(source).title == 'A "quoted" title'
    assert [problem.text for problem in review(source)] == [
        "1 predictions; a core has 3 to 5",
        "1 exercises are checked; a core has 4 to 6",
    ]
    assert build(tmp_path / "solutions", tmp_path / "labs")
    assert list(load(tmp_path / "labs" / "91-sample").exercises) == ["first"]


def test_a_new_exercise_stands_behind_the_others_and_leaves_the_text_alone(tmp_path):
    new_lab(tmp_path, "91-sample")
    source = tmp_path / "91-sample"
    file = source / "exercises.yaml"
    file.write_text(
        file.read_text().replace("\npredictions:", "\n# What is foretold.\npredictions:")
    )
    before = file.read_text()
    made = new_exercise(source, "second")
    assert list(load(source).exercises) == ["first", "second"]
    head, _, tail = before.partition("\n# What is foretold.")
    assert file.read_text().startswith(head)
    assert file.read_text().endswith("\n# What is foretold." + tail)
    assert {path.name for path in made} >= {"second.yaml", "reference.yaml", "lab.md"}
    assert 'lab.check("second")' in (source / "lab.md").read_text()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda place: new_lab(place, "sample"), "'sample' cannot be a lab's name"),
        (lambda place: new_lab(place, "91-other"), "the number 91 is taken by"),
        (lambda place: new_exercise(place / "91-sample", "First"), "cannot be an exercise's name"),
        (
            lambda place: new_exercise(place / "91-sample", "first"),
            "has an exercise 'first'",
        ),
        (
            lambda place: new_exercise(place / "91-sample", "second", notebook="third"),
            "there is no notebook 'third'",
        ),
    ],
)
def test_what_cannot_be_begun_is_said_and_nothing_is_written(tmp_path, make, told):
    new_lab(tmp_path, "91-sample")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=told):
        make(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_first_exercise_beyond_the_core_begins_the_second_notebook(tmp_path):
    new_lab(tmp_path, "91-sample", "Lab 91: samples")
    source = tmp_path / "91-sample"
    for name in ("more", "most"):
        assert source / "stretch.md" in new_exercise(source, name, notebook="stretch")
    text = (source / "stretch.md").read_text()
    assert "# Lab 91: samples, stretch" in text
    assert text.count("lab.start()") == 1
    assert text.index("lab.start()") < text.index('("more")') < text.index('("most")')
    lab = load(source)
    assert [one.title for one in lab.exercises.values()][1:] == ["Stretch: more", "Stretch: most"]
    assert [one.id for one in lab.core] == ["first"]
    places = {problem.place for problem in review(source)}
    assert not any("stretch" in place or "mo" in place for place in places), places


def test_the_second_exercise_of_a_core_is_one_to_complete(tmp_path):
    new_lab(tmp_path, "91-sample")
    source = tmp_path / "91-sample"
    new_exercise(source, "more", notebook="stretch")
    new_exercise(source, "second")
    new_exercise(source, "third")
    titles = {one.id: one.title for one in load(source).exercises.values()}
    assert titles["second"] == "To complete: second"
    assert titles["third"] == "Independent: third"


def test_a_file_that_is_there_is_never_written_over(tmp_path):
    new_lab(tmp_path, "91-sample")
    mine = tmp_path / "91-sample" / "manifests" / "second.yaml"
    mine.write_text("mine")
    with pytest.raises(UsageError, match="is there already; nothing was written"):
        new_exercise(tmp_path / "91-sample", "second")
    assert mine.read_text() == "mine"
    assert list(load(tmp_path / "91-sample").exercises) == ["first"]


@pytest.mark.parametrize("name", ["no", "7", "null"])
def test_a_name_or_title_that_yaml_would_read_otherwise_is_what_was_said(tmp_path, name):
    new_lab(tmp_path, "91-sample")
    new_exercise(tmp_path / "91-sample", name, 'Independent: "and" or \\or')
    found = load(tmp_path / "91-sample").exercises[name]
    assert found.title == 'Independent: "and" or \\or'


def test_a_name_too_long_for_a_namespace_is_refused_and_the_lab_can_still_be_read(tmp_path):
    new_lab(tmp_path, "91-sample")
    with pytest.raises(UsageError, match="would have 64 characters"):
        new_exercise(tmp_path / "91-sample", "x" * 58)
    assert list(load(tmp_path / "91-sample").exercises) == ["first"]
    new_exercise(tmp_path / "91-sample", "x" * 57)
    assert len(load(tmp_path / "91-sample").exercises) == 2


def test_the_graders_of_a_new_exercise_refuse_every_mutant_of_its_answers(tmp_path, monkeypatch):
    new_lab(tmp_path, "91-sample")
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    lab = load(tmp_path / "91-sample")
    cluster = FakeCluster(reports_denials=True)
    tried = list(Trials.on(cluster, lab, "first", scratch, every=True).run())
    assert [trial.name for trial in tried if not trial.as_wanted] == []
    assert [trial.sort for trial in tried].count("mutant") > 10


def test_the_graders_of_a_new_exercise_tell_right_from_wrong(tmp_path, cluster):
    new_lab(tmp_path, "91-sample")
    source = tmp_path / "91-sample"
    session = Session(load(source), cluster, Journal(tmp_path / "journal.sqlite"))
    session.begin("first")
    seen = {}
    try:
        for file in answer_files(source, "first"):
            give(session, "first", file)
            seen[file.stem] = session.check("first").status
            for policy in cluster.list("networkpolicies.networking.k8s.io", "lab91-first"):
                name = policy["metadata"]["name"]
                cluster.delete("networkpolicies.networking.k8s.io", name, "lab91-first")
    finally:
        cluster.delete("namespaces", "lab91-first")
        cluster.wait("namespaces", "lab91-first", until="delete")
    assert seen == {
        "alternative-expression": Status.PASSED,
        "reference": Status.PASSED,
        "wrong-everybody": Status.FAILED,
    }
