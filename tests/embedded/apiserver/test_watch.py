"""Watches: from now, from a revision, with initial events; bounded, and told in order."""

from __future__ import annotations

import json
import socket

import pytest

from k8slab.embedded.apiserver import http as http_module


class Watch:
    def __init__(self, server, path):
        self.connection = server.connect()
        self.connection.request("GET", path)
        self.response = self.connection.getresponse()

    def next(self):
        return json.loads(self.response.readline())

    def take(self, count):
        return [
            (e["type"], e["object"]["metadata"]["name"]) for e in map(self.next_of, range(count))
        ]

    def next_of(self, _number):
        return self.next()

    def close(self):
        self.connection.close()


@pytest.fixture
def watch(server):
    opened = []

    def open_watch(path):
        opened.append(Watch(server, path))
        return opened[-1]

    yield open_watch
    for one in opened:
        one.close()


def small_reader(server, path):
    """Ask for something over a connection whose kernel buffers hold little."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", server.port))
    raw.settimeout(30)
    wrapped = server.context.wrap_socket(raw, server_hostname="127.0.0.1")
    wrapped.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return wrapped


def path_of(namespace, query=""):
    return f"/api/v1/namespaces/{namespace}/configmaps?watch=1{query}"


def create(server, namespace, name, **labels):
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return server.call(server.api.create, "configmaps", {"metadata": metadata})


def test_a_watch_without_a_version_begins_with_what_is_there(server, namespace, watch):
    create(server, namespace, "a")
    seen = watch(path_of(namespace))
    assert seen.take(1) == [("ADDED", "a")]
    create(server, namespace, "b")
    server.call(server.api.delete, "configmaps", "a", namespace)
    assert seen.take(2) == [("ADDED", "b"), ("DELETED", "a")]


def test_a_watch_from_a_version_tells_only_what_came_after(server, namespace, watch):
    version = create(server, namespace, "a")["metadata"]["resourceVersion"]
    create(server, namespace, "b")
    seen = watch(path_of(namespace, f"&resourceVersion={version}"))
    assert seen.take(1) == [("ADDED", "b")]
    create(server, namespace, "c")
    assert seen.take(1) == [("ADDED", "c")]


def test_initial_events_end_with_the_bookmark_that_client_go_waits_for(server, namespace, watch):
    create(server, namespace, "a")
    seen = watch(
        path_of(
            namespace,
            "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
        )
    )
    assert seen.take(1) == [("ADDED", "a")]
    end = seen.next()
    assert end["type"] == "BOOKMARK"
    assert end["object"]["kind"] == "ConfigMap"
    assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    create(server, namespace, "b")
    assert seen.take(1) == [("ADDED", "b")]


def test_send_initial_events_needs_its_match(server, namespace):
    answer = server.request("GET", path_of(namespace, "&sendInitialEvents=true"))
    assert answer.status == 422
    assert "sendInitialEvents requires setting resourceVersionMatch" in answer.json["message"]


def test_a_version_that_is_too_old_is_410_in_the_watch(server, namespace, watch):
    seen = watch(path_of(namespace, "&resourceVersion=1"))
    server.call(server.api.store._floors.__setitem__, "configmaps", server.api.store.revision)
    try:
        seen = watch(path_of(namespace, "&resourceVersion=2")).next()
    finally:
        server.call(server.api.store._floors.pop, "configmaps")
    assert seen["type"] == "ERROR"
    assert (seen["object"]["code"], seen["object"]["reason"]) == (410, "Expired")


def test_objects_enter_and_leave_a_selection(server, namespace, watch):
    create(server, namespace, "a", app="x")
    seen = watch(path_of(namespace, "&labelSelector=app%3Dx"))
    assert seen.take(1) == [("ADDED", "a")]
    for app in ("y", "x"):
        patch = {"metadata": {"labels": {"app": app}}}
        server.call(server.api.patch, "configmaps", "a", namespace, patch)
    assert seen.take(2) == [("DELETED", "a"), ("ADDED", "a")]


def test_a_watch_ends_after_its_timeout(server, namespace, watch):
    seen = watch(path_of(namespace, "&timeoutSeconds=1&resourceVersion=0"))
    assert seen.response.read() == b""


def test_one_object_is_watched_by_field_selector(server, namespace, watch):
    seen = watch(path_of(namespace, "&fieldSelector=metadata.name%3Db"))
    create(server, namespace, "a")
    create(server, namespace, "b")
    assert seen.take(1) == [("ADDED", "b")]


def test_a_client_that_does_not_read_is_dropped_and_nobody_waits_for_it(
    server, namespace, monkeypatch
):
    monkeypatch.setattr(http_module.Channel, "LIMIT", 64 * 1024)
    slow = small_reader(server, path_of(namespace, "&resourceVersion=0"))
    slow.recv(1)
    server.call(
        server.api.create,
        "configmaps",
        {"metadata": {"name": "big", "namespace": namespace}, "data": {"x": "y" * 500_000}},
    )

    def watches():
        hub = server._server._application.rest.watching._hubs["configmaps"]
        return sum(
            len(audience.channels)
            for audience in hub._audiences.values()
            if audience.selection.namespace == namespace  # those of earlier tests may just go
        )

    assert server.call(watches) == 1
    for number in range(40):
        patch = {"data": {"n": str(number)}}
        server.call(server.api.patch, "configmaps", "big", namespace, patch)
    assert server.call(watches) == 0
    slow.close()


def test_watches_of_one_kind_are_told_the_same_bytes_and_each_what_it_selects(
    server, namespace, watch
):
    hub = server._server._application.rest.watching._hubs
    every = [watch(path_of(namespace, "&resourceVersion=0")) for _ in range(3)]
    chosen = watch(path_of(namespace, "&resourceVersion=0&labelSelector=app%3Dx"))
    sent = []

    def listen():
        for audience in hub["configmaps"]._audiences.values():
            if audience.selection.namespace == namespace:
                for channel in audience.channels:
                    write = channel.write
                    channel.write = lambda data, write=write: (sent.append(data), write(data))

    server.call(listen)
    create(server, namespace, "a")
    create(server, namespace, "b", app="x")
    for one in every:
        assert one.take(2) == [("ADDED", "a"), ("ADDED", "b")]
    assert chosen.take(1) == [("ADDED", "b")]
    told = {id(data) for data in sent}
    assert len(sent) == 7
    assert len(told) == 3  # "a" once, "b" once for each audience


def test_a_watch_begun_in_the_midst_of_writes_misses_and_repeats_nothing(server, namespace, watch):
    def write(first):
        for number in range(first, first + 50):
            metadata = {"name": f"n{number:03}", "namespace": namespace}
            server.api.create("configmaps", {"metadata": metadata})

    server.call(write, 0)
    seen = []
    for number in range(4):
        seen.append(watch(path_of(namespace, "&resourceVersion=0")))
        server.call(write, 50 + 50 * number)
    wanted = [("ADDED", f"n{number:03}") for number in range(250)]
    for one in seen:
        assert sorted(one.take(250)) == wanted


def test_what_a_watch_begins_with_waits_until_the_client_reads(server, namespace):
    def write():
        for number in range(300):
            metadata = {"name": f"n{number}", "namespace": namespace}
            server.api.create("configmaps", {"metadata": metadata, "data": {"x": "y" * 50_000}})

    server.call(write)
    views = server._server._application.rest.watching._hubs["configmaps"]
    slow = small_reader(server, path_of(namespace))
    slow.recv(1)

    def behind():
        [channel] = [
            channel
            for audience in views._audiences.values()
            if audience.selection.namespace == namespace
            for channel in audience.channels
        ]
        left = sum(1 for _ in channel._first)
        return left, channel._transport.get_write_buffer_size()

    left, buffered = server.call(behind)
    assert left > 100  # of 300 chunks of 50 kB each
    assert buffered < 256 * 1024
    slow.close()


def test_an_object_that_leaves_a_selection_is_told_as_it_was(server, namespace, watch):
    create(server, namespace, "a", app="x")
    seen = watch(path_of(namespace, "&labelSelector=app%3Dx"))
    assert seen.take(1) == [("ADDED", "a")]
    relabelled = {"metadata": {"labels": {"app": "y"}}, "data": {"new": "1"}}
    moved = server.call(server.api.patch, "configmaps", "a", namespace, relabelled)
    told = seen.next()
    assert (told["type"], told["object"]["metadata"]["labels"]) == ("DELETED", {"app": "x"})
    assert "data" not in told["object"]
    assert told["object"]["metadata"]["resourceVersion"] == moved["metadata"]["resourceVersion"]
    again = watch(path_of(namespace, "&labelSelector=app%3Dx"))
    create(server, namespace, "b", app="x")
    assert again.take(1) == [("ADDED", "b")]


def test_a_watch_that_resumes_is_told_the_same_of_what_left_its_selection(server, namespace, watch):
    version = create(server, namespace, "a", app="x")["metadata"]["resourceVersion"]
    relabelled = {"metadata": {"labels": {"app": "y"}}}
    moved = server.call(server.api.patch, "configmaps", "a", namespace, relabelled)
    query = f"&labelSelector=app%3Dx&resourceVersion={version}"
    told = watch(path_of(namespace, query)).next()
    assert (told["type"], told["object"]["metadata"]["labels"]) == ("DELETED", {"app": "x"})
    assert told["object"]["metadata"]["resourceVersion"] == moved["metadata"]["resourceVersion"]


def test_a_get_by_name_is_no_watch(server, namespace):
    create(server, namespace, "a")
    got = server.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/a?watch=true")
    assert got.json["kind"] == "ConfigMap"


def test_the_old_path_of_a_watch_is_served(server, namespace, watch):
    create(server, namespace, "a")
    create(server, namespace, "b")
    space = f"/api/v1/watch/namespaces/{namespace}/configmaps"
    assert watch(f"{space}/b").take(1) == [("ADDED", "b")]
    assert watch(space).take(2) == [("ADDED", "a"), ("ADDED", "b")]


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "POST"])
def test_nothing_is_written_by_the_old_path_of_a_watch(server, namespace, method):
    made = create(server, namespace, "a")
    space = f"/api/v1/watch/namespaces/{namespace}/configmaps"
    body = {**made, "data": {"key": "other"}}
    for path in (space, f"{space}/a", f"/api/v1/watch/namespaces/{namespace}"):
        assert server.request(method, path, body).status == 405
    for part in ("status", "finalize"):
        assert server.request(method, f"/api/v1/watch/namespaces/{namespace}/{part}").status == 404
    now = server.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/a").json
    assert now == made
