"""A challenge in a notebook: cells run again, and each shows what came of it."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from k8slab.challenges import Choice
from k8slab.course import load
from k8slab.notebook import Face
from k8slab.notebook.challenging import _meant

DATA = Path(__file__).parents[1] / "data" / "solutions"


@pytest.fixture
def face(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.setenv("KUBECONFIG", "/mine")
    face = Face()
    face.use(load(DATA / "90-example"), cluster)
    return face


def test_the_same_cell_finds_the_same_challenge_and_another_one_ends_it(face):
    first = face.challenge("F32", seed=8)
    try:
        assert face.namespace == first.namespace
        assert first.namespace in first.text
        assert face.challenge("F32", seed=8).challenge.begun == first.challenge.begun
        assert face.challenge().challenge.begun == first.challenge.begun
        case = first.challenge.case
        assert first.asks_hop
        assert first.hop("node moon").value.right is False
        assert first.hop(first.challenge._sealed_place()).text == "+ right"
        evidence = face.kubectl(f"get netpol leaving-{case.setup[0]['metadata']['name']} -o yaml")
        found = first.diagnose(
            object=case.causes[0].object, field=case.causes[0].field, evidence=evidence
        )
        assert found.value.right
        told = first.check()
        assert told.value.cause == 5
        assert "the symptom is gone: 0 of 4" in told.text
        assert "0 of 4" in told.html
        other = face.challenge(level=1, seed=9)
        assert first.challenge.event("reset")
        assert other.namespace != first.namespace
        assert "where:" in other.give_up().text
        head, before, now = face.challenges().text.splitlines()
        assert head == "challenges: 0 of 2 solved, 5 of 20 points"
        assert before.startswith("- challenge 8: 5 of 10, stopped")
        assert "F32" not in before
        assert re.fullmatch(r"- challenge 9: 0 of 10, given up \(F\d\d: .+\)", now)
    finally:
        face.challenge().stop()


def test_without_a_challenge_it_says_how_to_begin_one(face):
    assert "lab.challenge()" in face.challenges().text


def test_a_notebook_restarts_an_agent_of_a_node(face):
    assert "kube-proxy: running" in face.node("worker").agents().text
    assert face.node("worker").restart("kube-proxy").text == "kube-proxy runs"


CASE = SimpleNamespace(fault=SimpleNamespace(id="F01"), level=1)


@pytest.mark.parametrize(
    ("wanted", "same"),
    [
        (Choice(course="spring", learner="anna"), True),
        (Choice(course="spring", learner="anna", minutes=20), True),
        (Choice(seed=8), True),
        (Choice(), False),
        (Choice(course="spring", learner="boris"), False),
        (Choice(course="spring", learner="anna", minutes=30), False),
        (Choice(seed=9, course="spring", learner="anna"), False),
    ],
)
def test_a_cell_finds_its_own_challenge_and_nobody_elses(wanted, same):
    begun = SimpleNamespace(data={"of": "spring/anna", "minutes": 20})
    assert _meant(SimpleNamespace(begun=begun, case=CASE, seed=8), wanted) is same


def test_a_cell_finds_its_challenge_although_a_shorter_limit_of_before_stayed():
    begun = SimpleNamespace(data={"of": "", "minutes": 10, "within": 20})
    found = SimpleNamespace(begun=begun, case=CASE, seed=8)
    assert _meant(found, Choice(seed=8, minutes=20))
    assert not _meant(found, Choice(seed=8, minutes=10))
