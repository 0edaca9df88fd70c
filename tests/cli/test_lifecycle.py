import json
import os
import re
import time
from pathlib import Path

import pytest

from k8slab.clusters import kubeconfig, records
from k8slab.clusters.wanted import Wanted
from k8slab.course.journal import Journal
from k8slab.embedded.config import unusable


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
    began = time.monotonic()
    answer = json.loads(k8slab("up", "--json", "--name", "blue").out)
    took = time.monotonic() - began
    assert answer["kubeconfig"] == f"{state_home}/clusters/blue/kubeconfig"
    assert (answer["name"], answer["provider"]) == ("blue", "embedded")
    assert 0 <= answer["seconds"] < took + 0.001  # it is rounded


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


def test_no_cluster_is_started_for_a_context_that_can_be_written_nowhere(
    k8slab, fake, tmp_path, monkeypatch
):
    monkeypatch.setenv("KUBECONFIG", os.devnull)
    ran = k8slab("up", "--set-context")
    assert ran.code == 2
    assert "/dev/null is no file" in ran.err
    assert fake.calls == []


def test_the_kubeconfig_of_another_cluster_is_not_taken_for_the_learners_own(
    k8slab, fake, tmp_path, monkeypatch
):
    k8slab("up")
    file = fake.kubeconfig("k8slab")
    before = file.read_text()
    monkeypatch.setenv("KUBECONFIG", str(file))  # eval "$(k8slab env)"
    ran = k8slab("up", "--name", "blue", "--set-context")
    assert file.read_text() == before
    own = tmp_path / "home" / ".kube" / "config"
    assert f"the current context in {own} is now k8slab-blue" in ran.err
    assert "unset KUBECONFIG" in ran.err
    assert kubeconfig.load(own)["current-context"] == "k8slab-blue"
    work = tmp_path / "my work"
    monkeypatch.setenv("KUBECONFIG", f"{file}{os.pathsep}{work}")  # kubectl begins with the first
    ran = k8slab("up", "--name", "green", "--set-context")
    assert f"the current context in {work} is now k8slab-green" in ran.err
    assert f"to change that: export KUBECONFIG='{work}'\n" in ran.err


def test_down_keeps_and_delete_forgets(k8slab, fake):
    k8slab("up")
    assert k8slab("down").code == 0
    assert fake.clusters == {"k8slab": "stopped"}
    assert k8slab("down", "--delete").code == 0
    assert fake.clusters == {}


@pytest.mark.parametrize("command", [["down", "--delete"], ["reset"]])
def test_the_time_of_a_challenge_ends_when_its_cluster_is_removed(k8slab, fake, command):
    k8slab("up")
    journal = Journal()
    journal.add("challenge", "begin", "7", cluster="k8slab", listed=True)
    assert k8slab(*command).code == 0
    (end,) = journal.events("challenge", "reset")
    assert (end.subject, end.data) == ("7", {"cluster": "k8slab"})


def test_a_cluster_can_be_removed_though_the_journal_is_damaged(k8slab, fake):
    k8slab("up")
    Journal().add("challenge", "begin", "7", cluster="k8slab", listed=True)
    Journal().path.write_bytes(b"no journal" * 100)
    ran = k8slab("down", "--delete")
    assert ran.code == 0
    assert "the end of a challenge is not noted" in ran.err
    assert fake.clusters == {}


@pytest.mark.parametrize("command", [["down", "--delete"], ["reset"]])
def test_a_disk_that_is_full_when_a_cluster_is_gone_keeps_no_new_one_from_coming(
    k8slab, fake, monkeypatch, command
):
    k8slab("up")
    Journal().add("challenge", "begin", "7", cluster="k8slab", listed=True)

    def full(journal, *_words, **_data):
        raise unusable(journal.path, "No space left on device")

    monkeypatch.setattr(Journal, "add", full)
    ran = k8slab(*command)
    assert ran.code == 0, ran.err
    assert "the end of a challenge is not noted" in ran.err
    assert fake.clusters == ({"k8slab": "running"} if command == ["reset"] else {})


def test_a_cluster_that_cannot_be_removed_is_no_matter_of_the_journal(k8slab, fake, monkeypatch):
    k8slab("up")
    Journal().add("challenge", "begin", "7", cluster="k8slab", listed=True)

    def stays(_name, **_more):
        raise unusable(Path("clusters"), "Read-only file system")

    monkeypatch.setattr("k8slab.clusters.delete", stays)
    ran = k8slab("reset")
    assert ran.code != 0
    assert "Read-only file system" in ran.err
    assert "is not noted" not in ran.err
    assert fake.clusters == {"k8slab": "running"}
    assert Journal().events("challenge", "reset") == []


def test_an_empty_name_is_not_the_default_cluster(k8slab, fake):
    k8slab("up")
    for command in (["down", "--delete"], ["reset"]):
        ran = k8slab(*command, "--name", "")
        assert ran.code == 2
        assert "the name is empty" in ran.err
    assert fake.clusters == {"k8slab": "running"}


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


def test_a_damaged_cluster_holds_up_none_of_the_others(k8slab, fake, state_home):
    k8slab("up", "--name", "green")
    damaged = state_home / "clusters" / "blue" / "provider.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    lines = k8slab("list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "blue", "green"]
    ran = k8slab("down", "--all", "--delete")
    assert ran.code == 2
    assert f"blue: error: {damaged} is damaged" in ran.err
    assert "green: removed" in ran.err
    assert fake.clusters == {}


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


def test_list_tells_of_a_cluster_that_is_closed_to_us_and_shows_the_others(
    k8slab, fake, state_home, monkeypatch
):
    k8slab("up", "--name", "blue")
    closed = state_home / "clusters" / "blue"
    exists = records.exists

    def hidden(file):  # root could look into everything
        if file.parent == closed:
            raise unusable(closed, "Permission denied")
        return exists(file)

    monkeypatch.setattr(records, "exists", hidden)
    alone = k8slab("list")
    assert alone.code == 0
    assert [line.split() for line in alone.out.splitlines()][1:] == [["blue", "closed", "0"]]
    assert alone.err.startswith(f"blue: the directory {closed} cannot be used: Permission denied\n")
    assert "no cluster" not in alone.err
    k8slab("up", "--name", "green")
    ran = k8slab("list")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["NAME", "blue", "green"]
    assert ran.err == alone.err
    found = json.loads(k8slab("list", "--json").out)
    assert [(one["name"], one["state"]) for one in found] == [
        ("blue", "closed"),
        ("green", "running"),
    ]
    assert found[0]["detail"] == f"the directory {closed} cannot be used: Permission denied"


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
