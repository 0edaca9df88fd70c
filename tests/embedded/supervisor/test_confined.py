"""A confined program has its own namespaces, one port to talk to, and no home."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from k8slab.embedded.supervisor import confined
from k8slab.errors import EnvironmentLacksError


@pytest.fixture
def inside():
    with tempfile.TemporaryDirectory(prefix="k8slab-test-") as directory:
        path = Path(directory) / "inside"
        path.mkdir()
        yield path


@pytest.fixture
def server():
    """Answer each connection with what it said, on a port of the host's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(b"heard " + connection.recv(1000))

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def run(code, inside, port=1, deadline=60.0, **environment):
    argv = [sys.executable, "-c", code]
    return confined.run(argv, inside, port=port, environment=environment, deadline=deadline)


TRY = """
import json, os, socket, subprocess
def say(port, host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), timeout=5) as s:
            s.sendall(b"me")
            return s.recv(100).decode()
    except OSError as error:
        return type(error).__name__
def look(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return type(error).__name__
def code(*argv):
    return subprocess.run(argv, capture_output=True).returncode
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps({
    "api": say(int(os.environ["PORT"])),
    "other port": say(int(os.environ["OTHER"])),
    "outside": say(80, "198.51.100.1"),
    "links": sorted(name for _, name in socket.if_nameindex()),
    "home": look(os.environ["SECRET"]),
    "own home": look("/home"),
    "cwd": os.getcwd(),
    "environment": sorted(os.environ),
    "capabilities": [status[n].strip() for n in ("CapEff", "CapPrm", "CapBnd")],
    "no new privileges": status["NoNewPrivs"].strip(),
    "mount": code("mount", "-t", "tmpfs", "none", "/tmp"),
    "link": code("ip", "link", "add", "type", "veth"),
    "pids": len([name for name in os.listdir("/proc") if name.isdigit()]),
}))
"""


def test_a_confined_program_reaches_its_one_port_and_nothing_else(inside, server, tmp_path):
    (tmp_path / "secret").write_text("x")
    other = socket.create_server(("127.0.0.1", 0))
    with other:
        ended = run(
            TRY,
            inside,
            server,
            PORT=str(server),
            OTHER=str(other.getsockname()[1]),
            SECRET=str(tmp_path),
        )
    assert ended.code == 0, ended.output
    seen = json.loads(ended.output)
    assert seen["api"] == "heard me"
    assert seen["other port"] == "ConnectionRefusedError"
    assert seen["outside"] == "OSError"
    assert seen["links"] == ["lo"]
    assert seen["home"] == "FileNotFoundError"
    # Of /home only what leads to this Python is there, where that is somebody's.
    python = Path(sys.prefix).parts
    way = [python[2]] if python[1] == "home" else "FileNotFoundError"
    assert seen["own home"] == way
    assert seen["cwd"] == "/k8slab"
    assert set(seen["environment"]) <= {
        *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME", "PORT", "OTHER", "SECRET")
    }
    assert {int(mask, 16) for mask in seen["capabilities"]} == {0}
    assert seen["no new privileges"] == "1"
    assert seen["mount"] != 0
    assert seen["link"] != 0
    assert seen["pids"] <= 3


def test_what_it_leaves_in_its_directory_comes_back_and_its_exit_code_too(inside):
    ended = run("open('left', 'w').write('mine'); raise SystemExit(7)", inside)
    assert ended.code == 7
    assert (inside / "left").read_text() == "mine"


def test_everything_ends_when_its_time_is_up(inside):
    """The child that it leaves behind holds a lock on a file; afterwards nobody does."""
    import fcntl  # noqa: PLC0415

    code = """
import fcntl, os, time
file = open("held", "w")
fcntl.flock(file, fcntl.LOCK_EX)
if os.fork() == 0:
    os.setsid()
print("held", flush=True)
time.sleep(1000)
"""
    deadline = 3.0
    # A busy machine may take longer to confine it.
    while not (ended := run(code, inside, deadline=deadline)).output:
        assert deadline < 60
        deadline *= 2
    assert (ended.code, ended.output.split()[0]) == (-1, "held")
    with (inside / "held").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits for the kernel to have ended both


def test_everything_ends_when_whoever_called_is_killed(inside):
    import fcntl  # noqa: PLC0415

    code = """
import fcntl, time
file = open("held", "w")
fcntl.flock(file, fcntl.LOCK_EX)
open("/k8slab/ready", "w").close()
time.sleep(1000)
"""
    caller = (
        "import sys; from pathlib import Path; from k8slab.embedded.supervisor import confined\n"
        f"confined.run([sys.executable, '-c', {code!r}], Path({str(inside)!r}),"
        " port=1, environment={}, deadline=900)\n"
    )
    with subprocess.Popen([sys.executable, "-c", caller]) as process:
        ends = time.monotonic() + 60
        while not (found := [*inside.parent.glob("confined-*/inside/ready")]):
            assert time.monotonic() < ends
            assert process.poll() is None
            time.sleep(0.02)  # only a file tells how far it is
        process.kill()
    with found[0].with_name("held").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits for the kernel to have ended it


def test_its_output_is_kept_to_a_bound(inside):
    ended = run("print('x' * 3_000_000); print('the end')", inside)
    assert len(ended.output) <= confined.OUTPUT
    assert ended.output.endswith("the end\n")


def test_a_program_that_is_not_there_is_told(inside):
    ended = confined.run(["/no/such"], inside, port=1, environment={}, deadline=30)
    assert ended.code == 127
    assert "No such file" in ended.output


def test_where_it_cannot_be_confined_nothing_runs(inside, monkeypatch):
    monkeypatch.setattr(
        confined,
        "_MAIN",
        "import sys; sys.stderr.write('cannot confine: no namespaces'); sys.exit(3)",
    )
    with pytest.raises(EnvironmentLacksError, match="cannot be confined on this machine: no names"):
        run(f"open({os.fspath(inside)!r} + '/ran', 'w')", inside)
    assert list(inside.iterdir()) == []
