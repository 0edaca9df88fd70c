"""The start that is graded against is that of the set-up which stands in the cluster."""

import dataclasses

import pytest

from k8slab.course import Journal, Session, difference, setup, start
from k8slab.course.difference import Difference
from k8slab.errors import UsageError
from k8slab.grading import Status, additions
from k8slab.testing.fake import FakeCluster

LAB, NAME = "90-example", "protect"
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}}


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
    return Session(lab, session.cluster, session.journal, said=session.said)


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
    session.said = lines.append
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


def test_a_check_on_the_set_up_of_another_version_of_the_course_says_so(session, monkeypatch):
    monkeypatch.setattr(difference, "collect", lambda *_: Difference())
    session.begin(NAME)
    newer = otherwise(session)
    text = newer.check(NAME).text()
    assert "another version of the course set this exercise up" in text
    assert "another version" not in session.check(NAME).text()
    newer.begin(NAME)
    assert "another version" not in newer.check(NAME).text()


def test_where_the_work_is_saved_is_said_before_anything_is_deleted(session, monkeypatch, tmp_path):
    session.begin(NAME)
    lines = []
    session.said = lines.append
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


def with_seed(session, seed, *, journal=None):
    """Give the lab with a name that this seed picked, as another learner's journal loads it."""
    exercise = session.lab.exercise(NAME)
    place = {"name": f"named-{seed}", "namespace": exercise.namespace}
    named = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place}
    own = dataclasses.replace(
        exercise, setup=(*exercise.setup, named), names={"x": str(seed)}, seed=seed
    )
    lab = dataclasses.replace(session.lab, exercises={**session.lab.exercises, NAME: own})
    return Session(lab, session.cluster, journal or session.journal, said=session.said)


def test_a_set_up_of_another_seed_is_left_alone_and_named(session, tmp_path):
    anna = with_seed(session, 5)
    anna.begin(NAME)
    session.cluster.apply([CONFIG], namespace="lab90-protect")
    boris = with_seed(session, 7, journal=Journal(tmp_path / "boris.sqlite"))
    with pytest.raises(UsageError, match="with the names of the seed 5; yours is 7") as told:
        boris.begin(NAME)
    assert "k8slab reset 90-example/protect --keep-mine" in told.value.hint
    assert session.cluster.get("configmaps", "mine", "lab90-protect") is not None
    result = boris.check(NAME)
    assert result.status is Status.NOT_STARTED
    assert "the names of the seed 5" in result.text()
    assert boris.journal.events(LAB, "begin") == []
    assert not anna.begin(NAME).fresh


def test_a_reset_takes_the_place_of_another_seed_and_does_nothing_of_it_again(
    session, monkeypatch, tmp_path
):
    with_seed(session, 5).begin(NAME)
    boris = with_seed(session, 7, journal=Journal(tmp_path / "boris.sqlite"))
    monkeypatch.setattr(difference, "collect", lambda *_: Difference(added=(CONFIG,)))
    begun = boris.reset(NAME, keep_mine=True)
    assert not begun.redone
    (line,) = begun.told()
    assert line.startswith("it stood there with the names of the seed 5: it is set up anew")
    assert session.cluster.get("configmaps", "named-5", "lab90-protect") is None
    assert session.cluster.get("configmaps", "named-7", "lab90-protect") is not None


def test_what_the_cluster_gives_anew_is_not_done_again_as_somebodys_work(
    session, monkeypatch, tmp_path
):
    session.begin(NAME)
    other = Session(session.lab, session.cluster, Journal(tmp_path / "other.sqlite"))
    other.begin(NAME)
    assert start.given(other._attempt(session.lab.exercise(NAME))) is None  # it did not see it
    metadata = {"name": "authority", "namespace": "lab90-protect"}
    authority = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    labels = {"mesh": "on", "mine": "too"}
    space = {"kind": "Namespace", "metadata": {"name": "lab90-protect", "labels": labels}}
    mine = Difference(added=(authority, CONFIG), changed=(space,))
    done = []
    monkeypatch.setattr(difference, "collect", lambda *_: mine)
    monkeypatch.setattr(difference, "replay", lambda _cluster, found, **_: done.append(found) or [])
    given = {"lab90-protect": ["configmaps/authority", "labels/mesh"]}
    monkeypatch.setattr(additions, "given", lambda *_: given)
    assert other.reset(NAME, keep_mine=True).redone
    (found,) = done
    assert found.added == (CONFIG,)
    assert found.changed[0]["metadata"]["labels"] == {"mine": "too"}


def test_a_set_up_without_a_note_of_its_seed_is_the_own_one_where_the_journal_knows_it(
    session, monkeypatch, tmp_path
):
    monkeypatch.setattr(setup, "seed_of", lambda *_: "")
    monkeypatch.setattr(difference, "collect", lambda *_: Difference())
    with_seed(session, 5).begin(NAME)
    with pytest.raises(UsageError, match="with the names of another seed"):
        with_seed(session, 7, journal=Journal(tmp_path / "boris.sqlite")).begin(NAME)
    assert with_seed(session, 7).begin(NAME).fresh  # the same journal: another course


def with_namespace(session, name):
    """Give the lab as a version of the course has it that makes one namespace more."""
    exercise = session.lab.exercise(NAME)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    older = dataclasses.replace(exercise, setup=(*exercise.setup, space))
    lab = dataclasses.replace(session.lab, exercises={**session.lab.exercises, NAME: older})
    return Session(lab, session.cluster, session.journal, said=session.said)


def test_a_namespace_that_only_an_older_course_made_goes_with_its_set_up(session, monkeypatch):
    asked = []

    def collect(_cluster, exercise, _given):
        asked.extend(exercise.namespaces)
        return Difference()

    monkeypatch.setattr(difference, "collect", collect)
    with_namespace(session, "older").begin(NAME)
    assert session.cluster.get("namespaces", "older") is not None
    assert session.begin(NAME).fresh
    assert session.cluster.get("namespaces", "older") is None
    assert asked == ["lab90-protect", "older"]  # what the learner did there is saved before


def test_a_namespace_that_the_learner_made_stays_whatever_older_courses_called_theirs(session):
    with_namespace(session, "older").begin(NAME)
    session.cluster.delete("namespaces", "older")
    own = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "older"}}
    session.cluster.apply([own])
    session.reset(NAME)
    assert session.cluster.get("namespaces", "older") is not None
