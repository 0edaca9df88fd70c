"""Keep every object: in memory to read, in SQLite to survive.

One change is one SQLite transaction in WAL mode; only when it is committed does the
change become visible, and then each subscriber is told, in order. Every object is kept
beside its serialised bytes, so that get, list and watch answer without encoding again.

Each change takes the next *revision*, which is the object's ``resourceVersion``. The last
changes of each resource stay in memory (`WINDOW`), so that a watch can resume at a revision
and a paged list can be read as it was; what is older is answered with 410 Gone.

A ``kill -9`` loses nothing that was acknowledged: a commit has reached the operating system
(synchronous NORMAL guards against a killed process, not against a power cut).
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import orjson

from k8slab.embedded.apiserver import statuses
from k8slab.objects.meta import Object, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

WINDOW = 4096
"""How many changes of one resource are kept for watches that resume."""

CHECKPOINT_PAGES = 20_000
"""The write-ahead log is folded back by `Store.checkpoint`; this is only the backstop (80 MB)."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    revision INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
);
CREATE TABLE IF NOT EXISTS removals (only INTEGER PRIMARY KEY CHECK (only = 0), revision INTEGER);
INSERT OR IGNORE INTO removals VALUES (0, 0);
"""


_INSERT = "INSERT INTO objects (revision, data, resource, namespace, name) VALUES (?, ?, ?, ?, ?)"
_UPDATE = (
    "UPDATE objects SET revision = ?, data = ? WHERE resource = ? AND namespace = ? AND name = ?"
)


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change; for DELETED, `object` carries the revision of its removal."""

    type: str
    object: Object
    old: Object | None
    revision: int
    raw: bytes
    """`object` as JSON."""
    old_raw: bytes = b""


class Entry(NamedTuple):
    """An object and its JSON."""

    object: Object
    raw: bytes


class _Change(NamedTuple):
    """What the window keeps of an event: bytes only, since it is rarely read."""

    revision: int
    type: str
    key: tuple[str, str]
    raw: bytes
    old_raw: bytes

    def event(self) -> Event:
        """Return it as it was told."""
        old = orjson.loads(self.old_raw) if self.old_raw else None
        return Event(self.type, orjson.loads(self.raw), old, self.revision, self.raw, self.old_raw)


