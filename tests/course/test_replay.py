"""Scores are reproduced in fresh clusters, and claims only compared."""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from k8slab.course import (
    Journal,
    Session,
    bundle,
    load,
    marking,
    renamed,
    replay,
    submission,
)
from k8slab.course.answers import give
from k8slab.course.setup import wanted_mark
from k8slab.errors import ClusterNotReadyError
from k8slab.grading import Status
from k8slab.objects import manifests
from k8slab.testing.fake import FakeCluster

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
            cluster.wait("namespaces", exercise.namespace, until="delete")
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
    report = marking.grade_bundles([file], told=lambda _line: None)
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
            dual_stack_cluster.wait("namespaces", name, until="delete")
    file = tmp_path / "dora.zip"
    bundle.write(file, found.answers)
    asked = {lab.name: ["dual-stack"]}
    report = marking.grade_bundles([file], told=lambda _line: None, asked=asked)
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
    report = marking.grade_bundles(files, told=lambda _line: None, said=lines.append, workers=2)
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
    assert sorted(lines) == ["broken (2 of 2): not graded", "liar (1 of 2): 0 of 3 points"]


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


def graded(monkeypatch, given, asked=None):
    """Grade answers on clusters of plain Python; returns the grades, and which were wanted."""
    ups = []

    def up(_name, *, wanted, **_more):
        ups.append(wanted)
        return FakeCluster()

    monkeypatch.setattr(replay.clusters, "up", up)
    one = bundle.Bundle("in/anna.zip", given)
    return replay.grade_bundle(one, "anna", told=lambda _line: None, asked=asked), ups


def statuses(grades):
    return {score.name: (score.result.status, score.result.max_points) for score in grades.scores}


def test_what_of_a_lab_was_not_handed_in_counts_as_not_begun(monkeypatch):
    grades, _ = graded(monkeypatch, answers(protect=entry(setup=mark("protect"))))
    found = statuses(grades)
    assert [*found] == ["90-example/look", "90-example/protect"]
    assert found["90-example/look"] == (Status.NOT_STARTED, 1)
    assert grades.scores[0].claimed is None
    assert "nothing was handed in" in grades.scores[0].result.text()
    assert grades.max_points == 3


def test_a_lab_of_which_nothing_was_handed_in_counts_where_it_was_asked_for(monkeypatch):
    grades, ups = graded(monkeypatch, answers())
    assert (grades.scores, ups) == ((), [])
    for labs in (answers()["labs"], {}):
        given = {**answers(), "labs": labs}
        grades, _ = graded(monkeypatch, given, {NAME: ("look", "protect")})
        assert (grades.points, grades.max_points) == (0, 3)


def test_what_was_not_asked_for_is_left_out(monkeypatch):
    given = answers(look=entry(setup=mark("look")), protect=entry(setup=mark("protect")))
    given["labs"]["77-unknown"] = {"exercises": {"a": entry()}}
    grades, _ = graded(monkeypatch, given, {NAME: ("protect",)})
    assert [*statuses(grades)] == ["90-example/protect"]


@pytest.mark.parametrize(("had", "used"), [(1, 3), (3, 3), (4, 4), (10, 5)])
def test_a_bundle_does_not_choose_how_many_nodes_there_are(monkeypatch, had, used):
    given = answers(look=entry(setup=mark("look")))
    given["cluster"]["nodes"] = had
    grades, (wanted,) = graded(monkeypatch, given)
    assert wanted.nodes == used
    noted = () if had == 3 else (f"answered in a cluster of {had} nodes, graded in one of {used}",)
    assert grades.notes == noted


def test_whoever_grades_is_told_why_a_transfer_is_not_solved(monkeypatch):
    lab = load(LABS / NAME)
    look = replace(lab.exercises["look"], transfer=True)
    transfer = replace(lab, exercises={**lab.exercises, "look": look})
    monkeypatch.setattr(replay, "load", lambda *_: transfer)
    grades, _ = graded(monkeypatch, answers(look=entry(setup=mark("look"))))
    told = grades.scores[0].result.text()
    assert "from the second check on" not in told
    assert "Which address has the pod web?" in told


@pytest.fixture
def replayed(monkeypatch):
    """Replay on clusters of plain Python what was added."""
    monkeypatch.setattr(replay.admission, "admit", lambda *_: None)
    monkeypatch.setattr(replay, "replay", lambda there, found, **_: there.apply(found.added) and [])


def saw(claimed, most=2):
    """Return the right answer of a learner who saw the solution, with so many points before."""
    given = entry(setup=mark("protect"), added=solution())
    given["claimed"] |= {"points": claimed, "max_points": most, "saw_solution": True}
    return answers(protect=given)


