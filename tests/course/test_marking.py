"""A class is graded side by side: nobody ends another's grading, overwrites it, or is forgotten."""

import os
import signal
import threading
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path

import pytest

from k8slab.clusters import homes
from k8slab.course import bundle, load, marking, replay
from k8slab.course.setup import wanted_mark
from k8slab.errors import ClusterNotReadyError, UsageError
from k8slab.grading import Finding, Result, Status
from k8slab.grading.report import Grades, Score
from k8slab.testing.fake import FakeCluster

LABS = Path(__file__).parents[1] / "data" / "solutions"
NAME = "90-example"
CLAIM = {"points": 2, "max_points": 2, "checks": 1, "hints": 0, "saw_solution": False}


@pytest.fixture(autouse=True)
def labs(monkeypatch):
    monkeypatch.setenv("K8SLAB_LABS", str(LABS))


def answers(labs):
    return {
        "made": "2026-01-02T03:04:05Z",
        "seed": 7,
        "versions": {},
        "cluster": {"name": "k8slab"},
        "labs": labs,
    }


# Names.


def made(directory, *names):
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return [directory / name for name in names]


def test_learners_are_called_as_their_files_are(tmp_path):
    assert marking.learner_names([tmp_path / "...ipynb"]) == ["nameless"]
    assert marking.learner_names([tmp_path / "dora.ipynb"]) == ["dora"]
    made(tmp_path, "b/answers.zip", "a/answers.zip", "carl.zip", "...zip")
    (tmp_path / "copied.zip").symlink_to(tmp_path / "carl.zip")
    files = marking.find_bundles([tmp_path])
    assert marking.learner_names(files) == ["nameless", "a/answers", "b/answers", "carl"]


