import sqlite3
import stat
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
