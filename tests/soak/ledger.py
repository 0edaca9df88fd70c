"""What was acknowledged: every write that the API answered, to be asked for later.

An object that was written must be there with its UID, at that version or a later one, and with
what was written; an object that was deleted must be gone. A write whose answer did not come is
in doubt: either form is right, until the next answer.
"""

import threading
from dataclasses import dataclass, field

RESOURCES = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments.apps",
    "Job": "jobs.batch",
    "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies.networking.k8s.io",
    "ClusterNetworkPolicy": "clusternetworkpolicies.policy.networking.k8s.io",
    "Pod": "pods",
    "Service": "services",
    "StatefulSet": "statefulsets.apps",
}


@dataclass
class Entry:
    """One object as it was acknowledged last; no `uid` when it was deleted."""

    uid: str = ""
    version: int = 0
    wanted: dict = field(default_factory=dict)
    gone: str = ""
    """The UID of the object that was deleted."""
    pending: bool = False
    """A write was sent and has no answer yet."""
    doubtful: bool = False
    """A write was sent before that one, and its answer never came."""

    @property
    def in_doubt(self):
        """Say whether the object may also be as some unanswered write wanted it."""
        return self.pending or self.doubtful


class Ledger:
    """Everything that was acknowledged, by kind, namespace and name. For several threads."""

    def __init__(self):
        self._entries = {}
        self._lock = threading.Lock()

    def __len__(self):
        return len(self._entries)

    def sent(self, kind, namespace, name):
        """Note that a write is under way."""
        with self._lock:
            entry = self._entries.setdefault((kind, namespace, name), Entry())
            entry.doubtful = entry.doubtful or entry.pending
            entry.pending = True

    def refused(self, kind, namespace, name):
        """Note that the write was answered with an error: what was before is true."""
        with self._lock:
            self._entries[kind, namespace, name].pending = False

    def written(self, made, wanted, *, patch=False):
        """Note the answer to a write of `wanted`, which with `patch` is only a change."""
        meta = made["metadata"]
        key = (made["kind"], meta.get("namespace", ""), meta["name"])
        with self._lock:
            old = self._entries.get(key, Entry())
            if patch and old.uid == meta["uid"]:
                wanted = _merged(old.wanted, wanted)
            if made["kind"] == "Namespace" and old.uid != meta["uid"]:
                self._empty(meta["name"])
            version = int(meta["resourceVersion"])
            self._entries[key] = Entry(uid=meta["uid"], version=version, wanted=wanted)

    def deleted(self, kind, namespace, name):
        """Note that a deletion was accepted; with a namespace go all objects in it."""
        with self._lock:
            old = self._entries.get((kind, namespace, name), Entry())
            self._entries[kind, namespace, name] = Entry(gone=old.uid or old.gone)
            if kind == "Namespace":
                self._empty(name)

    def _empty(self, namespace):
        for key, entry in self._entries.items():
            if key[1] == namespace:
                self._entries[key] = Entry(gone=entry.uid or entry.gone)

    def uid(self, kind, namespace, name):
        """Return the UID of an object that should be there, or an empty string."""
        with self._lock:
            found = self._entries.get((kind, namespace, name))
            return found.uid if found else ""

    def names(self, kind, namespace):
        """Return the names of the objects of a kind that should be there."""
        with self._lock:
            return sorted(
                k[2] for k, e in self._entries.items() if k[:2] == (kind, namespace) and e.uid
            )

    def check(self, view):
        """Compare with what is there now: a check of a `View`, for `invariants.settle`."""
        with self._lock:
            entries = dict(self._entries)
        doubtful = {key[2] for key, e in entries.items() if key[0] == "Namespace" and e.in_doubt}
        entries = {key: entry for key, entry in entries.items() if key[1] not in doubtful}
        for kind in sorted({key[0] for key in entries}):
            found = {
                (item["metadata"].get("namespace", ""), item["metadata"]["name"]): item
                for item in view.cluster.list(RESOURCES[kind])
            }
            for (of, *place), entry in entries.items():
                if of == kind:
                    yield from _compare(f"{kind} {'/'.join(place)}", entry, found.get((*place,)))


def _compare(name, entry, found):
    if found is None:
        if entry.uid and not entry.in_doubt:
            yield f"{name} was acknowledged at version {entry.version} and is not there"
        return
    uid = found["metadata"]["uid"]
    if uid == entry.gone:
        if not entry.in_doubt:
            yield f"{name} was deleted and is still there"
        return
    if entry.in_doubt or not entry.uid:
        return  # somebody may have made it anew: the write whose answer did not come
    if uid != entry.uid:
        yield f"{name} has the UID {uid}, it was acknowledged with {entry.uid}"
    elif int(found["metadata"]["resourceVersion"]) < entry.version:
        version = found["metadata"]["resourceVersion"]
        yield f"{name} is at version {version}, {entry.version} was acknowledged"
    elif missing := _missing(found, entry.wanted):
        yield f"{name} lacks what was acknowledged: {missing}"


def _merged(old, change):
    if not (isinstance(old, dict) and isinstance(change, dict)):
        return change
    return {**old, **{key: _merged(old.get(key), value) for key, value in change.items()}}


def _missing(found, wanted, path=""):
    """Return the first place where what was written is not what is there; defaults may be added."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return f"{path} is {found!r}"
        for key, value in wanted.items():
            if value is None:
                if key in found:
                    return f"{path}.{key} should be gone"
            elif key not in found and not isinstance(value, dict):
                return f"{path}.{key} is missing"
            elif deeper := _missing(found.get(key, {}), value, f"{path}.{key}"):
                return deeper
        return ""
    if isinstance(wanted, list):
        # Admission may add to a list, at its end: the mount of the account's token.
        if not isinstance(found, list) or len(found) < len(wanted):
            return f"{path} is {found!r}, not {wanted!r}"
        pairs = enumerate(zip(found, wanted, strict=False))
        return next((text for i, (f, w) in pairs if (text := _missing(f, w, f"{path}[{i}]"))), "")
    return "" if found == wanted else f"{path} is {found!r}, not {wanted!r}"
