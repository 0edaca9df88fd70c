"""The start that is graded against is that of the set-up which stands in the cluster."""

import dataclasses

import pytest

from k8slab.course import Session, difference, setup, start
from k8slab.course.difference import Difference
from k8slab.testing.fake import FakeCluster

LAB, NAME = "90-example", "protect"


def baseline(session):
    return session._context(session.lab.exercise(NAME)).baseline


def last(session):
    return start.last(session._attempt(session.lab.exercise(NAME)))


def otherwise(session):
    """Give the lab as another version of the course has it: one label more."""
    exercise = session.lab.exercise(NAME)
    first, *rest = exercise.setup
    labels = {**first["metadata"].get("labels", {}), "newer": "yes"}
    first = {**first, "metadata": {**first["metadata"], "labels": labels}}
    newer = dataclasses.replace(exercise, setup=(first, *rest))
    lab = dataclasses.replace(session.lab, exercises={**session.lab.exercises, NAME: newer})
    return Session(lab, session.cluster, session.journal, session.told)


def test_what_was_measured_on_another_cluster_is_not_compared_with(session):
    session.begin(NAME)
    there = baseline(session)
    other = Session(session.lab, FakeCluster(name="other"), session.journal)
    other.cluster.walled |= {"lab90-protect/db"}
    other.begin(NAME)
    assert baseline(other) != there
    assert baseline(session) == there


def test_a_cluster_of_the_same_name_that_was_made_anew_is_another_one(session):
    session.begin(NAME)
    session.cluster = FakeCluster(_count=1000)
    assert last(session) is None
    session.begin(NAME)
    assert (
        last(session).data["uid"]
        == start.Attempt(LAB, session.lab.exercise(NAME), session.cluster, session.journal).uid
    )


def test_a_set_up_that_is_interrupted_while_it_is_measured_is_measured_again(session, monkeypatch):
    session.begin(NAME)
    old = last(session)

    def interrupted(_attempt):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(start, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.reset(NAME)
    assert not setup.is_marked(session.cluster, session.lab.exercise(NAME))
    assert session.begin(NAME).fresh
    assert last(session).id > old.id
    assert last(session).data["open"]


def test_a_journal_without_uids_tells_of_the_last_set_up_on_this_cluster(session):
    begun = session.lab.exercise(NAME)
    setup.set_up(session.cluster, begun)
    for cluster in ("fake", "other"):
        session.journal.add(LAB, "setup", NAME, open=[cluster], cluster=cluster, told={"a": "b"})
    assert last(session).data["open"] == ["fake"]
    assert start.told(last(session)) == {"a": "b"}
    session.journal.add(LAB, "reset", NAME)
    assert last(session) is None


def test_a_set_up_of_another_version_of_the_course_is_saved_and_made_anew(
    session, monkeypatch, tmp_path
):
    session.begin(NAME)
    lines = []
    session.told = lines.append
    policy = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}}
    session.cluster.apply([policy], namespace="lab90-protect")
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(difference, "collect", lambda *_: Difference(added=(policy,)))
    begun = otherwise(session).begin(NAME)
    assert begun.fresh
    assert "name: mine" in begun.kept.read_text()
    assert lines[0] == f"your work is saved in {begun.kept}"
    (line,) = begun.told()
    assert line.endswith(f"it is set up anew, and what stood in it is saved in {begun.kept}")
    assert session.cluster.get("configmaps", "mine", "lab90-protect") is None


def test_where_the_work_is_saved_is_said_before_anything_is_deleted(session, monkeypatch, tmp_path):
    session.begin(NAME)
    lines = []
    session.told = lines.append
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))
    policy = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}}
    monkeypatch.setattr(difference, "collect", lambda *_: Difference(added=(policy,)))

    def interrupted(*_args, **_more):
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "tear_down", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.reset(NAME, keep_mine=True)
    (kept,) = (tmp_path / "home" / "kept").iterdir()
    assert lines == [f"your work is saved in {kept}"]


def test_right_answers_about_the_start_do_not_stand_in_the_journal_in_clear(session):
    exercise = session.lab.exercise("look")
    value = {"object": "pods/web", "path": "status.podIP"}
    asked = {"check": "answer", "id": "first", "question": "?", "value": value, "at_start": True}
    wishes = dataclasses.replace(exercise.wishes, checks=(asked,))
    session.lab.exercises["look"] = dataclasses.replace(exercise, wishes=wishes)
    session.begin("look")
    right = session.cluster.get("pods", "web", "lab90-look")["status"]["podIP"]
    event = session.journal.last(LAB, "setup", "look")
    assert right not in str(event.data)
    assert start.told(event) == {"first": right}
