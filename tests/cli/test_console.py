"""What is seen of steps, and what stays."""

import io
import os
import pty
import subprocess
import sys
import termios
import threading
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from types import SimpleNamespace

import pytest

from k8slab.cli import console
from k8slab.errors import EnvironmentLacksError, UsageError

WIDE = 30
"""Columns of the terminal."""


class Terminal(io.StringIO):
    """Keeps what is written to a terminal; `written` is set by the first of it."""

    def __init__(self, descriptor):
        super().__init__()
        self.written = threading.Event()
        self._descriptor = descriptor

    def isatty(self):
        return True

    def fileno(self):
        return self._descriptor

    def write(self, text):
        self.written.set()
        return super().write(text)


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, WIDE))
    yield Terminal(theirs)
    os.close(ours)
    os.close(theirs)


@pytest.fixture(params=["a terminal", "a file"])
def stream(request):
    return request.getfixturevalue("terminal") if request.param == "a terminal" else io.StringIO()


@pytest.fixture
def clock(monkeypatch):
    """Let the time of steps pass by hand."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@contextmanager
def seen(stream):
    """Give the steps of a command that writes to `stream`."""
    with redirect_stderr(stream), console.steps() as step:
        yield step


def test_a_message_stays_and_a_short_step_leaves_nothing(stream, clock):
    with seen(stream) as step:
        step("deleting")
        step.say("your work is saved in a file")
        step("making it anew")
    assert stream.getvalue().removeprefix("\r\x1b[K") == "your work is saved in a file\n"


def test_a_step_goes_on_below_a_message(stream, clock):
    with seen(stream) as step:
        step("deleting")
        step.say("your work is saved in a file")
        clock.now = 7.0
    lines = stream.getvalue().replace("\r\x1b[K", "\n").split("\n")
    assert lines.index("your work is saved in a file") < lines.index("deleting: 7 s")


def test_a_step_in_place_is_never_longer_than_the_terminal_is_wide(terminal, clock, monkeypatch):
    """The width is that of the terminal that gets it: the results may go elsewhere."""
    monkeypatch.setattr(console, "QUIET", 0.01)
    with seen(terminal) as step:
        step("starting the cluster: the pods of the name server are not ready yet")
        clock.now = 7.0
        assert terminal.written.wait(60)
    first, *_, last = terminal.getvalue().split("\r\x1b[K")[1:]
    assert first == "starting the cluster… ... 7 s"
    assert len(first) == WIDE - 1
    assert "the pods of the name server are not ready yet: 7 s" in last


def test_a_terminal_that_does_not_know_its_width_gets_the_usual_one(terminal, clock, monkeypatch):
    termios.tcsetwinsize(terminal.fileno(), (0, 0))
    monkeypatch.setattr(console, "QUIET", 0.01)
    with seen(terminal) as step:
        step("starting the cluster")
        clock.now = 7.0
        assert terminal.written.wait(60)
    assert "starting the cluster ... 7 s" in terminal.getvalue()


@contextmanager
def unread(open_file):
    """Give a stream that nobody reads, or none can write to."""
    with open_file() as stream, redirect_stderr(stream):
        yield stream


def full_disk():
    return Path("/dev/full").open("w")


def closed_pipe():
    ends = os.pipe()
    os.close(ends[0])
    return os.fdopen(ends[1], "w")


@pytest.mark.parametrize("open_file", [closed_pipe, full_disk])
def test_a_start_goes_on_when_nobody_reads_what_it_says(k8slab, fake, open_file):
    with unread(open_file):
        ran = k8slab("up")
    assert ran.code == 0
    assert ran.out.startswith("KUBECONFIG=")
    assert fake.clusters == {"k8slab": "running"}


def test_a_long_step_goes_on_when_nobody_reads_that_it_is_long(clock, monkeypatch):
    monkeypatch.setattr(console, "QUIET", 0.01)
    left, dup2 = threading.Event(), os.dup2
    monkeypatch.setattr(os, "dup2", lambda *ends: (dup2(*ends), left.set()))
    with unread(closed_pipe), console.steps() as step:
        step("starting the cluster")
        clock.now = 7.0
        assert left.wait(60)
        step("waiting for the pods")


def test_a_file_on_a_full_disk_is_named():
    """As write(2) itself does not."""
    with pytest.raises(EnvironmentLacksError, match="/dev/full cannot be written: No space left"):
        console.write_file("/dev/full", b"packets")


def test_a_stream_that_was_closed_has_room_for_every_character():
    code = (
        "from k8slab.cli import console; console.open_closed_streams(); console.tell('Zo\\u00eb');"
        "import sys; print(sys.stderr.errors)"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -X utf8=0 -c "$1" 2>&-', sys.executable, code],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "backslashreplace\n")


def test_a_name_that_is_too_long_is_said_and_what_may_be_written_to_is_taken(tmp_path):
    with pytest.raises(UsageError, match="File name too long"):
        console.require_place(tmp_path / ("x" * 256))
    for place in (tmp_path / "file", "/dev/null"):
        console.require_place(place)
    console.require_directory(tmp_path / "new" / "below")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "argv",
    [
        ["submit", "-o"],
        ["check", "01", "--junit"],
        ["policy", "audit", "-f", "none.yaml", "--out"],
        ["graph", "policy", "-f", "none.yaml", "--out"],
        ["trace", "a/a", "b/b", "80", "--pcap"],
    ],
)
def test_a_place_for_a_result_that_cannot_be_is_said_before_the_work(
    k8slab, tmp_path, monkeypatch, argv
):
    monkeypatch.chdir(tmp_path)
    for place, told in (("none/x.svg", "there is no directory none"), ("-", "- is no file")):
        ran = k8slab(*argv, place)
        assert ran.code == 2
        assert told in ran.err
