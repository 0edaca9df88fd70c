import stat
import threading

import pytest

from k8slab.clusters import records
from k8slab.errors import ClusterNotFoundError, UsageError

pytestmark = pytest.mark.usefixtures("state_home")


def test_the_name_is_the_given_one_then_the_variable_then_the_default(monkeypatch):
    assert records.chosen_name() == "k8slab"
    monkeypatch.setenv("K8SLAB_CLUSTER", "blue")
    assert records.chosen_name() == "blue"
    assert records.chosen_name("green") == "green"


@pytest.mark.parametrize("name", ["A", "-a", "a-", "a_b", "a/b", "..", "a" * 41, "ä", "a\n"])
def test_a_name_that_nodes_cannot_begin_with_is_refused(name):
    with pytest.raises(UsageError, match="cannot be the name of a cluster"):
        records.chosen_name(name)


def test_a_record_is_read_as_it_was_written_in_a_private_directory(state_home):
    records.write("blue", {"provider": "kind"})
    assert records.read("blue") == {"provider": "kind"}
    assert (records.names(), records.provider_of("blue")) == (["blue"], "kind")
    assert stat.S_IMODE((state_home / "clusters" / "blue").stat().st_mode) == 0o700
    records.forget("blue")
    assert (records.names(), records.provider_of("blue")) == ([], "")


def test_a_directory_with_a_cluster_json_is_an_embedded_cluster(state_home):
    records.directory("green").joinpath("cluster.json").write_text("{}")
    records.directory("empty")
    assert records.names() == ["green"]
    assert records.provider_of("green") == "embedded"


def test_a_damaged_record_says_how_to_get_rid_of_it():
    records.directory("blue").joinpath("provider.json").write_text("{")
    with pytest.raises(UsageError, match=r"provider\.json is damaged") as caught:
        records.read("blue")
    assert "rm " in caught.value.hint


def test_a_missing_cluster_names_those_that_there_are():
    records.write("green", {"provider": "kind"})
    with pytest.raises(ClusterNotFoundError) as caught:
        records.read("blue")
    assert str(caught.value) == (
        "there is no cluster named 'blue'\n  make it: k8slab up --name blue; there are: green"
    )


def test_the_second_of_two_commands_waits_and_says_so():
    told, order = [], []
    inside, leave = threading.Event(), threading.Event()

    def first():
        with records.locked("blue", waiting=told.append):
            inside.set()
            leave.wait(30)
            order.append("first")

    def waiting(text):
        told.append(text)
        leave.set()

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(30)
    with records.locked("blue", waiting=waiting):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert told == ["another command works on the cluster blue; waiting for it"]


def test_who_waits_no_longer_than_its_patience_is_told_nothing():
    inside = threading.Event()

    def first():
        with records.exclusive("a.b", waiting=pytest.fail, holder="first"):
            inside.set()
            threading.Event().wait(0.1)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(30)
    with records.exclusive("a.b", waiting=pytest.fail, patience=30) as waited:
        assert not waited
    thread.join()
