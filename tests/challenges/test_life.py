"""The life of a challenge, told on a cluster of plain Python: who ends what, and what is kept."""

import threading
from types import SimpleNamespace

import pytest
from challenges_kit import evidence_for

from k8slab.challenges import Choice, actions, catalogue, current, history, losing, recipe, start
from k8slab.challenges.beginning import mend
from k8slab.challenges.challenge import KEPT_EVIDENCE, alone
from k8slab.challenges.words import words
from k8slab.course import journal as module
from k8slab.course import turns
from k8slab.course.journal import Journal
from k8slab.errors import ApiStatusError, ClusterError, UsageError
from k8slab.grading import Status
from k8slab.objects import meta
from k8slab.probes.steps import Place
from k8slab.testing.fake import NODES, FakeCluster

SEED = 4711
TYPO = Choice(fault="F01", seed=SEED)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal.sqlite")


@pytest.fixture
def fake():
    return FakeCluster()


def with_undo(challenge, *undo):
    """Have the challenge undo something more at its end."""
    object.__setattr__(challenge.case, "undo", undo)
    return challenge


def test_what_cannot_be_brought_back_hinders_nothing_else_and_is_said(fake, journal):
    def refuse(node, *_):
        raise ApiStatusError(f"{node} is gone", code=404, reason="NotFound")

    challenge = start(fake, TYPO, journal=journal)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left"}}
    fake.apply([config], namespace="kube-system")
    fake.node_run = refuse
    gone = {"node": "worker", "run": ["true"]}
    with_undo(challenge, gone, {"delete": "configmaps/left", "namespace": "kube-system"})
    with pytest.raises(ClusterError, match="node worker: worker is gone") as told:
        challenge.stop()
    assert "k8slab reset" in told.value.hint
    assert fake.get("configmaps", "left", "kube-system") is None
    assert fake.get("namespaces", challenge.namespace) is None
    assert current(fake, journal=journal) is None


@pytest.mark.parametrize("there", [True, False])
def test_an_object_that_is_overwritten_outside_comes_back_as_it_was_or_goes(fake, there):
    case = recipe.read(catalogue.entry("F13"), SEED, words(SEED, NODES[1:]))
    (mine,) = case.inject[0]["apply"]
    named = ("configmaps", mine["metadata"]["name"], "kube-system")
    old = {**mine, "data": {"config.conf": "{mode: nftables}", "mine": "kept"}}
    if there:
        fake.apply([old])
    back = [one for one in actions.before(fake, case) if "agent" not in one]
    actions.run(fake, case, case.inject[:1])
    assert fake.get(*named)["data"] == mine["data"]
    assert actions.bring_back(fake, case, [*back, *case.undo]) == []
    assert (fake.get(*named) or {}).get("data") == (old["data"] if there else None)


def test_two_commands_take_turns(fake, journal, monkeypatch):
    lines = []
    told = threading.Event()

    def say(line):
        lines.append(line)
        told.set()

    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    challenge = start(fake, TYPO, journal=journal)
    beside = current(fake, journal=journal, told=say)
    with alone(fake, "a start", print):
        thread = threading.Thread(target=beside.stop)
        thread.start()
        assert told.wait(60)
        assert lines[0].startswith("waiting for another command: a start (process ")
        assert not challenge.over
    thread.join(60)
    assert challenge.over


def test_a_challenge_that_another_command_has_ended_is_left_alone(fake, journal):
    old = start(fake, TYPO, journal=journal)
    beside = current(fake, journal=journal)
    beside.stop()
    for act in (old.check, old.give_up):
        with pytest.raises(UsageError, match="has ended"):
            act()
    fake.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": old.namespace}}])
    old.stop()
    assert fake.get("namespaces", old.namespace) is not None
    assert len(journal.events("challenge", "reset")) == 1


def test_a_clock_that_is_set_back_hides_nothing(fake, journal, monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: clock.now))
    challenge = start(fake, TYPO, journal=journal)
    clock.now = 500.0
    challenge.diagnose(object="pods/nobody", field="spec", evidence="x")
    challenge.give_up()
    assert [one.kind for one in challenge.events("diagnosis")] == ["diagnosis"]
    assert challenge.check().shown
    challenge.stop()
    assert current(fake, journal=journal) is None


def test_the_same_seed_on_two_clusters_makes_two_challenges(fake, journal):
    other = FakeCluster(name="other")
    here, there = (start(one, TYPO, journal=journal) for one in (fake, other))
    there.give_up()
    there.stop()
    assert current(fake, journal=journal).begun == here.begun
    assert not here.check().shown
    states = [one.state for one in history.attempts(journal)]
    assert states == ["under way", "given up"]