def test_no_file_beside_the_answers_is_run_by_the_grader(tmp_path, monkeypatch):
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_text("")
    (tmp_path / "multiprocessing.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    report = marking.grade_bundles(marking.find_bundles([tmp_path]), told=lambda _line: None)
    assert ["no bundle of answers" in one.error for one in report.learners] == [True, True]
    assert not (tmp_path / "ran").exists()
    assert "PYTHONSAFEPATH" not in os.environ


def test_a_bundle_whose_ending_is_in_capitals_is_graded_too(tmp_path):
    for name in ("anna.zip", "BEN.ZIP", "notes.txt"):
        (tmp_path / name).write_text("")
    files = marking.find_bundles([tmp_path])
    assert sorted(marking.learner_names(files)) == ["BEN", "anna"]


def test_names_have_so_many_directories_as_tell_them_apart(tmp_path):
    files = made(
        tmp_path, "anna/lab05/answers.zip", "boris/lab05/answers.zip", "boris/lab06/answers.zip"
    )
    assert marking.learner_names(files) == [
        "anna/lab05/answers",
        "boris/lab05/answers",
        "lab06/answers",
    ]


def test_no_name_leads_upwards(tmp_path, monkeypatch):
    made(tmp_path, "here/b/a.zip", "a.zip")
    monkeypatch.chdir(tmp_path / "here")
    found = marking.learner_names([Path("../a.zip"), Path("b/a.zip")])
    assert found == [f"{tmp_path.name}/a", "b/a"]


def test_a_file_that_is_named_twice_is_refused(tmp_path):
    files = made(tmp_path, "a.zip", "b.zip")
    with pytest.raises(UsageError, match="two learners would both be called"):
        marking.learner_names([*files, tmp_path / "x" / ".." / "a.zip"])


def test_a_name_that_cannot_be_shown_is_made_visible(tmp_path):
    assert marking.learner_names([tmp_path / "a\n\x1b[2Jb\udcff.zip"]) == ["a␊␛[2Jb\ufffd"]


def test_a_directory_without_bundles_is_said(tmp_path):
    with pytest.raises(UsageError, match="no bundle"):
        marking.find_bundles([tmp_path])


# What goes wrong with one.


def test_what_nobody_foresaw_is_told_of_that_learner_and_logged(caplog):
    def grade():
        raise TypeError("float where\nint was meant")

    found = marking._guarded("anna", "in/anna.zip", grade)
    assert (found.learner, found.scores, found.unfinished) == ("anna", (), True)
    assert found.error.startswith("in/anna.zip: grading it failed")
    assert "TypeError: float where" in found.error
    assert "Traceback" in caplog.text


def test_a_cluster_that_did_not_start_is_tried_again_when_all_others_are_done(
    tmp_path, monkeypatch
):
    lab = load(LABS / NAME)
    given = {"setup": wanted_mark(lab.exercise("look")), "claimed": CLAIM}
    file = tmp_path / "anna.zip"
    bundle.write(file, answers({NAME: {"exercises": {"look": given}}}))
    starts = [ClusterNotReadyError("after 60 s no node is ready"), FakeCluster()]

    def up(*_names, **_more):
        found = starts.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(replay.clusters, "up", up)
    told = []
    (grades,) = marking.grade_bundles([file], told=told.append).learners
    assert "anna: all once more, alone" in told
    assert starts == []
    assert grades.error == ""
    assert grades.scores[0].result.status is Status.FAILED


def test_a_process_that_is_killed_ends_the_grading_of_its_own_bundle_alone(tmp_path, monkeypatch):
    """The lab of the one is a pipe that nobody writes to: its process waits until it is killed."""
    slow = tmp_path / "labs" / "01-slow"
    slow.mkdir(parents=True)
    os.mkfifo(slow / "exercises.yaml")
    monkeypatch.setenv("K8SLAB_LABS", str(tmp_path / "labs"))
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))
    files = [tmp_path / "slow.zip", tmp_path / "quick.zip"]
    bundle.write(files[0], answers({slow.name: {"exercises": {"a": {"claimed": CLAIM}}}}))
    bundle.write(files[1], answers({"02-gone": {"exercises": {"a": {"claimed": CLAIM}}}}))
    lines, done = [], threading.Event()

    def said(line):
        lines.append(line)
        if line.startswith("quick"):
            done.set()

    def kill():
        assert done.wait(120)
        for _ in range(2):
            with (slow / "exercises.yaml").open("w"):  # opened as soon as it is read
                (child,) = active_children()
                os.kill(child.pid, signal.SIGKILL)
                with suppress(ChildProcessError):  # dead; its parent is the one who reaps it
                    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    killer = threading.Thread(target=kill)
    killer.start()
    steps = []
    report = marking.grade_bundles(files, told=steps.append, said=said, workers=2)
    killer.join()
    first, second = report.learners
    assert "was ended (SIGKILL)" in first.error
    assert (first.unfinished, second.error, second.scores[0].claimed) == (True, "", 2)
    assert lines == [
        "quick (2 of 2): 0 of 0 points",
        "slow (1 of 2): not graded",
        "slow (1 of 2): not graded",
    ]
    assert steps == ["grading 2 bundles", "slow: all once more, alone"]
    assert [*(tmp_path / "home" / homes.DIRECTORY).iterdir()] == []


# What could not be judged.


def score(exercise, status):
    return Score(NAME, Result(exercise, exercise, 1, (Finding("flows", status, ("so",)),)))


def test_what_could_not_be_judged_is_done_once_more_and_nothing_else():
    asked = []

    def again(learner, part):
        asked.append((learner, part))
        return Grades(learner, scores=(score("b", Status.PASSED),))

    first = Grades("anna", scores=(score("a", Status.FAILED), score("b", Status.INCONCLUSIVE)))
    found = marking.twice(first, again)
    assert asked == [("anna", {NAME: ("b",)})]
    assert [(s.name, s.points) for s in found.scores] == [(f"{NAME}/a", 0), (f"{NAME}/b", 1)]
    assert found.scores[1].notes == ("judged twice, the first time it said: inconclusive",)
    assert found.complete


def test_what_cannot_be_judged_twice_stays_so_and_is_said():
    first = Grades("anna", scores=(score("a", Status.ERROR),))
    found = marking.twice(first, lambda *_: Grades("anna", scores=(score("a", Status.ERROR),)))
    assert not found.complete
    found = marking.twice(first, lambda *_: Grades("anna", error="no cluster\n  look"))
    assert not found.complete
    assert found.scores[0].notes == ("done once more, which failed: no cluster",)


def test_a_bundle_that_is_none_is_not_tried_again(tmp_path):
    (tmp_path / "x.zip").write_text("no")
    told = []
    (grades,) = marking.grade_bundles([tmp_path / "x.zip"], told=told.append).learners
    assert (grades.complete, told) == (True, [])
    assert "damaged or no zip" in grades.error
