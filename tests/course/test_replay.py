"""Scores are reproduced in fresh clusters, and claims only compared."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from k8slab.course import Journal, Session, bundle, load, replay, submission
from k8slab.course.answers import give
from k8slab.course.setup import wanted_mark
from k8slab.errors import UsageError
from k8slab.grading import Status
from k8slab.objects import manifests

LABS = Path(__file__).parents[1] / "data" / "solutions"
NAME = "90-example"


@pytest.fixture(autouse=True)
def labs(monkeypatch):
    monkeypatch.setenv("K8SLAB_LABS", str(LABS))


def entry(**more):
    claimed = {"points": 2, "max_points": 2, "checks": 1, "hints": 0, "saw_solution": False}
    return {"claimed": claimed, **more}


def answers(**exercises):
    return {
        "made": "2026-01-02T03:04:05Z",
        "seed": 7,
        "versions": {"k8slab": "1"},
        "cluster": {"name": "k8slab", "nodes": 3},
        "labs": {NAME: {"exercises": exercises}},
    }


def solution():
    lab = load(LABS / NAME)
    made = manifests.load(lab.exercise("protect").solution)
    return [{**o, "metadata": {**o["metadata"], "namespace": "lab90-protect"}} for o in made]


def mark(exercise):
    return wanted_mark(load(LABS / NAME).exercise(exercise))


def test_a_submission_is_reproduced_in_a_fresh_cluster(cluster, tmp_path, monkeypatch):
    session = Session(load(LABS / NAME), cluster, Journal(tmp_path / "learner.sqlite"))
    try:
        session.begin("protect")
        cluster.apply(solution())
        assert session.check("protect").passed
        session.begin("look")
        pod = cluster.get("pods", "web", "lab90-look")
        labels = {"metadata": {"labels": {"checked": "yes"}}}
        path = "/api/v1/namespaces/lab90-look/pods/web"
        cluster.request("PATCH", path, labels, content_type="application/merge-patch+json")
        session.answer("web-address", pod["status"]["podIP"])
        assert session.check("look").passed
        found = submission.gather(
            [(session.lab, [*session.lab.exercises])], cluster, session.journal
        )
    finally:
        for exercise in session.lab.exercises.values():
            cluster.delete("namespaces", exercise.namespace)
    file = tmp_path / "anna.zip"
    bundle.write(file, found.answers)
    assert found.lines == [
        "90-example/look: 1 changed, 1 answers typed",
        "90-example/protect: 1 added",
    ]
    home, made = os.environ["K8SLAB_HOME"], []
    mkdtemp = tempfile.mkdtemp
    monkeypatch.setattr(
        tempfile, "mkdtemp", lambda **more: made.append(mkdtemp(**more)) or made[-1]
    )
    report = replay.grade_bundles([file], told=lambda _line: None)
    (grades,) = report.learners
    assert (grades.learner, grades.error) == ("anna", "")
    assert [(s.name, s.result.status, s.agrees) for s in grades.scores] == [
        ("90-example/look", Status.PASSED, True),
        ("90-example/protect", Status.PASSED, True),
    ]
    assert grades.scores[0].stated == ("web-address",)
    assert os.environ["K8SLAB_HOME"] == home
    assert [Path(directory).exists() for directory in made] == [False]


def test_what_needs_two_ip_families_is_replayed_where_there_are_two(
    dual_stack_cluster, tmp_path, monkeypatch
):
    labs = Path(__file__).parents[2] / "solutions"
    monkeypatch.setenv("K8SLAB_LABS", str(labs))
    lab = load(labs / "01-networking-model")
    journal = Journal(tmp_path / "learner.sqlite")
    session = Session(lab, dual_stack_cluster, journal)
    try:
        session.begin("dual-stack")
        give(session, "dual-stack", labs / lab.name / "answers" / "dual-stack" / "reference.yaml")
        found = submission.gather([(lab, ["dual-stack"])], dual_stack_cluster, journal)
    finally:
        for name in lab.exercise("dual-stack").namespaces:
            dual_stack_cluster.delete("namespaces", name)
    file = tmp_path / "dora.zip"
    bundle.write(file, found.answers)
    report = replay.grade_bundles([file], told=lambda _line: None)
    ((score,),) = [grades.scores for grades in report.learners]
    assert score.result.status is Status.PASSED, score.result.text()
    assert score.points == 1


def test_a_claim_is_not_believed_and_a_hostile_answer_harms_only_itself(cluster, tmp_path):
    """One bundle with an empty answer, a refused one, an unknown one; and broken files beside."""
    assert cluster.name  # this machine can run one
    outside = {**solution()[0], "metadata": {"name": "x", "namespace": "kube-system"}}
    files = [tmp_path / "liar.zip", tmp_path / "broken.zip"]
    given = answers(
        protect=entry(setup="old"),
        look=entry(setup=mark("look"), added=[outside]),
        gone=entry(setup="m"),
    )
    given["labs"]["77-unknown"] = {"exercises": {"a": entry()}}
    bundle.write(files[0], given)
    files[1].write_bytes(b"PK\x03\x04 not really")
    lines = []
    report = replay.grade_bundles(files, told=lines.append, workers=2)
    liar, broken = report.learners
    assert "damaged or no zip archive" in broken.error
    assert report.broken == [broken]
    by_name = {score.name: score for score in liar.scores}
    protect = by_name["90-example/protect"]
    assert (protect.points, protect.claimed, protect.agrees) == (0, 2, False)
    assert protect.result.status is Status.FAILED
    assert "another version of the course" in protect.notes[0]
    look = by_name["90-example/look"]
    assert look.result.status is Status.FAILED
    assert "outside of the exercise's namespaces" in look.result.text()
    for name in ("90-example/gone", "77-unknown/a"):
        assert by_name[name].result.status is Status.NOT_STARTED
        assert "renamed, removed" in by_name[name].result.text()
    assert (liar.points, liar.max_points) == (0, 3)
    assert lines == ["liar (1 of 2): 0 of 3 points", "broken (2 of 2): 0 of 0 points"]


def test_an_exercise_that_was_checked_and_is_gone_is_warned_of_and_claims_only(cluster, tmp_path):
    lab = load(LABS / NAME)
    journal = Journal(tmp_path / "learner.sqlite")
    journal.add(NAME, "check", "protect", status="passed", points=2)
    found = submission.gather([(lab, [*lab.exercises])], cluster, journal)
    assert found.answers["labs"][NAME]["exercises"].keys() == {"protect"}
    assert "setup" not in found.answers["labs"][NAME]["exercises"]["protect"]
    assert "nothing of it can be handed in" in found.warnings[0]
    assert bundle.fault(json.loads(json.dumps(found.answers))) == ""


def test_a_claim_of_a_course_that_gave_other_points_is_the_same_part_of_them():
    lab = load(LABS / NAME)
    claim = {"points": 5, "max_points": 10}
    assert replay._claim(claim, lab, "protect") == 1
    assert replay._claim({"points": 5}, lab, "protect") == 5
    assert replay._claim(claim, None, "protect") == 5


def test_learners_are_called_as_their_files_are(tmp_path):
    for name in ("b/answers.zip", "a/answers.zip", "carl.zip", "...zip"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "copied.zip").symlink_to(tmp_path / "carl.zip")
    files = replay.find_bundles([tmp_path])
    assert replay.learner_names(files) == ["nameless", "a/answers", "b/answers", "carl"]


def test_a_directory_without_bundles_is_said(tmp_path):
    with pytest.raises(UsageError, match="no bundle"):
        replay.find_bundles([tmp_path])


def test_the_state_directory_of_a_replay_goes_with_an_interrupt():
    before = os.environ.get("K8SLAB_HOME")
    homes = []

    def interrupted():
        with replay.fresh_home() as home:
            homes.append(home)
            assert home.is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not homes[0].exists()
    assert os.environ.get("K8SLAB_HOME") == before
