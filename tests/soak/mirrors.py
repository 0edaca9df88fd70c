"""A copy of a kind of objects that is kept by watching, as every controller keeps one.

It must be what a list returns, at every moment when nothing changes: a watch that misses an
event, or that is resumed in the wrong place after the server was killed, shows here.
"""

import threading

from k8slab.errors import ApiStatusError, ClusterNotReadyError

SILENCE = 60.0
"""Seconds of a watch after which it is begun again where it was."""
RETRY = 0.05


class Mirror(threading.Thread):
    """Follow one kind until `stop`; `check` compares."""

    def __init__(self, cluster, resource):
        super().__init__(name=f"mirror of {resource}", daemon=True)
        self._cluster = cluster
        self._resource = resource
        self._path = cluster.resources.named(resource).path()
        self._copy = {}
        self._troubles = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def run(self):
        """List, then watch from there, then watch from where that ended; again on 410."""
        version = ""
        while not self._stopping.is_set():
            try:
                version = version or self._list()
                version = self._watch(version)
            except ApiStatusError as error:
                if error.code != 410:
                    self._troubles.append(f"a watch of {self._resource} ended: {error}")
                version = ""
            except ClusterNotReadyError:
                self._stopping.wait(RETRY)  # the server is gone

    def stop(self):
        """End, at the latest with the next event."""
        self._stopping.set()

    def check(self, view):
        """Yield what differs from a list: a check of `invariants.settle`."""
        yield from self._troubles
        listed = {_uid(item): _version(item) for item in view.cluster.list(self._resource)}
        with self._lock:
            copied = dict(self._copy)
        for uid in listed.keys() | copied.keys():
            if listed.get(uid) != copied.get(uid):
                yield (
                    f"a watch of {self._resource} has {uid} at {copied.get(uid)}, "
                    f"a list has it at {listed.get(uid)}"
                )

    def _list(self):
        answer = self._cluster.rest.get(self._path)
        with self._lock:
            self._copy = {_uid(item): _version(item) for item in answer["items"]}
        return answer["metadata"]["resourceVersion"]

    def _watch(self, version):
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        for event in self._cluster.rest.stream(self._path, query=query, deadline=SILENCE):
            found = event["object"]
            if event["type"] == "ERROR":
                raise ApiStatusError(found["message"], code=found["code"], reason=found["reason"])
            version = found["metadata"]["resourceVersion"]
            with self._lock:
                if event["type"] == "DELETED":
                    self._copy.pop(_uid(found), None)
                elif event["type"] != "BOOKMARK":
                    self._copy[_uid(found)] = _version(found)
            if self._stopping.is_set():
                break
        return version


def _uid(item):
    return item["metadata"]["uid"]


def _version(item):
    return item["metadata"]["resourceVersion"]