def test_a_cluster_that_was_made_anew_has_no_challenge_of_the_old_one(journal):
    def made(uid):
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
        space["metadata"]["uid"] = uid
        cluster = FakeCluster()
        cluster.apply([space])
        return cluster

    old = start(made("before"), TYPO, journal=journal)
    fresh = made("after")
    assert current(fresh, journal=journal) is None
    begun = start(fresh, Choice(fault="F03", seed=SEED + 1), journal=journal)
    assert current(fresh, journal=journal).begun == begun.begun
    assert [one.state for one in history.attempts(journal)] == ["stopped", "under way"]
    assert old.over


def test_a_journal_of_before_clusters_were_told_apart_is_read(fake, journal):
    challenge = start(fake, TYPO, journal=journal)
    old = Journal(journal.path.with_name("old.sqlite"))
    for event in journal.events("challenge"):
        kept = {"cluster"} if event.kind == "begin" else set()
        data = {k: v for k, v in event.data.items() if k in kept or k not in ("cluster", "uid")}
        old.add(event.lab, event.kind, event.subject, **data)
    found = current(fake, journal=old)
    assert (found.ready, found.namespace) == (True, challenge.namespace)
    old.add("challenge", "reset", str(SEED))
    assert current(fake, journal=old) is None


def test_what_the_cluster_puts_into_every_namespace_was_not_added(journal):
    class Giving(FakeCluster):
        """Give each namespace a ConfigMap, as a service mesh does."""

        def apply(self, objects, *, namespace=""):
            for obj in objects:
                if obj["kind"] == "Namespace":
                    given = {"name": "istio-ca-root-cert", "namespace": obj["metadata"]["name"]}
                    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": given}
                    super().apply([extra])
            return super().apply(objects, namespace=namespace)

    giving = Giving()
    challenge = start(giving, TYPO, journal=journal)
    mend(giving, challenge.case)
    assert [one.status for one in challenge._intact()] == [Status.PASSED] * 2
    added = {"name": "mine", "namespace": challenge.namespace}
    giving.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": added}])
    assert Status.FAILED in [one.status for one in challenge._intact()]


def test_an_answer_that_was_shown_stays_shown_when_its_seed_is_begun_anew(fake, journal):
    start(fake, TYPO, journal=journal).give_up()
    lines = []
    again = start(fake, TYPO, journal=journal, told=lines.append)
    assert any("answer was shown before" in line for line in lines)
    assert "gives no points" in again.task
    assert again.check().points == 0
    with pytest.raises(UsageError, match="answer has been shown"):
        named(again)
    assert not start(fake, Choice(fault="F03", seed=SEED), journal=journal).shown


def test_wrong_guesses_stay_wrong_when_their_seed_is_begun_anew(fake, journal):
    first = start(fake, TYPO, journal=journal)
    for wrong in ("pods/nobody", "pods/somebody"):
        named(first, object=wrong)
    again = start(fake, TYPO, journal=journal)
    assert named(again).points == 4
    assert named(again, object="pods/nobody").counted


def test_a_hop_is_right_as_it_is_now_and_by_the_name_of_its_workload(fake, journal, monkeypatch):
    seen = SimpleNamespace(lost=None)
    monkeypatch.setattr(losing, "journey", lambda *_, **__: seen)
    fake.capabilities = frozenset({"probe", losing.CAPABILITY})

    def loses(name):
        place = Place("pod", f"{space}/{name}")
        seen.lost = SimpleNamespace(place=place)
        return str(place)

    case = recipe.read(catalogue.entry("F01"), SEED, words(SEED, NODES[1:]))
    object.__setattr__(case, "lost", 0)
    space, workload = case.namespace, meta.name_of(case.setup[0])
    monkeypatch.setattr(recipe, "read", lambda *_: case)
    first = loses(f"{workload}-1-0")
    challenge = start(fake, TYPO, journal=journal)
    replaced = loses("replaced")
    for right in (first, workload, f"deployment/{workload}", replaced):
        assert challenge.hop(right).right, right
    seen.lost = None
    assert challenge.hop(first).right
    assert not challenge.hop(replaced).right
    assert not challenge.hop("node moon").right


def named(challenge, **other):
    """Name the cause as it is, but for what the test says."""
    cause = challenge.case.causes[0]
    evidence = evidence_for(challenge.case)
    told = {"object": cause.object, "field": cause.field, "evidence": evidence}
    return challenge.diagnose(**(told | other))


def test_the_whole_output_is_evidence_and_its_beginning_is_kept(fake, journal):
    challenge = start(fake, TYPO, journal=journal)
    cause, shown = challenge.case.causes[0], challenge.case.evidence[0]
    long = "a rule\n" * 10_000 + f"app={shown}\n"
    challenge.diagnose(object=cause.object, field=cause.field, evidence=long)
    (noted,) = challenge.events("diagnosis")
    assert noted.data["right"] == [True, True, True]
    assert noted.data["told"]["evidence"] == long[:KEPT_EVIDENCE]
