"""The life of a challenge, told on a cluster of plain Python: who ends what, and what is kept."""

import threading
from types import SimpleNamespace

import pytest
from challenges_kit import evidence_for

from k8slab import clusters
from k8slab.challenges import (
    Choice,
    actions,
    catalogue,
    current,
    history,
    losing,
    recipe,
    seeds,
    start,
)
from k8slab.challenges import beginning as beginning_module
from k8slab.challenges import challenge as challenge_module
from k8slab.challenges import standing as standing_module
from k8slab.challenges.beginning import mend
from k8slab.challenges.challenge import KEPT_EVIDENCE, alone
from k8slab.challenges.recipe import Lost
from k8slab.challenges.words import words
from k8slab.clusters import records
from k8slab.course import journal as module
from k8slab.course import turns
from k8slab.course.journal import Journal
from k8slab.errors import ApiStatusError, ClusterError, ClusterNotReadyError, UsageError
from k8slab.grading import Status
from k8slab.objects import meta
from k8slab.probes.outcome import Outcome
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


def made(uid, name="fake"):
    """Give a cluster that was made and recorded under a name."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    space["metadata"]["uid"] = uid
    cluster = FakeCluster(name=name)
    cluster.apply([space])
    records.write(name, {"provider": "kind"})
    return cluster


def test_a_cluster_that_was_made_anew_has_no_challenge_of_the_old_one(journal):
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


@pytest.mark.parametrize(
    "wrong", [Choice(fault="F99"), Choice(fault="F17"), Choice(fault="F01", level=3)]
)
def test_what_cannot_be_begun_ends_nothing(fake, journal, wrong):
    under_way = start(fake, TYPO, journal=journal)
    with pytest.raises(UsageError):
        start(fake, wrong, journal=journal)
    assert current(fake, journal=journal).seed == under_way.seed


def test_a_challenge_whose_namespace_was_deleted_says_what_to_do(fake, journal):
    challenge = start(fake, TYPO, journal=journal)
    fake.delete("namespaces", challenge.namespace)
    told = challenge.check().text()
    assert f"the namespace {challenge.namespace} is not there: begin it anew" in told


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


def test_the_score_says_what_was_asked_for_and_how_often_it_was_begun(fake, journal):
    words = {"course": "spring", "learner": "anna"}
    first = start(fake, Choice(fault="F01", **words), journal=journal)
    assert first.origin == "class spring, fault F01, learner anna"
    first.stop()
    again = start(fake, Choice(fault="F03", level=1, **words), journal=journal)
    assert (again.seed, again.times) == (first.seed, 2)
    origin = "class spring, fault F03, learner anna, level 1; begun 2 times"
    assert again.check().text().startswith(f"challenge {again.seed} ({origin}): ")
    assert again.check().to_dict()["origin"] == origin
    assert Choice(seed=SEED, minutes=3).asked == {}


def test_a_fault_that_nobody_asked_for_cannot_be_read_in_the_journal(fake, journal, monkeypatch):
    monkeypatch.setattr(seeds, "pick", lambda *_: catalogue.entry("F01"))
    drawn = start(fake, Choice(seed=SEED), journal=journal)
    assert drawn.case.fault.id == "F01"
    named(drawn, object="pods/nobody")
    files = [path for path in journal.path.parent.iterdir() if path.is_file()]
    told = b"".join(path.read_bytes() for path in files)
    assert str(SEED).encode() in told
    assert b"F01" not in told


@pytest.fixture
def clock(monkeypatch):
    """Give a clock that the test moves, in minutes, to the journal and to challenges."""
    clock = SimpleNamespace(now=1000.0)
    for one in (module, standing_module, challenge_module):
        monkeypatch.setattr(one, "time", SimpleNamespace(time=lambda: 60 * clock.now))
    return clock


def limited(fake, journal, minutes, **more):
    return start(fake, Choice(fault="F01", seed=SEED, minutes=minutes), journal=journal, **more)


@pytest.mark.parametrize("minutes", [20, 0, 60])
def test_time_that_was_spent_is_spent_when_its_seed_is_begun_anew(fake, journal, clock, minutes):
    first = limited(fake, journal, 20)
    clock.now += 15
    first.stop()
    clock.now += 600  # whoever stopped does something else
    again = limited(fake, journal, minutes)
    assert not again.late
    assert again.ends == 60 * (clock.now + 5)
    assert again.begun.data["within"] == minutes
    clock.now += 6
    assert again.late
    lines = []
    third = limited(fake, journal, minutes, told=lines.append)
    assert third.late
    assert "its time was over before: it gives no points any more" in lines
    assert third.task.endswith("Its time is over: it gives no points any more.")
    with pytest.raises(UsageError, match="time is over"):
        named(third)


def test_time_without_a_limit_is_not_counted_and_another_fault_has_its_own(fake, journal, clock):
    start(fake, TYPO, journal=journal)
    clock.now += 600
    first = limited(fake, journal, 20)
    assert first.ends == 60 * (clock.now + 20)
    clock.now += 30
    assert not start(fake, Choice(fault="F03", seed=SEED, minutes=20), journal=journal).late


def elsewhere(name):
    """Give another cluster."""
    other = FakeCluster()
    other.name = name
    return other


def test_time_runs_on_other_clusters_too_and_counts_once(fake, journal, clock):
    first = limited(fake, journal, 20)
    clock.now += 8  # nobody did anything with it but look
    beside = limited(elsewhere("beside"), journal, 20)
    assert beside.ends == 60 * (clock.now + 12)
    clock.now += 4
    third = limited(elsewhere("third"), journal, 20)
    assert third.ends == 60 * (clock.now + 8)
    assert first.ends == beside.ends == third.ends
    clock.now += 9
    assert limited(elsewhere("fourth"), journal, 20).late


def test_what_is_done_on_one_cluster_costs_no_time_on_another(fake, journal, clock):
    unlimited = start(fake, TYPO, journal=journal)
    beside = limited(elsewhere("beside"), journal, 20)
    clock.now += 1
    beside.stop()
    clock.now += 600
    named(unlimited, object="pods/nobody")
    assert limited(elsewhere("beside"), journal, 20).ends == 60 * (clock.now + 19)


def remove(name):
    records.forget(name)


def replace(name):
    """Make another cluster under the name, in which nobody begins anything."""
    other = made("another", name)
    return lambda _name: other


@pytest.mark.parametrize("again", ["fake", "elsewhere"])
@pytest.mark.parametrize("anew", [False, True])
def test_a_challenge_whose_cluster_is_gone_costs_time_until_its_last_event(
    journal, clock, monkeypatch, again, anew
):
    begun = limited(made("before"), journal, 20)
    clock.now += 5
    named(begun, object="pods/nobody")
    if anew:
        monkeypatch.setattr(clusters, "attach", replace("fake"))
    else:
        remove("fake")
    clock.now += 600
    (state,) = {one.state for one in history.attempts(journal)}
    assert state == "stopped"
    assert limited(made("after", again), journal, 20).ends == 60 * (clock.now + 15)
    assert limited(made("third", "third"), journal, 20).ends == 60 * (clock.now + 15)


def test_time_is_spent_until_the_command_that_removes_the_cluster(journal, clock):
    limited(made("before"), journal, 20)
    clock.now += 19  # nobody did anything with it but look
    with standing_module.removal("fake", journal):
        remove("fake")
    clock.now += 600
    assert [one.state for one in history.attempts(journal)] == ["stopped"]
    assert limited(made("after"), journal, 20).ends == 60 * (clock.now + 1)


def test_a_cluster_that_was_not_removed_ends_no_challenge(journal):
    begun = limited(made("before"), journal, 20)
    with pytest.raises(ClusterError), standing_module.removal("fake", journal):
        raise ClusterError("it is busy")
    assert not begun.over
    with standing_module.removal("other", journal):
        pass
    assert not begun.over


def test_a_challenge_that_has_ended_ends_no_second_time(journal):
    limited(made("before"), journal, 20).stop()
    with standing_module.removal("fake", journal):
        remove("fake")
    assert len(journal.events("challenge", "reset")) == 1


@pytest.mark.parametrize("forgotten", [True, False])
def test_a_cluster_of_others_is_not_gone_where_it_is_forgotten_or_another_has_its_name(
    journal, clock, monkeypatch, forgotten
):
    cluster = made("theirs")
    cluster.provider = "existing"  # so is one that is given by a kubeconfig of this name
    limited(cluster, journal, 20)
    clock.now += 15
    if forgotten:
        remove("fake")
    else:
        monkeypatch.setattr(clusters, "attach", replace("fake"))
    assert [one.state for one in history.attempts(journal)] == ["under way"]
    assert limited(made("other", "other"), journal, 20).ends == 60 * (clock.now + 5)


def test_a_challenge_stands_while_its_cluster_is_stopped(journal, clock, monkeypatch):
    def stopped(name):
        raise ClusterNotReadyError(f"the cluster {name} is stopped")

    limited(made("before"), journal, 20)
    monkeypatch.setattr(clusters, "attach", stopped)
    clock.now += 25
    assert [one.state for one in history.attempts(journal)] == ["under way"]
    assert limited(made("other", "other"), journal, 20).late


def test_nothing_is_done_to_a_cluster_that_was_made_anew_meanwhile(journal):
    old = start(made("before"), TYPO, journal=journal)
    fresh = made("after")
    mine = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": old.namespace}}
    fresh.apply([mine])
    old.cluster = fresh  # a notebook's handle finds it by its name
    with pytest.raises(UsageError, match="has ended"):
        old.check()
    old.stop()
    assert fresh.get("namespaces", old.namespace) is not None


def test_an_object_outside_that_was_deleted_is_made_again_as_it_was(fake):
    case = recipe.read(catalogue.entry("F42"), SEED, words(SEED, NODES[1:]))
    metadata = {"name": "coredns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    corefile = {"Corefile": ".:53 {\n    forward . /etc/resolv.conf\n}\n", "mine": "kept"}
    fake.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": corefile}])
    back = actions.before(fake, case)
    fake.delete("configmaps", "coredns", "kube-system")
    assert actions.bring_back(fake, case, [*back, *case.undo]) == []
    found = fake.get("configmaps", "coredns", "kube-system")
    assert found["data"] == corefile
    assert found["metadata"]["labels"] == {"k8s-app": "kube-dns"}


def test_a_hop_is_right_as_it_is_now_and_by_the_name_of_its_workload(fake, journal, monkeypatch):
    seen = SimpleNamespace(lost=None)
    monkeypatch.setattr(losing, "journey", lambda *_, **__: seen)
    fake.capabilities = frozenset({"probe", losing.CAPABILITY})

    def loses(name):
        place = Place("pod", f"{space}/{name}")
        seen.lost = SimpleNamespace(place=place)
        return str(place)

    case = recipe.read(catalogue.entry("F01"), SEED, words(SEED, NODES[1:]))
    object.__setattr__(case, "lost", Lost(case.wishes.wants[0].flow))
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


def test_an_agent_is_stopped_only_when_the_nodes_know_the_services(fake, journal, monkeypatch):
    done, seen = [], ["refused", "refused", "open"]

    def look(_cluster, wants, *, deadline):
        done.append(f"{seen[0]} seen")
        outcome = Outcome(seen.pop(0))
        return [(want, SimpleNamespace(outcome=outcome)) for want in wants]

    def shown(_challenge):
        raise ClusterError("enough for this test")

    fake.capabilities |= {"agents", "nodes"}
    monkeypatch.setattr(beginning_module, "look", look)
    monkeypatch.setattr(beginning_module, "_others", lambda _: [])
    monkeypatch.setattr(beginning_module, "_await_symptom", shown)
    monkeypatch.setattr(actions, "run", lambda _cluster, case, _what: done.append("injected"))
    with pytest.raises(ClusterError, match="enough"):
        start(fake, Choice(fault="F15", seed=100), journal=journal)
    assert done == ["refused seen", "refused seen", "open seen", "injected"]
