"""What a learner did, in order: an append-only SQLite file in the state directory.

Predictions, observations, reasons, answers, hints, checks and set-ups are written as they
happen and never changed (a trigger refuses it), so that progress survives a killed kernel,
a reset cluster and a newer course. WAL mode lets notebook and command line write side by
side; each write is one transaction, on the disk before it is acknowledged.

A file that SQLite finds damaged is never written to: every call says so, until `repair` has
saved what can be read into a new file. The damaged one is kept beside it.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.embedded.config import exists, state_home
from k8slab.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

KINDS = (
    "begin", "setup", "prediction", "observation", "reason", "answer", "hint", "check", "solution",
    "reset", "seed", "diagnosis", "catchup",
)  # fmt: skip

VARIABLE = "K8SLAB_JOURNAL"
"""Names another file, so that an author who tries a lab does not write into their own progress."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, lab TEXT NOT NULL, kind TEXT NOT NULL,
    subject TEXT NOT NULL, data TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS by_subject ON events (lab, kind, subject, id);
CREATE TRIGGER IF NOT EXISTS no_change BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""


_INSERT = "INSERT INTO events (id, time, lab, kind, subject, data) VALUES (?, ?, ?, ?, ?, ?)"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that the learner did; `time` is seconds since 1970, by a clock that may be set.

    What came first is told by `id` alone.
    """

    lab: str
    kind: str
    subject: str
    data: dict[str, Any] = field(default_factory=dict)
    time: float = 0.0
    id: int = 0


class Journal:
    """The journal in one file; made 0600 at the first write."""

    def __init__(self, path: Path | None = None) -> None:
        named = os.environ.get(VARIABLE)
        self.path = path or (Path(named) if named else state_home() / "progress.sqlite")

    def add(self, lab: str, kind: str, subject: str, **data: Any) -> None:
        """Append one event."""
        assert kind in KINDS, kind
        row = (time.time(), lab, kind, subject, json.dumps(data, sort_keys=True))
        with closing(self._open()) as database:
            try:
                with database:
                    database.execute(_INSERT, (None, *row))
            except sqlite3.Error as error:
                raise self._unusable(error) from error

    def events(self, lab: str = "", kind: str = "", subject: str = "") -> list[Event]:
        """Return events in order; an empty word leaves that field open."""
        if not exists(self.path):
            return []
        wanted = [(name, value) for name, value in _columns(lab, kind, subject) if value]
        where = " AND ".join(f"{name} = ?" for name, _ in wanted) or "1"
        with closing(self._open_to_read()) as database:
            try:
                columns = "lab, kind, subject, data, time, id"
                rows = database.execute(
                    f"SELECT {columns} FROM events WHERE {where} ORDER BY id",  # noqa: S608  names are ours
                    [value for _, value in wanted],
                ).fetchall()
                return [
                    Event(row[0], row[1], row[2], json.loads(row[3]), row[4], row[5])
                    for row in rows
                ]
            except (sqlite3.Error, ValueError) as error:
                raise self._unusable(error) from error

    def about(self, lab: str, kind: str, subjects: Sequence[str]) -> list[Event]:
        """Return events about one thing in order, whatever it was called when they were written."""
        found = [event for name in subjects for event in self.events(lab, kind, name)]
        return sorted(found, key=lambda event: event.id)

    def last(self, lab: str, kind: str, subject: str) -> Event | None:
        """Return the newest event of this kind about this subject."""
        found = self.events(lab, kind, subject)
        return found[-1] if found else None

    def seed(self) -> int:
        """Return the learner's seed, drawn once: it picks the names of transfers."""
        if not self.events(kind="seed"):
            self.add("", "seed", "", value=random.randrange(2**31))
        found: int = self.events(kind="seed")[0].data["value"]  # of two writers the first counts
        return found

    def repair(self) -> tuple[int, Path | None]:
        """Save what can be read of a damaged file; return how many events, and the old file.

        The old file is ``None`` when there was nothing to repair. A link stays, and leads to the
        new file: SQLite keeps its other files beside the one that is meant (sqlite.org/wal.html).
        """
        path = Path(os.path.realpath(self.path))
        if not exists(path):
            return 0, None
        if not path.is_file():  # a new file would take the place of a device
            raise EnvironmentLacksError(
                f"{self.path} is no file in which progress is kept",
                hint=f"let {VARIABLE} name a file, or unset it",
            )
        with path.with_name(f"{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of two repairs the second finds nothing to do
            rows, whole = _salvage(path)
            if whole:
                return len(rows), None
            fresh = Journal(path.with_name(f"{path.name}.new-{os.getpid()}"))
            with closing(fresh._open()) as database, database:
                database.executemany(_INSERT, rows)
            aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            for suffix in ("-wal", "-shm", ""):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
            fresh.path.rename(path)
            return len(rows), aside

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives its -wal and -shm files the mode of the database file.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            database = sqlite3.connect(self.path, timeout=10)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            database.close()
            raise self._unusable(error) from error
        return database

    def _open_to_read(self) -> sqlite3.Connection:
        """Open, on a full disk too, where WAL mode has no room for its index of 32 KiB.

        Without a WAL nobody writes and everything is in the one file (sqlite.org/wal.html,
        "read-only databases"), which can be read as one that does not change.
        """
        try:
            return self._open()
        except EnvironmentLacksError as error:
            wal = self.path.with_name(f"{self.path.name}-wal")
            if _code(error.__cause__) not in _NO_ROOM or (wal.exists() and wal.stat().st_size):
                raise
            return sqlite3.connect(f"{self.path.as_uri()}?mode=ro&immutable=1", uri=True)

    def _unusable(self, error: Exception) -> EnvironmentLacksError:
        if isinstance(error, ValueError) or _code(error) in _DAMAGED:
            return EnvironmentLacksError(
                f"{self.path}: the file of your progress is damaged: {error}",
                hint="nothing was changed; save what can be read of it: k8slab progress --repair",
            )
        return EnvironmentLacksError(
            f"{self.path}: progress cannot be written: {error}",
            hint="make room if the disk is full; K8SLAB_HOME names another directory",
        )


def _code(error: BaseException | None) -> int:
    """Return SQLite's primary result code, or 0 for another error."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _salvage(path: Path) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the rows that can be read, from both ends, and whether the file is whole."""
    found: dict[int, tuple[Any, ...]] = {}
    whole = True
    with closing(sqlite3.connect(path, timeout=10)) as database:
        for order in ("ASC", "DESC"):
            try:
                rows = database.execute(
                    f"SELECT id, time, lab, kind, subject, data FROM events ORDER BY id {order}"  # noqa: S608
                )
                for row in rows:
                    json.loads(row[5])
                    found[row[0]] = row
            except (sqlite3.Error, ValueError):
                whole = False
        try:
            whole = whole and database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        except sqlite3.Error:
            whole = False
    return [found[number] for number in sorted(found)], whole


def _columns(lab: str, kind: str, subject: str) -> Iterator[tuple[str, str]]:
    yield from (("lab", lab), ("kind", kind), ("subject", subject))
