import json
import re

from k8slab.clusters import kubeconfig
from k8slab.clusters.wanted import Wanted


def test_up_prints_its_time_and_the_kubeconfig(k8slab, fake, state_home):
    ran = k8slab("up")
    assert ran.code == 0
    assert ran.out == f"KUBECONFIG={state_home}/clusters/k8slab/kubeconfig\n"
    assert re.search(r"the cluster k8slab is ready after \d+\.\d", ran.err)
    assert 'eval "$(k8slab env)"' in ran.err


def test_up_twice_is_fine(k8slab, fake):
    assert [k8slab("up").code, k8slab("up").code] == [0, 0]


def test_up_passes_on_what_was_asked_for(k8slab, fake):
    k8slab("up", "--nodes", "5", "--pod-cidr", "10.0.0.0/16", "--service-cidr", "10.1.0.0/16")
    wanted = Wanted(nodes=5, pod_cidr="10.0.0.0/16", service_cidr="10.1.0.0/16")
    assert fake.calls == [("up", "k8slab", wanted)]


def test_up_refuses_what_cannot_be_before_anything_is_touched(k8slab, fake):
    assert k8slab("up", "--nodes", "0").code == 2
    assert k8slab("up", "--pod-cidr", "10.0.0.1/16").code == 2
    assert k8slab("up", "--name", "No_Name").code == 2
    assert fake.calls == []


def test_up_as_json_says_the_same(k8slab, fake, state_home):
    answer = json.loads(k8slab("up", "--json", "--name", "blue").out)
    assert answer["kubeconfig"] == f"{state_home}/clusters/blue/kubeconfig"
    assert (answer["name"], answer["provider"]) == ("blue", "embedded")
    assert 0 <= answer["seconds"] < 10


def test_the_learners_own_kubeconfig_changes_only_when_asked(k8slab, fake, tmp_path, monkeypatch):
    own = tmp_path / "own"
    monkeypatch.setenv("KUBECONFIG", str(own))
    before = "current-context: mine\ncontexts: [{name: mine, context: {}}]\n"
    own.write_text(before)
    k8slab("up")
    assert own.read_text() == before
    ran = k8slab("up", "--set-context")
    assert f"the current context in {own} is now k8slab-k8slab" in ran.err
    assert kubeconfig.load(own)["current-context"] == "k8slab-k8slab"
    assert kubeconfig.contexts(own) == ["mine", "k8slab-k8slab"]


def test_down_keeps_and_delete_forgets(k8slab, fake):
    k8slab("up")
    assert k8slab("down").code == 0
    assert fake.clusters == {"k8slab": "stopped"}
    assert k8slab("down", "--delete").code == 0
    assert fake.clusters == {}


def test_down_of_what_is_not_there_is_exit_code_1(k8slab, fake):
    ran = k8slab("down")
    assert ran.code == 1
    assert "there is no cluster named 'k8slab'" in ran.err


def test_down_of_all_ends_each(k8slab, fake):
    for name in ("blue", "green"):
        k8slab("up", "--name", name)
    ran = k8slab("down", "--all", "--delete")
    assert (ran.code, ran.err) == (0, "blue: removed\ngreen: removed\n")
    assert fake.clusters == {}
    assert k8slab("down", "--all").code == 0
    assert k8slab("down", "--all", "--name", "blue").code == 2


def test_reset_gives_a_fresh_cluster(k8slab, fake):
    k8slab("up")
    assert k8slab("reset", "--nodes", "2").code == 0
    assert [call[0] for call in fake.calls] == ["up", "delete", "up"]
    assert fake.calls[-1][2].nodes == 2


def test_reset_checks_before_it_throws_away(k8slab, fake):
    k8slab("up")
    assert k8slab("reset", "--nodes", "0").code == 2
    assert fake.clusters == {"k8slab": "running"}


def test_reset_of_nothing_makes_a_cluster(k8slab, fake):
    assert k8slab("reset").code == 0
    assert [call[0] for call in fake.calls] == ["up"]


def test_list_shows_each_with_its_state(k8slab, fake, state_home):
    assert k8slab("list").err == "there is no cluster; make one: k8slab up\n"
    k8slab("up", "--name", "blue")
    k8slab("up", "--name", "green")
    k8slab("down", "--name", "green")
    lines = k8slab("list").out.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["NAME", "PROVIDER", "STATE", "NODES"],
        ["blue", "embedded", "running", "2"],
        ["green", "embedded", "stopped", "2"],
    ]
    answer = json.loads(k8slab("list", "--json").out)
    assert [entry["name"] for entry in answer] == ["blue", "green"]