def test_what_a_bundle_adds_to_the_whole_cluster_goes_when_its_exercise_fails_too(
    replayed, monkeypatch
):
    there = FakeCluster()
    there.resources = SimpleNamespace(of=lambda _obj: SimpleNamespace(plural="nodes", group=""))
    monkeypatch.setattr(replay._Clusters, "get", lambda *_: there)
    wide = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "of-the-bundle"}}
    found = []

    def fails(*_):
        found.append(there.get("nodes", "of-the-bundle"))
        raise ClusterNotReadyError("the cluster is too slow")

    monkeypatch.setattr(Session, "check", fails)
    grades, _ = graded(monkeypatch, answers(protect=entry(setup=mark("protect"), added=[wide])))
    assert grades.scores[1].result.status is Status.ERROR
    assert "too slow" in grades.scores[1].result.text()
    assert found[0] is not None
    assert there.get("nodes", "of-the-bundle") is None
    assert there.get("namespaces", "lab90-protect") is None


def test_what_was_not_admitted_is_not_taken_from_the_cluster(monkeypatch):
    there = FakeCluster()
    there.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "its-own"}}])
    there.resources = SimpleNamespace(of=lambda _obj: SimpleNamespace(plural="nodes", group=""))
    monkeypatch.setattr(replay._Clusters, "get", lambda *_: there)

    def refuse(*_):
        raise bundle.BundleError("not yours")

    monkeypatch.setattr(replay.admission, "admit", refuse)
    wide = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "its-own"}}
    grades, _ = graded(monkeypatch, answers(protect=entry(setup=mark("protect"), added=[wide])))
    assert grades.scores[1].result.status is Status.FAILED
    assert there.get("nodes", "its-own") is not None


@pytest.mark.parametrize(("claimed", "most", "points"), [(0, 2, 0), (1, 4, 0.5), (2, 2, 2)])
def test_after_a_solution_no_more_is_given_than_was_claimed(
    replayed, monkeypatch, claimed, most, points
):
    grades, _ = graded(monkeypatch, saw(claimed, most), {NAME: ("protect",)})
    (score,) = grades.scores
    assert score.result.status is Status.PASSED
    assert (score.points, grades.points, grades.max_points) == (points, points, 2)
    assert score.agrees
    counted = f": no more than the {points:g} points from before count" if points < 2 else ""
    assert score.notes == (f"the learner looked at the solution{counted}",)


def test_a_worked_exercise_is_graded_in_full_whatever_was_shown(replayed, monkeypatch):
    course = load(LABS / NAME)
    one = course.exercise("protect")
    worked = replace(one, wishes=replace(one.wishes, title="Worked: a wall"))
    monkeypatch.setattr(replay, "_lab", lambda *_: replace(course, exercises={"protect": worked}))
    grades, _ = graded(monkeypatch, saw(0))
    assert (grades.points, grades.scores[0].notes) == (2, ("the learner looked at the solution",))


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


def test_an_answer_under_an_exercises_old_id_is_graded_as_the_exercise_of_today(monkeypatch):
    course = load(LABS / NAME)
    guard = replace(course.exercise("protect"), formerly=("fence",))
    lab = replace(course, exercises={"protect": guard})
    monkeypatch.setattr(replay, "_lab", lambda *_: lab)
    text = guard.solution.replace("lab90-protect", "lab90-fence")
    (policy,) = manifests.load(text)
    policy["metadata"]["namespace"] = "lab90-fence"
    given = answers(fence=entry(setup="older", added=[policy]))
    monkeypatch.setattr(replay.admission, "admit", lambda *_: None)
    made = []
    monkeypatch.setattr(replay, "replay", lambda _c, found, **_: made.extend(found.added) or [])
    grades, _ = graded(monkeypatch, given)
    (score,) = grades.scores
    assert score.name == "90-example/protect"
    assert "another version of the course" in score.notes[0]
    assert [one["metadata"]["namespace"] for one in made] == ["lab90-protect"]


def test_the_old_namespace_is_renamed_where_it_stands_by_itself_and_nowhere_else():
    course = load(LABS / NAME)
    guard = replace(course.exercise("protect"), formerly=("fence",))
    lab = replace(course, exercises={"protect": guard})
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab90-protect-near"}}
    lab = replace(lab, exercises={"protect": replace(guard, setup=(*guard.setup, space))})
    told = {"text": "db.lab90-fence.svc lab90-fence-near lab90-fence-2 old-lab90-fence fence"}
    found = renamed.today({"fence": {"typed": {"a": told}}, "other": {}}, lab)
    text = "db.lab90-protect.svc lab90-protect-near lab90-fence-2 old-lab90-fence fence"
    assert found == {"other": {}, "protect": {"typed": {"a": {"text": text}}}}
    newer = {"protect": {"claimed": 1}, "fence": {"claimed": 2}}
    assert renamed.today(newer, lab) == {"protect": {"claimed": 1}}
