import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from k8slab.course import Journal
from k8slab.errors import EnvironmentLacksError


def test_events_come_back_in_order(tmp_path):
    journal = Journal(tmp_path / "p.sqlite")
    assert journal.events() == []
    journal.add("01", "check", "a", points=1)
    journal.add("01", "check", "b", points=2)
    assert [e.data["points"] for e in journal.events("01", "check")] == [1, 2]
    assert journal.last("01", "check", "b").data == {"points": 2}


@pytest.mark.parametrize("ask", [Journal.events, Journal.repair])
def test_a_journal_that_is_hidden_from_us_is_not_an_empty_one(tmp_path, monkeypatch, ask):
    path = tmp_path / "p.sqlite"
    stat_of = os.stat

    def refuse(file, **more):  # root could look into everything
        if str(file) == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat_of(file, **more)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(EnvironmentLacksError, match=f"{tmp_path} cannot be used: Permission"):
        ask(Journal(path))


def test_the_file_is_the_learners_alone(tmp_path):
    path = tmp_path / "home" / "p.sqlite"
    Journal(path).add("01", "hint", "a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("statement", ["UPDATE events SET lab = 'x'", "DELETE FROM events"])
def test_nothing_can_be_changed(tmp_path, statement):
    path = tmp_path / "p.sqlite"
    Journal(path).add("01", "hint", "a")
    database = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(statement)
    database.close()


def test_several_writers_lose_nothing(tmp_path):
    path = tmp_path / "p.sqlite"

    def write(number):
        for step in range(25):
            Journal(path).add("01", "hint", str(number), step=step)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Journal(path).events()) == 100


def test_progress_that_cannot_be_written_is_told_with_what_to_do(tmp_path):
    path = tmp_path / "p.sqlite"
    journal = Journal(path)
    journal.add("01", "hint", "a")
    refuse = "BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'full'); END"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"CREATE TRIGGER full {refuse}")
    with pytest.raises(EnvironmentLacksError, match="progress cannot be written: full") as raised:
        journal.add("01", "hint", "b")
    assert "make room" in raised.value.hint
    assert [event.subject for event in journal.events()] == ["a"]


WRITER = """
import sys
from pathlib import Path
from k8slab.course import Journal
journal = Journal(Path(sys.argv[1]))
for step in range(100_000):
    journal.add("01", "hint", sys.argv[2], step=step, text="x" * 500)
    print(step, flush=True)
"""


def writer(path, subject):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), subject], stdout=subprocess.PIPE, text=True
    )


def test_what_was_acknowledged_survives_kill_9_in_the_middle_of_writes(tmp_path):
    path = tmp_path / "p.sqlite"
    with writer(path, "one") as one, writer(path, "other") as other:
        told = {"one": -1, "other": -1}
        for _ in range(15):
            told = {"one": int(one.stdout.readline()), "other": int(other.stdout.readline())}
        for process in (one, other):
            process.send_signal(signal.SIGKILL)
    journal = Journal(path)
    for subject, last in told.items():
        steps = [event.data["step"] for event in journal.events("01", "hint", subject)]
        assert steps == [*range(len(steps))]
        assert len(steps) > last
    journal.add("01", "hint", "after")
    assert journal.repair()[1] is None
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def filled(path):
    """Make a journal of some hundred pages, all in the one file."""
    journal = Journal(path)
    with closing(sqlite3.connect(path)) as database:
        journal.add("01", "hint", "first")
        rows = [
            (float(n), "01", "hint", f"s{n}", '{"text": "%s"}' % ("x" * 900)) for n in range(400)
        ]
        with database:
            database.executemany(
                "INSERT INTO events (time, lab, kind, subject, data) VALUES (?, ?, ?, ?, ?)", rows
            )
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return journal


def spoil(path, start, length):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * length)


