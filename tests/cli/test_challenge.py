"""`k8slab challenge` and `k8slab agents` on a real cluster: words, JSON and exit codes."""

import io
import json
import os
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from k8slab import clusters
from k8slab.cli.challenge import _left, _objects, _places


@pytest.fixture
def here(cluster, monkeypatch):
    monkeypatch.setattr(clusters, "attach", lambda _name="": cluster)
    return cluster


@pytest.fixture
def typo(here, k8slab):
    ran = k8slab("challenge", "--fault", "f01", "--seed", "4711", "--timer", "90", "--json")
    assert ran.code == 0, ran.err
    yield json.loads(ran.out)
    k8slab("challenge", "stop")


def selector(cluster, namespace):
    """Return a Service that finds nobody, and what it looks for."""
    slices = cluster.list("endpointslices.discovery.k8s.io", namespace)
    (empty,) = [one for one in slices if not one.get("endpoints")]
    name = empty["metadata"]["labels"]["kubernetes.io/service-name"]
    return name, cluster.get("services", name, namespace)["spec"]["selector"]["app"]


def test_a_challenge_is_begun_named_mended_and_counted(here, typo, k8slab, monkeypatch):
    assert typo["level"] == 1
    assert typo["ready"]
    assert 5000 < typo["seconds_left"] <= 5400
    assert typo["namespace"] in typo["task"]
    shown = k8slab("challenge", "status")
    assert shown.out.startswith("challenge 4711, level 1 (fault F01)\n\n")
    assert "minutes are left" in shown.out
    offered = [one.value for one in _objects(SimpleNamespace(params={}), None, "services/")]
    name, wrong = selector(here, typo["namespace"])
    assert {f"services/{name}", "services/kube-dns"} <= {*offered}
    guess = k8slab("challenge", "diagnose", f"svc/{name}", "spec.ports", "x", "--json")
    assert (guess.code, json.loads(guess.out)["right"]) == (1, False)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"Selector: app={wrong}"))
    right = k8slab("challenge", "diagnose", f"svc/{name}", "spec.selector", "-")
    assert (right.code, right.out) == (0, "+ right\n")
    patch = {"spec": {"selector": {"app": name}}}
    path = f"/api/v1/namespaces/{typo['namespace']}/services/{name}"
    here.request("PATCH", path, patch, content_type="application/merge-patch+json")
    checked = k8slab("challenge", "check")
    assert (checked.code, checked.out.splitlines()[0]) == (
        0,
        "challenge 4711 (fault F01): 10 of 10 points",
    )
    assert json.loads(k8slab("challenge", "check", "--json").out)["points"] == 10


def test_who_gives_up_learns_what_it_was(typo, k8slab):
    ran = k8slab("challenge", "give-up")
    assert ran.out.startswith("Service selector typo\n  where: services/")
    again = k8slab("challenge", "hop", "node", "x")
    assert (again.code, "has been shown" in again.err) == (2, True)


def test_without_a_challenge_the_commands_say_how_to_begin_one(here, k8slab):
    for word in ("status", "check", "give-up", "stop"):
        ran = k8slab("challenge", word)
        assert (ran.code, "begin one: k8slab challenge" in ran.err) == (2, True)


def test_a_check_says_what_takes_its_time(k8slab, monkeypatch):
    said, shown = [], SimpleNamespace(to_dict=dict, solved=True)
    under_way = SimpleNamespace()
    under_way.check = lambda: under_way.told("rolling out") or shown
    monkeypatch.setattr("k8slab.cli.challenge._current", lambda _name: under_way)
    monkeypatch.setattr("k8slab.cli.challenge.steps", lambda: nullcontext(said.append))
    assert k8slab("challenge", "check", "--json").code == 0
    assert said == ["looking", "rolling out"]


def test_a_fault_that_cannot_be_is_refused_with_the_reason(here, k8slab):
    ran = k8slab("challenge", "--fault", "F17")
    assert (ran.code, "legacy iptables" in ran.err) == (2, True)
    assert k8slab("challenge", "--level", "4").code == 2


def test_the_catalogue_is_listed_without_a_cluster(k8slab):
    ran = k8slab("challenge", "list")
    assert ran.out.splitlines()[0].split() == ["ID", "LEVEL", "FAULT", "HERE"]
    found = {one["id"]: one for one in json.loads(k8slab("challenge", "list", "--json").out)}
    assert (found["F01"]["state"], found["F01"]["level"]) == ("injectable", 1)
    assert (found["F40"]["state"], found["F40"]["level"]) == ("follows", None)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("k8slab challenge start --fault F0", "plain,F01"),
        ("k8slab challenge --fault F0", "plain,F01"),
        ("k8slab challenge di", "plain,diagnose"),
    ],
)
def test_commands_and_faults_are_completed(process, typed, offered):
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    ran = process(env={**os.environ, **words, "_K8SLAB_COMPLETE": "bash_complete"})
    assert offered in ran.stdout


def test_places_where_packets_may_be_lost_are_completed(typo):
    def offered(word):
        return [one.value for one in _places(SimpleNamespace(params={}), None, word)]

    assert offered("test-w") == ["test-worker", "test-worker2"]
    assert offered("sw") == ["switch"]
    assert offered(f"{typo['namespace']}/")


def test_agents_are_shown_and_restarted(here, k8slab):
    node = "test-worker"
    try:
        assert k8slab("agents", "stop", node, "kube-proxy").code == 0
        assert json.loads(k8slab("agents", "--json").out)[node]["kube-proxy"] is False
        row = next(
            line for line in k8slab("agents").out.splitlines() if line.startswith(f"{node} ")
        )
        assert row.split() == [node, "running", "stopped", "running", "running"]
    finally:
        ran = k8slab("agents", "restart", node, "kube-proxy")
    assert ran.err == f"kube-proxy of {node}: runs\n"
    assert json.loads(k8slab("agents", "--json").out)[node]["kube-proxy"] is True
    ran = k8slab("agents", "restart", node.rpartition("-")[2], "kube-proxy")
    assert (ran.code, ran.err) == (0, f"kube-proxy of {node}: runs\n")
    lacking = k8slab("agents", "restart", node)
    assert (lacking.code, "NODE AGENT" in lacking.err) == (2, True)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (5400, "90 minutes are left"),
        (61, "2 minutes are left"),
        (60, "the last minute has begun"),
        (0.5, "the last minute has begun"),
        (0, "the time is over"),
        (-7, "the time is over"),
    ],
)
def test_the_time_that_is_left_is_never_none_as_long_as_there_is_some(seconds, told):
    assert _left(seconds) == told
