"""Answers that were typed: what they stand for, and which of them count."""

import pytest

from k8slab.course import Session, submission
from k8slab.errors import ClusterNotReadyError, UsageError
from k8slab.testing.fake import FakeCluster

SPACE = "lab90-look"
QUESTION = "web-address"


def address(session, pod="web"):
    return session.cluster.get("pods", pod, SPACE)["status"]["podIP"]


def readdress(session, number=0):
    """Give every pod another address, as a cluster does that is stopped and started."""
    for pod in session.cluster.list("pods", SPACE):
        number += 1
        pod["status"]["podIP"] = f"10.244.9.{number}"


def begun(session):
    """Begin the exercise and do what it wants besides the answer."""
    session.begin("look")
    web = session.cluster.get("pods", "web", SPACE)
    labels = {"app": "web", "checked": "yes"}
    session.cluster.apply(
        [{**web, "metadata": {"name": "web", "namespace": SPACE, "labels": labels}}]
    )
    return session.lab.exercise("look")


def handed_in(session):
    return submission._typed(session, session.lab.exercise("look"))[QUESTION]


def test_a_right_address_stays_right_when_the_pods_have_others(session):
    begun(session)
    typed = address(session)
    session.answer(QUESTION, typed)
    readdress(session)
    result = session.check("look")
    assert result.passed
    assert f"{address(session)} ({typed} when you typed it) is what the" in str(result.findings)
    assert handed_in(session) == {
        "text": typed,
        "stands_for": {"object": "pods/web", "path": "status.podIP"},
    }


def test_the_address_of_another_pod_stays_wrong_when_the_pods_have_others(session):
    begun(session)
    session.answer(QUESTION, address(session, "db"))
    readdress(session)
    assert not session.check("look").passed
    assert handed_in(session)["stands_for"]["object"] == "pods/db"


def test_an_address_that_another_pod_has_now_is_still_that_of_the_first(session):
    begun(session)
    typed = address(session)
    session.answer(QUESTION, typed)
    session.cluster.get("pods", "web", SPACE)["status"]["podIP"] = "10.244.9.1"
    session.cluster.get("pods", "db", SPACE)["status"]["podIP"] = typed
    assert session.check("look").passed
    assert handed_in(session)["stands_for"]["object"] == "pods/web"


def test_a_journal_that_notes_the_text_alone_is_read_by_what_the_cluster_says_now(session):
    begun(session)
    session.journal.add("90-example", "answer", QUESTION, value=address(session))
    assert session.check("look").passed
    assert handed_in(session)["stands_for"]["object"] == "pods/web"


def test_an_answer_is_noted_where_the_cluster_does_not_answer(session, monkeypatch):
    begun(session)
    typed = address(session)

    def silent(*_args, **_more):
        raise ClusterNotReadyError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(FakeCluster, "list", silent)
        session.answer(QUESTION, typed)
    assert "stands_for" not in session.journal.last("90-example", "answer", QUESTION).data
    assert session.check("look").passed


def test_an_answer_counts_for_the_cluster_on_which_it_was_typed(session):
    begun(session)
    other = Session(session.lab, FakeCluster(name="other"), session.journal)
    session.answer(QUESTION, address(session))
    other.begin("look")
    other.answer(QUESTION, "10.9.9.9")
    assert session.check("look").passed
    assert handed_in(other) == {"text": "10.9.9.9"}


def test_an_answer_counts_although_the_clock_was_set_back(session, monkeypatch):
    begun(session)
    now = session.journal.last("90-example", "setup", "look").time
    monkeypatch.setattr("k8slab.course.journal.time.time", lambda: now - 3600)
    session.answer(QUESTION, address(session))
    assert session.check("look").passed


def test_an_answer_that_nobody_could_hand_in_is_refused_with_the_reason(session):
    begun(session)
    with pytest.raises(UsageError, match="has 2001 characters: it was not noted") as error:
        session.answer(QUESTION, "x" * 2001)
    assert "at most 2000" in error.value.hint
    session.answer(QUESTION, "x" * 2000)
    assert handed_in(session) == {"text": "x" * 2000}