def test_a_damaged_file_is_told_and_repaired_without_losing_what_can_be_read(tmp_path):
    journal = filled(tmp_path / "p.sqlite")
    spoil(journal.path, journal.path.stat().st_size // 2, 8192)
    before = journal.path.read_bytes()
    with pytest.raises(EnvironmentLacksError, match="is damaged") as raised:
        journal.events()
    assert "k8slab progress --repair" in raised.value.hint
    saved, aside = journal.repair()
    assert 200 < saved < 401
    assert aside.read_bytes() == before
    assert len(journal.events()) == saved
    journal.add("01", "hint", "after")
    assert journal.last("01", "hint", "after")
    assert journal.repair() == (saved + 1, None)


@pytest.mark.parametrize("spoilt", [b"this is no database at all, and never was one", b"\0" * 4096])
def test_a_file_that_is_no_journal_is_kept_aside_too(tmp_path, spoilt):
    path = tmp_path / "p.sqlite"
    path.write_bytes(spoilt)
    journal = Journal(path)
    with pytest.raises(EnvironmentLacksError, match="is damaged"):
        journal.add("01", "hint", "a")
    assert path.read_bytes() == spoilt
    saved, aside = journal.repair()
    assert (saved, aside.read_bytes()) == (0, spoilt)
    journal.add("01", "hint", "a")
    assert len(journal.events()) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_row_that_is_no_json_is_damage_too(tmp_path):
    path = tmp_path / "p.sqlite"
    Journal(path).add("01", "hint", "a")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO events VALUES (NULL, 1.0, '01', 'hint', 'b', '{')")
    with pytest.raises(EnvironmentLacksError, match="is damaged"):
        Journal(path).events()
    assert Journal(path).repair()[0] == 1
    assert [event.subject for event in Journal(path).events()] == ["a"]


def test_a_repair_leaves_a_link_and_mends_what_it_leads_to(tmp_path):
    (tmp_path / "real").mkdir()
    journal = filled(tmp_path / "real" / "p.sqlite")
    spoil(journal.path, journal.path.stat().st_size // 2, 8192)
    (tmp_path / "link.sqlite").symlink_to("real/p.sqlite")
    link = Journal(tmp_path / "link.sqlite")
    saved, aside = link.repair()
    assert aside.parent == tmp_path / "real"
    assert link.path.is_symlink()
    assert len(link.events()) == len(journal.events()) == saved
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link.sqlite"}


def test_what_is_no_file_is_not_repaired_into_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("pipe", "directory"):
        with pytest.raises(EnvironmentLacksError, match=f"{name} is no file in which progress"):
            Journal(tmp_path / name).repair()
    assert (tmp_path / "pipe").is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "directory"}


def test_nothing_is_repaired_where_nothing_is(tmp_path):
    assert Journal(tmp_path / "p.sqlite").repair() == (0, None)
    assert not (tmp_path / "p.sqlite").exists()


FULL = """
import sys
from pathlib import Path
from k8slab.course import Journal
from k8slab.errors import EnvironmentLacksError
journal = Journal(Path(sys.argv[1]) / "p.sqlite")
journal.add("01", "check", "kept")
rest = open(Path(sys.argv[1]) / "rest", "wb", buffering=0)
try:
    while rest.write(b"x" * 4096):
        pass
except OSError:
    pass
try:
    for number in range(200):
        journal.add("01", "hint", str(number), text="y" * 4000)
    print("never full")
except EnvironmentLacksError as error:
    print(error.message.partition(": ")[2], "/", error.hint)
written = len(journal.events())
rest.truncate(0)
journal.add("01", "hint", "after")
print(written >= 1, len(journal.events()) == written + 1, journal.repair()[1])
"""


def test_a_full_disk_is_told_and_what_was_written_can_be_read_then_and_later(tmp_path):
    mounted = 'mount -t tmpfs -o size=512k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, FULL],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    told, after = done.stdout.splitlines()
    assert told.startswith("progress cannot be written: ")
    assert "/ make room if the disk is full" in told
    assert after == "True True None"


def test_learners_of_one_machine_have_journals_that_the_others_cannot_open(tmp_path, monkeypatch):
    monkeypatch.delenv("K8SLAB_HOME", raising=False)
    monkeypatch.delenv("K8SLAB_JOURNAL", raising=False)
    paths = []
    for learner in ("anna", "boris"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / learner))
        Journal().add("01", "hint", learner)
        paths.append(Journal().path)
    assert paths[0] != paths[1]
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a moment")
def test_a_journal_of_somebody_else_is_told_as_such(tmp_path):
    path = tmp_path / "home" / "p.sqlite"
    Journal(path).add("01", "hint", "a")
    code = (
        "import os, sys; os.setuid(65534)\ntry:\n open(sys.argv[1])\nexcept OSError as e: print(e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert "Permission denied" in done.stdout
