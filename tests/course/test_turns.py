"""Two that work at one exercise: one waits for the other, and says for whom."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from k8slab.course import Pace, Session, submission, turns
from k8slab.course.difference import Estate
from k8slab.testing.fake import FakeCluster

HOLD = """
import sys, threading
from k8slab.clusters import records
with records.exclusive(sys.argv[1], waiting=print, holder="a check"):
    print("held", flush=True)
    threading.Event().wait(60)
"""


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path))
    monkeypatch.setattr(turns, "PATIENCE", 0.01)


@pytest.fixture
def held(session):
    """Have another process hold the exercise; gives it."""
    name = f"{session.cluster.name}.{session.lab.exercise('protect').namespace}"
    with subprocess.Popen([sys.executable, "-c", HOLD, name], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        yield other
        other.kill()


def waiting(session):
    """Begin in a thread; return it when it waits, and what it was told."""
    lines, told = [], threading.Event()

    def said(line):
        lines.append(line)
        told.set()

    session.told = said
    thread = threading.Thread(target=session.begin, args=("protect",))
    thread.start()
    assert told.wait(30)
    return thread, lines


def test_who_waits_is_told_for_whom_and_a_killed_holder_frees_it(session, held):
    thread, lines = waiting(session)
    assert lines[:1] == ["protect: waiting for another command: a check"]
    assert session.journal.events(kind="begin") == []
    held.send_signal(signal.SIGKILL)
    thread.join(30)
    assert lines[1] == "protect: the other one is over, going on"
    assert len(session.journal.events(kind="begin")) == 1


def test_ctrl_c_ends_the_wait(session, held):
    assert held.poll() is None

    def interrupt(_line):
        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()

    session.told = interrupt
    with pytest.raises(KeyboardInterrupt):
        session.check("protect") and session.begin("protect")


@pytest.mark.parametrize(
    "command",
    [
        lambda s: s.begin("protect"),
        lambda s: s.reset("protect"),
        lambda s: s.check("protect"),
        lambda s: submission.gather([(s.lab, ["protect"])], s.cluster, s.journal),
    ],
)
def test_each_command_holds_the_exercise_and_no_other(session, command, monkeypatch):
    monkeypatch.setattr(Estate, "read", lambda *_: Estate({}, {}))
    session.begin("protect")
    seen = []
    lock = turns.records.exclusive

    def noted(name, **more):
        seen.append((name, more["holder"]))
        return lock(name, **more)

    monkeypatch.setattr(turns.records, "exclusive", noted)
    command(session)
    ((name, holder),) = seen
    assert name == "fake.lab90-protect"
    assert holder.endswith(f" (process {os.getpid()})")


def test_another_cluster_and_another_exercise_wait_for_nobody(session):
    exercise = session.lab.exercise("protect")
    nobody = pytest.fail
    with (
        turns.alone(session.cluster, [exercise], doing="check", told=nobody),
        turns.alone(FakeCluster(name="b"), [exercise], doing="check", told=nobody),
    ):
        Session(session.lab, session.cluster, session.journal, nobody).begin("look")


def test_a_check_beside_one_that_was_made_to_wait_waits_longer(session):
    session.begin("protect")
    for _ in range(3):
        session.check("protect")
    pauses, lines, sleeps, go = [], [], threading.Event(), threading.Event()
    queued = threading.Event()

    def sleep(seconds):
        pauses.append(seconds)
        sleeps.set()
        assert go.wait(30)

    def told(line):
        lines.append(line)
        if "waiting for another command: check" in line:
            queued.set()

    def check():
        replace(session, pace=Pace(sleep=sleep), told=told).check("protect")

    one, other = (threading.Thread(target=check) for _ in range(2))
    try:
        one.start()
        assert sleeps.wait(30)
        other.start()
        assert queued.wait(10), lines  # it has not begun to count failures
    finally:
        go.set()
        for thread in (one, other):
            thread.join(30)
    assert pauses[0] <= 5 < pauses[1] <= 10
