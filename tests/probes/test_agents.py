"""The agent runs here as it runs in a pod: the same script, by sh, against real sockets."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from k8slab.policy import Flow
from k8slab.probes import agents
from k8slab.probes.agents import Answer, Job
from k8slab.probes.outcome import Outcome
from k8slab.probes.targets import Target

FLOW = Flow.of("a", "b", 80)


def only(tool: str, tmp_path: Path) -> dict[str, str]:
    """Return an environment whose PATH has the shell's tools and one probing tool."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for name in ("sh", "tr", tool):
        found = sys.executable if name == "python3" else shutil.which(name)
        if not found:
            pytest.skip(f"{name} is not installed here")
        (bin_directory / name).symlink_to(Path(found).resolve())
    return {"PATH": str(bin_directory)}


def ask(jobs, environment, *, deadline=15):
    """Run the agent; only silence should last until the deadline, however busy the machine is."""
    text = agents.script(jobs, deadline)
    done = subprocess.run(
        ["/bin/sh", "-c", text],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    answers = agents.read_answers(done.stdout)
    assert len(answers) == len(jobs), done
    return [agents.judge(answers[job.index]) for job in jobs]


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]  # bound, never listening: refused


@pytest.mark.parametrize("tool", ["python3", "nc", "curl"])
def test_open_refused_and_unresolved_are_told_apart(tool, tmp_path, listening, closed_port):
    jobs = [
        Job(0, FLOW, Target("127.0.0.1", listening, "TCP")),
        Job(1, FLOW, Target("127.0.0.1", closed_port, "TCP")),
        Job(2, FLOW, Target("no-such-name.invalid", 80, "TCP")),
    ]
    assert ask(jobs, only(tool, tmp_path)) == [
        Outcome.OPEN,
        Outcome.REFUSED,
        Outcome.UNRESOLVED,
    ]


@pytest.mark.parametrize("tool", ["python3", "nc", "curl"])
def test_silence_is_a_time_out(tool, tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        # A full accept queue drops further SYNs: real silence, without any firewall.
        waiting = [socket.socket() for _ in range(4)]
        try:
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            job = Job(0, FLOW, Target("127.0.0.1", port, "TCP"))
            outcome = ask([job], only(tool, tmp_path), deadline=1)
        finally:
            for client in waiting:
                client.close()
    assert outcome == [Outcome.SILENT]


def test_udp_is_seen_by_python_only(tmp_path, closed_port):
    jobs = [Job(0, FLOW, Target("127.0.0.1", closed_port, "UDP"))]
    assert ask(jobs, only("nc", tmp_path)) == [Outcome.FAILED]


def test_a_pod_without_tools_gives_failed_and_never_blocked(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tr").symlink_to("/usr/bin/tr")
    jobs = [Job(0, FLOW, Target("127.0.0.1", 1, "TCP"))]
    assert ask(jobs, {"PATH": str(tmp_path / "bin")}) == [Outcome.FAILED]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer("agnhost", 1, "TIMEOUT"), Outcome.SILENT),
        (Answer("agnhost", 1, "REFUSED"), Outcome.REFUSED),
        (Answer("agnhost", 1, "DNS: lookup web: no such host"), Outcome.UNRESOLVED),
        (Answer("agnhost", 1, "OTHER: no route to host"), Outcome.FAILED),
        (Answer("nc", 1, "nc: bad address 'web'"), Outcome.UNRESOLVED),
        (Answer("nc", 127, "nc: not found"), Outcome.FAILED),
        (Answer("python", 1, "Traceback"), Outcome.FAILED),
    ],
)
def test_what_tools_say_is_judged(answer, outcome):
    assert agents.judge(answer) is outcome
