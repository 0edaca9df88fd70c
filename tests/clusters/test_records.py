import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from k8slab import clusters
from k8slab.clusters import records
from k8slab.errors import ClusterError, ClusterNotFoundError, EnvironmentLacksError, UsageError

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


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", '{"provider": "existing"}', '{"provider": []}'),
        '{"provider": "existing", "kubeconfig": 7, "context": "x"}',
        '{"provider": "elsewhere"}',
    ],
)
def test_a_damaged_record_hides_no_other_cluster(text):
    records.directory("blue").joinpath("provider.json").write_text(text)
    records.directory("green").joinpath("cluster.json").write_text("{}")
    assert records.names() == ["blue", "green"]
    found = clusters.status("blue")
    assert found.state == "broken"
    assert "provider.json is damaged" in found.detail


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


def test_what_cannot_be_removed_is_told_with_the_reason(state_home, monkeypatch):
    root = records.directory("blue")
    (root / "kept").touch()
    (root / "other").touch()
    unlink = os.unlink

    def refused(path, **more):
        if path == "kept":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        unlink(path, **more)

    monkeypatch.setattr(os, "unlink", refused)
    with pytest.raises(
        ClusterError, match=r"not all of the cluster blue.*kept: Permission"
    ) as caught:
        records.forget("blue")
    assert str(root) in caught.value.hint
    assert [entry.name for entry in root.iterdir()] == ["kept"]


@pytest.fixture
def closed(monkeypatch):
    """Close directories to us, though we may be root: nothing in them can be looked at."""
    shut, stat_of, scandir, access = [], os.stat, os.scandir, os.access

    def refuse(path):
        if any(parent in shut for parent in Path(path).parents):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def stat(path, **more):
        refuse(path)
        return stat_of(path, **more)

    def listed(path="."):
        refuse(Path(path, "entry"))
        return scandir(path)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "scandir", listed)
    monkeypatch.setattr(os, "access", lambda path, mode: path not in shut and access(path, mode))
    return shut.append


@pytest.mark.parametrize("ask", [records.names, lambda: records.provider_of("lab")])
def test_a_state_directory_that_is_closed_to_us_is_told_with_what_to_do(state_home, closed, ask):
    closed(state_home)
    with pytest.raises(EnvironmentLacksError, match=f"{state_home} cannot be used: Perm") as caught:
        ask()
    assert "K8SLAB_HOME" in caught.value.hint


def test_a_cluster_that_is_closed_to_us_hides_no_other(state_home, closed):
    for name in ("blue", "green"):
        records.directory(name).joinpath("cluster.json").write_text("{}")
    blue = state_home / "clusters" / "blue"
    closed(blue)
    assert records.names() == ["blue", "green"]
    assert records.provider_of("green") == "embedded"
    with pytest.raises(EnvironmentLacksError, match=f"{blue} cannot be used: Permission"):
        records.provider_of("blue")


def test_a_file_in_the_place_of_the_state_directory_is_told(state_home):
    state_home.parent.mkdir(exist_ok=True)
    state_home.write_text("")
    with pytest.raises(EnvironmentLacksError, match=f"{state_home} cannot be used: Not a dir"):
        records.names()


def test_a_circle_of_links_in_the_place_of_the_state_directory_is_told(tmp_path, monkeypatch):
    (tmp_path / "circle").symlink_to("circle")
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "circle"))
    with pytest.raises(EnvironmentLacksError, match="circle cannot be used: Too many levels"):
        records.names()