class Store:
    """The objects of one cluster. All methods are synchronous and belong to one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        self._database.executescript(_SCHEMA)
        self._entries: defaultdict[str, dict[str, dict[str, Entry]]] = defaultdict(dict)
        self._windows: defaultdict[str, deque[_Change]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._floors: dict[str, int] = {}
        self._subscribers: defaultdict[str, list[Callable[[Event], None]]] = defaultdict(list)
        self._queue: deque[tuple[str, Event]] = deque()
        self._telling = False
        self.revision = self._load()
        self._start = self.revision

    def _load(self) -> int:
        (revision,) = self._database.execute("SELECT revision FROM removals").fetchone()
        # A real server's first revision is never 0, which means "any version" in a request.
        revision = max(revision, 1)
        rows = self._database.execute(
            "SELECT resource, namespace, name, revision, data FROM objects"
        )
        for resource, namespace, name, changed, data in rows:
            names = self._entries[resource].setdefault(namespace, {})
            names[name] = Entry(orjson.loads(data), bytes(data))
            revision = max(revision, changed)
        return int(revision)

    def close(self) -> None:
        """Fold the write-ahead log back and close the file."""
        self._database.close()

    def checkpoint(self) -> None:
        """Fold the write-ahead log back; takes milliseconds, so call it from a worker thread."""
        database = sqlite3.connect(self.path, isolation_level=None)
        try:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            database.close()

    # --- reading

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """Return the object, or ``None``."""
        found = self.entry(resource, namespace, name)
        return found.object if found else None

    def entry(self, resource: str, namespace: str, name: str) -> Entry | None:
        """Return the object with its JSON, or ``None``."""
        names = self._entries[resource].get(namespace)
        return names.get(name) if names else None

    def entries(self, resource: str, namespace: str = "") -> list[Entry]:
        """Return objects with their JSON, in the order of their keys ``NAMESPACE/NAME``.

        That is etcd's order, by which a list is continued page after page: lab-2 before lab.
        """
        namespaces = self._entries[resource]
        wanted = [namespace] if namespace else sorted(namespaces, key="{}/".format)
        return [entry for space in wanted for _, entry in sorted(namespaces.get(space, {}).items())]

    def _scan(self, resource: str, namespace: str) -> Iterable[Entry]:
        namespaces = self._entries[resource]
        if namespace:
            return namespaces.get(namespace, {}).values()
        return [entry for names in namespaces.values() for entry in names.values()]

    def entries_at(self, resource: str, namespace: str, revision: int) -> list[Entry]:
        """Return the list as it was at `revision`, by undoing later changes; 410 when too old."""
        self._check_window(resource, revision)
        found = {
            (namespace_of(entry.object), name_of(entry.object)): entry
            for entry in self._scan(resource, namespace)
        }
        for change in reversed(self._windows[resource]):
            if change.revision <= revision:
                break
            if namespace and change.key[0] != namespace:
                continue
            if change.type == "ADDED":
                found.pop(change.key, None)
            else:
                found[change.key] = Entry(orjson.loads(change.old_raw), change.old_raw)
        return [found[key] for key in sorted(found, key="/".join)]

    def since(self, resource: str, revision: int) -> Iterator[Event]:
        """Return the changes after `revision` that are still known; 410 Gone when too old.

        Each is decoded when it is asked for.
        """
        self._check_window(resource, revision)
        found = [change for change in self._windows[resource] if change.revision > revision]
        return map(_Change.event, found)

    def _check_window(self, resource: str, revision: int) -> None:
        floor = self._floors.get(resource, self._start)
        if revision < floor:
            raise statuses.expired(f"too old resource version: {revision} ({self.revision})")

    def list(self, resource: str, namespace: str = "") -> list[Object]:
        """Return the objects of one namespace, or of all, in no particular order."""
        # Last of the readers: below this line `list` is this method, not the type.
        return [entry.object for entry in self._scan(resource, namespace)]

    # --- writing

    def put(self, resource: str, obj: Object) -> Object:
        """Create or replace; sets ``resourceVersion`` in `obj`, which is the store's from now."""
        namespace, name = namespace_of(obj), name_of(obj)
        revision = self.revision + 1
        obj["metadata"]["resourceVersion"] = str(revision)
        raw = orjson.dumps(obj)
        names = self._entries[resource].setdefault(namespace, {})
        old = names.get(name)
        # An UPDATE in place costs a third of an INSERT OR REPLACE, which writes the index too.
        self._database.execute(
            _UPDATE if old else _INSERT, (revision, raw, resource, namespace, name)
        )
        names[name] = Entry(obj, raw)
        kind = "MODIFIED" if old else "ADDED"
        before, before_raw = old or (None, b"")
        self._announce(resource, Event(kind, obj, before, revision, raw, before_raw))
        return obj

    def remove(self, resource: str, namespace: str, name: str) -> Object | None:
        """Remove an object; returns its last form with the revision of the removal."""
        old = self.entry(resource, namespace, name)
        if old is None:
            return None
        revision = self.revision + 1
        with _transaction(self._database):
            self._database.execute(
                "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
                (resource, namespace, name),
            )
            self._database.execute("UPDATE removals SET revision = ?", (revision,))
        del self._entries[resource][namespace][name]
        if not self._entries[resource][namespace]:
            del self._entries[resource][namespace]
        metadata = {**old.object["metadata"], "resourceVersion": str(revision)}
        gone = {**old.object, "metadata": metadata}
        event = Event("DELETED", gone, old.object, revision, orjson.dumps(gone), old.raw)
        self._announce(resource, event)
        return gone

    # --- telling

    def subscribe(self, resource: str, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call `callback` after each commit, in order; returns the function that ends this.

        A callback may write: its own change is told after the present one is told to all.
        """
        self._subscribers[resource].append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers[resource]:
                self._subscribers[resource].remove(callback)

        return unsubscribe

    def _announce(self, resource: str, event: Event) -> None:
        self.revision = event.revision
        window = self._windows[resource]
        if len(window) == WINDOW:
            self._floors[resource] = window[0].revision
        key = (namespace_of(event.object), name_of(event.object))
        window.append(_Change(event.revision, event.type, key, event.raw, event.old_raw))
        self._queue.append((resource, event))
        if self._telling:
            return
        self._telling = True
        try:
            while self._queue:
                resource, event = self._queue.popleft()
                for callback in tuple(self._subscribers[resource]):
                    callback(event)
        finally:
            self._telling = False


class _transaction:  # noqa: N801  - reads as a statement
    """``BEGIN`` ... ``COMMIT``, or ``ROLLBACK`` when the body raises."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._database.execute("ROLLBACK" if kind else "COMMIT")
