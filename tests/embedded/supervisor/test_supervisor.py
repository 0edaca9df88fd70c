"""Clusters with a pretended daemon: real supervisor, init, zygote and a pod."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from k8slab.embedded import supervisor
from k8slab.embedded.config import ClusterConfig, ClusterPaths
from k8slab.embedded.supervisor import control, memory
from k8slab.embedded.supervisor.identity import FIRST_ID
from k8slab.errors import ClusterNotReadyError

sys.path.insert(0, str(Path(__file__).parents[1]))
from identities import NOBODY, python_as, users

ROOT = Path(__file__).parents[3]

HERE = Path(__file__).parent
DEADLINE = 15_000  # milliseconds, generous: the machine may be busy


@pytest.fixture
def place(monkeypatch):
    """Give paths for a cluster; whatever still runs at the end is killed."""
    directory = Path(tempfile.mkdtemp(prefix="k8slab-supervisor-"))
    site = directory / "site-packages"
    site.mkdir()
    shutil.copy(HERE / "pretender.py", site)
    directory.chmod(0o755)
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    monkeypatch.setattr(control, "DAEMON", "pretender:run")
    paths = ClusterPaths(directory / "cluster")
    yield paths
    if paths.root.exists():
        supervisor.stop(paths)
    shutil.rmtree(directory, ignore_errors=True)


def start(paths, name="calm", **config):
    steps = []
    started = supervisor.start(ClusterConfig(name=name, **config), paths, on_progress=steps.append)
    return started, steps


def family(paths):
    """Return pidfds of all processes of the running cluster, by pid."""
    pids = [process.pid for process in memory.descendants(supervisor.status(paths).supervisor_pid)]
    assert len(pids) >= 5  # supervisor, init, zygote, daemon, pod; a spare may be in the making
    pidfds = {}
    for pid in pids:
        with suppress(ProcessLookupError):
            pidfds[pid] = os.pidfd_open(pid)
    return pidfds


def all_end(pidfds):
    """Wait until every process has ended; tells whether they have."""
    for pidfd in pidfds.values():
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        ended = bool(poll.poll(DEADLINE))
        os.close(pidfd)
        if not ended:
            return False
    return True


def test_a_cluster_starts_and_stops_and_leaves_no_process(place):
    started, steps = start(place)
    assert steps == [{"step": "pod"}]
    assert not started.already_running
    status = supervisor.status(place)
    assert (status.state, status.running) == ("running", True)
    assert status.supervisor_pid == started.pid
    assert 0 not in {status.init_pid, status.daemon_pid, status.zygote_pid}
    assert 1_000_000 < status.memory_bytes < 200_000_000
    processes = family(place)
    assert supervisor.stop(place)
    assert all_end(processes)
    assert supervisor.status(place).state == "stopped"
    assert not supervisor.stop(place)


def test_starting_twice_finds_the_running_cluster(place):
    first, _ = start(place)
    second, _ = start(place)
    assert second.already_running
    assert second.pid == first.pid


def test_of_two_starts_at_once_one_waits_for_the_other(place):
    results = []
    threads = [threading.Thread(target=lambda: results.append(start(place)[0])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.already_running for result in results) == [False, True]
    assert len({result.pid for result in results}) == 1


@pytest.mark.parametrize("victim", ["supervisor", "init", "zygote", "daemon"])
def test_when_one_process_is_killed_all_end_and_the_next_start_works(place, victim):
    start(place)
    processes = family(place)
    os.kill(getattr(supervisor.status(place), f"{victim}_pid"), signal.SIGKILL)
    assert all_end(processes)
    assert not supervisor.status(place).running
    again, _ = start(place)
    assert not again.already_running
    assert supervisor.status(place).running


def test_the_error_of_a_start_is_told_and_nothing_is_left(place):
    with pytest.raises(ClusterNotReadyError, match="there is no bread") as caught:
        start(place, "failing")
    assert "RuntimeError: there is no bread" in caught.value.hint
    assert supervisor.status(place).state == "stopped"


def test_an_interrupted_start_takes_the_cluster_down(place):
    script = (
        "import sys; from pathlib import Path\n"
        "from k8slab.embedded.config import *\n"
        "from k8slab.embedded.supervisor import control\n"
        f"sys.path.append({str(place.root.parent / 'site-packages')!r})\n"
        "control.DAEMON = 'pretender:run'\n"
        "control.start(ClusterConfig(name='endless'), ClusterPaths(Path(sys.argv[1])),"
        " on_progress=lambda line: print(line, flush=True))\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(place.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with starter:
        assert "pod" in starter.stdout.readline()
        assert supervisor.status(place).state == "starting"
        processes = family(place)
        starter.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in starter.communicate(timeout=DEADLINE / 1000)[1]
    assert supervisor.status(place).state == "stopped"
    assert all_end(processes)


def test_a_start_whose_caller_was_killed_ends_by_itself(place):
    caller = threading.Event()
    processes = {}

    def give_up(line):
        assert line == {"step": "pod"}
        processes.update(family(place))
        caller.set()
        raise SystemExit

    with pytest.raises(SystemExit):
        supervisor.start(ClusterConfig(name="endless"), place, on_progress=give_up)
    assert caller.is_set()
    assert all_end(processes)


def test_removing_the_state_directory_ends_the_cluster(place):
    start(place)
    processes = family(place)
    shutil.rmtree(place.root)
    assert all_end(processes)


def test_moving_the_state_directory_away_ends_the_cluster(place):
    start(place)
    processes = family(place)
    place.root.rename(place.root.with_name("elsewhere"))
    assert all_end(processes)


def test_a_daemon_that_does_not_listen_is_killed(place):
    start(place, "deaf")
    processes = family(place)
    assert supervisor.stop(place)
    assert all_end(processes)


def test_the_port_is_kept_and_given_up_only_when_taken(place):
    started, _ = start(place)
    port = ClusterConfig.from_json(place.config.read_text()).api_port
    assert started.ready["listening"] == [port]
    assert place.kubeconfig.read_text() == f"port {port}"
    assert place.kubeconfig.stat().st_mode & 0o777 == 0o600
    supervisor.stop(place)
    started, _ = start(place, api_port=port)
    assert started.ready["listening"] == [port]
    supervisor.stop(place)
    with socket.create_server(("127.0.0.1", port)):
        started, steps = start(place, api_port=port)
    assert f"port {port} is taken" in steps[0]["message"]
    assert started.ready["listening"] != [port]


def test_the_cluster_sees_programs_and_its_own_directory_only(place):
    started, _ = start(place)
    files = started.ready["files"]
    assert {"usr", "etc", "k8slab", "proc", "dev"} <= set(files["/"])
    assert "shadow" not in files["/etc"]
    assert "resolv.conf" not in files["/etc"]
    # Of a home, the way to the programs of a checkout that lies in it, and nothing else.
    assert all(str(ROOT).startswith(f"/home/{name}") for name in files.get("/home", []))
    assert files["/k8slab"] == ["kubeconfig"]


def test_settings_are_copies_since_their_files_are_replaced_when_programs_are_installed(place):
    start(place)
    pid = supervisor.status(place).daemon_pid
    mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4]) for line in mounts]
    assert Path("/usr") in points
    assert [point for point in points if point.parent == Path("/etc") and not point.is_dir()] == []


def test_the_cluster_has_namespaces_of_its_own(place):
    start(place)
    pid = supervisor.status(place).daemon_pid
    for name in ("user", "mnt", "net", "pid", "ipc", "uts"):
        assert Path(f"/proc/{pid}/ns/{name}").readlink() != Path(f"/proc/self/ns/{name}").readlink()
    owner = FIRST_ID if os.geteuid() == 0 else os.geteuid()
    assert Path(f"/proc/{pid}").stat().st_uid == owner
    assert place.inside.stat().st_uid == owner


@pytest.mark.skipif("ordinary" not in users(), reason="needs root to become an ordinary user")
def test_an_ordinary_user_starts_and_stops_a_cluster(place):
    os.chown(place.root.parent, NOBODY, NOBODY)
    site = str(place.root.parent / "site-packages")
    script = (
        "import json, sys; from pathlib import Path\n"
        "from k8slab.embedded.config import *\n"
        "from k8slab.embedded.supervisor import control\n"
        f"sys.path.append({site!r})\n"
        "control.DAEMON = 'pretender:run'\n"
        "paths = ClusterPaths(Path(sys.argv[1]))\n"
        "started = control.start(ClusterConfig(), paths, on_progress=lambda line: None)\n"
        "running = control.status(paths)\n"
        "print(json.dumps([started.ready['files'], running.state, control.stop(paths),"
        " control.status(paths).state]))\n"
    )
    done = subprocess.run(
        [*python_as("ordinary"), "-c", script, str(place.root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "K8SLAB_HOME": str(place.root.parent)},
    )
    assert done.returncode == 0, done.stderr
    files, state, stopped, after = json.loads(done.stdout)
    assert (state, stopped, after) == ("running", True, "stopped")
    assert "shadow" not in files["/etc"]


def test_the_preflight_tries_what_a_cluster_does():
    checks = supervisor.preflight()
    assert [check.what for check in checks] == [
        "user namespace",
        "mount of /proc",
        "veth pair",
        "bridge",
        "nft table",
        "pod's user namespace",
    ]
    assert all(check.ok for check in checks), checks


def test_the_preflight_says_what_forbids_user_namespaces():
    script = (
        "echo 0 > /proc/sys/user/max_user_namespaces; "
        f"exec {sys.executable} -c 'from k8slab.embedded.supervisor.trial import preflight\n"
        "for check in preflight(): print(check.what, check.ok, check.remedy)'"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("user namespace False ")
    assert len(done.stdout.splitlines()) == 1
