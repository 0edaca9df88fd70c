"""The store: what was acknowledged is there, in order, and as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from k8slab.embedded.apiserver import store as store_module
from k8slab.embedded.apiserver.store import Store
from k8slab.errors import ApiStatusError


def thing(name, value=0, namespace="a"):
    return {"metadata": {"name": name, "namespace": namespace}, "value": value}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "s.sqlite")
    yield store
    store.close()


def test_lists_are_in_the_order_of_keys_by_which_pages_go_on(store):
    for space in ("lab", "lab-2", "lab2", "a"):
        for name in ("b", "a"):
            store.put("things", thing(name, namespace=space))
    wanted = sorted(f"{s}/{n}" for s in ("lab", "lab-2", "lab2", "a") for n in "ab")
    at = store.revision
    store.put("things", thing("later", namespace="lab-2"))

    def keys(entries):
        found = (entry.object["metadata"] for entry in entries)
        return [f"{one['namespace']}/{one['name']}" for one in found]

    assert keys(store.entries_at("things", "", at)) == wanted
    assert keys(store.entries("things")) == sorted([*wanted, "lab-2/later"])


def test_every_change_takes_the_next_revision_which_is_the_objects_version(store):
    first = store.put("things", thing("x"))
    second = store.put("things", thing("y"))
    assert int(second["metadata"]["resourceVersion"]) == store.revision
    assert store.revision == int(first["metadata"]["resourceVersion"]) + 1


def test_subscribers_are_told_after_the_commit_and_in_order(store):
    events = []

    def on_event(event):
        assert store.get("things", "a", event.object["metadata"]["name"]) or event.type == "DELETED"
        events.append((event.type, event.object["value"], event.old and event.old["value"]))

    end = store.subscribe("things", on_event)
    store.put("things", thing("x", 1))
    store.put("things", thing("x", 2))
    store.remove("things", "a", "x")
    end()
    store.put("things", thing("x", 3))
    assert events == [("ADDED", 1, None), ("MODIFIED", 2, 1), ("DELETED", 2, 2)]


def test_a_subscriber_that_writes_does_not_disturb_the_order_for_others(store):
    seen = []

    def writes(event):
        if event.object["value"] == 1:
            store.put("things", thing("x", 2))

    store.subscribe("things", writes)
    store.subscribe("things", lambda event: seen.append(event.object["value"]))
    store.put("things", thing("x", 1))
    assert seen == [1, 2]


def test_objects_and_revision_survive_a_new_start(tmp_path):
    first = Store(tmp_path / "s")
    first.put("things", thing("x", 1))
    first.put("things", thing("y", 1))
    first.remove("things", "a", "y")
    revision = first.revision
    first.close()
    again = Store(tmp_path / "s")
    assert again.revision == revision
    assert [obj["metadata"]["name"] for obj in again.list("things")] == ["x"]
    again.close()


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from k8slab.embedded.apiserver.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for number in range(100000):\n"
        "    store.put('things', {'metadata': {'name': f'n{number}', 'namespace': ''}})\n"
        "    print(number, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if int(line) >= 200:
            break
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split("\n")
    process.stdout.close()
    process.wait()
    told = max([200, *(int(word) for word in rest[:-1] if word)])
    store = Store(tmp_path / "s")
    names = {obj["metadata"]["name"] for obj in store.list("things")}
    store.close()
    assert {f"n{number}" for number in range(told + 1)} <= names


def test_a_list_can_be_read_as_it_was(store):
    store.put("things", thing("x", 1))
    store.put("things", thing("y", 1))
    revision = store.revision
    store.put("things", thing("x", 2))
    store.remove("things", "a", "y")
    store.put("things", thing("z", 1))
    found = store.entries_at("things", "a", revision)
    assert [(e.object["metadata"]["name"], e.object["value"]) for e in found] == [
        ("x", 1),
        ("y", 1),
    ]


def test_changes_since_a_revision_are_told_again(store):
    store.put("things", thing("x", 1))
    revision = store.revision
    store.put("things", thing("x", 2))
    store.remove("things", "a", "x")
    assert [(e.type, e.object["value"]) for e in store.since("things", revision)] == [
        ("MODIFIED", 2),
        ("DELETED", 2),
    ]


def test_a_revision_older_than_the_window_is_gone(store, monkeypatch):
    monkeypatch.setattr(store_module, "WINDOW", 3)
    start = store.revision
    for number in range(5):
        store._windows["things"] = store_module.deque(store._windows["things"], maxlen=3)
        store.put("things", thing("x", number))
    with pytest.raises(ApiStatusError) as gone:
        store.since("things", start)
    assert gone.value.code == 410
    assert len(list(store.since("things", store.revision - 3))) == 3


def test_a_failed_commit_changes_nothing(store):
    store.put("things", thing("x", 1))
    revision = store.revision
    store._database.execute("PRAGMA query_only=1")
    with pytest.raises(Exception, match="readonly"):
        store.put("things", thing("x", 2))
    with pytest.raises(Exception, match="readonly"):
        store.remove("things", "a", "x")
    assert store.revision == revision
    assert store.get("things", "a", "x")["value"] == 1
