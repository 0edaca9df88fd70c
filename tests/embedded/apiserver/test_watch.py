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
    raw = socket.create_connection(("127.0.0.1", server.port))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow = server.context.wrap_socket(raw, server_hostname="127.0.0.1")
    request = path_of(namespace, "&resourceVersion=0")
    slow.sendall(f"GET {request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    slow.recv(1)
    server.call(
        server.api.create,
        "configmaps",
        {"metadata": {"name": "big", "namespace": namespace}, "data": {"x": "y" * 500_000}},
    )

    def watchers():
        return len(server._server._application.rest.watching._hubs["configmaps"]._watchers)

    before = server.call(watchers)
    for number in range(40):
        patch = {"data": {"n": str(number)}}
        server.call(server.api.patch, "configmaps", "big", namespace, patch)
    assert server.call(watchers) == before - 1
    slow.close()
