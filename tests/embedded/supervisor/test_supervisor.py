"""Clusters with a pretended daemon: real supervisor, init, zygote and a pod."""

import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from k8slab.embedded import supervisor
from k8slab.embedded.config import ClusterConfig, ClusterPaths
from k8slab.embedded.supervisor import control, lock, main, memory, trial
from k8slab.embedded.supervisor.identity import FIRST_ID
from k8slab.errors import ClusterError, ClusterNotReadyError

sys.path.insert(0, str(Path(__file__).parents[1]))
from identities import NOBODY, python_as, users

ROOT = Path(__file__).parents[3]

HERE = Path(__file__).parent
DEADLINE = 60_000  # milliseconds, generous: the machine may be busy


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


def all_ended(pidfds):
    """Tell whether every process has ended by now."""
    poll = select.poll()
    for pidfd in pidfds.values():
        poll.register(pidfd, select.POLLIN)
    ready = poll.poll(0)
    for pidfd in pidfds.values():
        os.close(pidfd)
    return len(ready) == len(pidfds)


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


def test_what_a_killed_supervisor_left_is_gone_before_the_next_daemon_starts(place):
    start(place)
    processes = family(place)
    left = supervisor.status(place)
    os.kill(left.init_pid, signal.SIGSTOP)  # else it would end by itself
    os.kill(left.supervisor_pid, signal.SIGKILL)
    assert all_end({0: os.dup(processes[left.supervisor_pid])})
    again, _ = start(place)
    assert not again.already_running
    assert all_ended(processes)


def test_a_process_that_has_the_pid_of_a_gone_init_by_now_is_left_alone(place):
    start(place)
    supervisor.stop(place)
    with subprocess.Popen(["sleep", "1000"]) as other:
        record = {"pid": other.pid, "started": 1, "init_pid": other.pid, "init_started": 1}
        place.lock.write_text(json.dumps(record))
        start(place)
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("text", ["rubbish", "[]", '{"pid": 1}'])
def test_a_damaged_record_of_who_held_the_lock_hinders_no_start(place, text):
    place.root.mkdir(parents=True)
    place.lock.write_text(text)
    start(place)
    assert supervisor.status(place).state == "running"


def test_the_error_of_a_start_is_told_and_nothing_is_left(place):
    with pytest.raises(ClusterNotReadyError, match="there is no bread") as caught:
        start(place, "failing")
    assert "RuntimeError: there is no bread" in caught.value.hint
    assert supervisor.status(place).state == "stopped"


def test_of_a_log_only_the_end_is_read_and_no_control_character_is_shown(place):
    place.root.mkdir(parents=True)
    with place.log.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"\n\x1b[2Jthe end\xff\n")
    told = control._log_end(place)
    assert told.endswith("\n  \ufffd[2Jthe end\ufffd")
    assert "\0" not in told
    assert len(told) < 2 * control.LOG_TAIL


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


def test_a_leftover_that_does_not_end_is_known_to_the_next_start_too(tmp_path, monkeypatch):
    paths = ClusterPaths(tmp_path)
    descriptor = lock.open_lock(paths.lock)
    lock.write_record(descriptor, init_pid=os.getpid())
    os.close(descriptor)
    monkeypatch.setattr(main, "LEFTOVER_SECONDS", 0.0)
    monkeypatch.setattr(main, "_wake_on_signals", lambda: -1)
    monkeypatch.setattr(main.signal, "pidfd_send_signal", lambda *_: None)
    started = main.Supervisor(paths, ClusterConfig(name="stuck"), main.Report(-1, -1))
    with pytest.raises(ClusterError, match=f"does not end: process {os.getpid()}"):
        main.supervise(started, lambda *_: 0)
    os.close(started._lock)
    assert lock.read_record(paths.lock).init_pid == os.getpid()


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
    published = json.loads(place.kubeconfig.read_text())
    assert published["clusters"][0]["cluster"]["server"] == f"https://127.0.0.1:{port}"
    assert place.kubeconfig.stat().st_mode & 0o777 == 0o600
    supervisor.stop(place)
    started, _ = start(place, api_port=port)
    assert started.ready["listening"] == [port]
    supervisor.stop(place)
    with socket.create_server(("127.0.0.1", port)):
        started, steps = start(place, api_port=port)
    assert f"port {port} is taken" in steps[0]["message"]
    assert started.ready["listening"] != [port]


def test_of_what_the_cluster_left_as_kubeconfig_only_certificates_and_key_are_published(place):
    start(place, "exec")
    text = place.kubeconfig.read_text()
    assert sorted(json.loads(text)["users"][0]["user"]) == [
        "client-certificate-data",
        "client-key-data",
    ]
    assert "evil" not in text


def test_a_kubeconfig_that_cannot_be_written_ends_the_start_in_order(place):
    place.root.mkdir(parents=True)
    place.kubeconfig.mkdir()
    with pytest.raises(ClusterNotReadyError, match="Is a directory"):
        start(place)
    assert supervisor.status(place).state == "stopped"


@pytest.mark.parametrize("trick", ["path", "password", "link", "fifo", "giant"])
def test_a_kubeconfig_that_a_pod_could_have_planted_ends_the_start(place, trick):
    with pytest.raises(ClusterNotReadyError, match="credentials that the cluster left"):
        start(place, trick)
    assert not place.kubeconfig.exists()


@pytest.mark.parametrize("name", ["garbling", "prattling"])
def test_what_is_no_message_about_the_start_ends_it(place, name):
    with pytest.raises(ClusterNotReadyError, match="what is no message"):
        start(place, name)


def test_the_cluster_sees_programs_and_its_own_directory_only(place):
    started, _ = start(place)
    files = started.ready["files"]
    assert {"usr", "etc", "k8slab", "proc", "dev"} <= set(files["/"])
    assert "shadow" not in files["/etc"]
    assert "resolv.conf" not in files["/etc"]
    # Of a home, the way to the programs of a checkout that lies in it, and nothing else.
    assert all(str(ROOT).startswith(f"/home/{name}") for name in files.get("/home", []))
    assert files["/k8slab"] == ["kubeconfig"]
    assert files["uncovered"] == []


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
    assert files["uncovered"] == []


def test_a_preflight_that_hangs_is_told_with_what_was_tried(monkeypatch):
    def hang(argv, *, timeout, **_):
        said = b'{"what": "user namespace", "ok": true}\n{"what'
        raise subprocess.TimeoutExpired(argv, timeout, said)

    monkeypatch.setattr(trial.subprocess, "run", hang)
    tried, late = supervisor.preflight()
    assert tried.ok
    assert (late.ok, late.detail) == (False, f"did not end within {trial.DEADLINE:g} s")
    assert "uptime" in late.remedy


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


DAC_OVERRIDE, DAC_READ_SEARCH, SETGID, SETUID = 1, 2, 6, 7  # capabilities(7)


def preflight_without(*capabilities, directory):
    """Return what the preflight of a root without these says, line by line."""
    script = (
        "from k8slab.embedded import linux\n"
        f"for one in {capabilities}: linux.prctl(linux.PR_CAPBSET_DROP, one)\n"
        "import os, sys\n"
        "os.execv(sys.executable, [sys.executable, '-c', "
        "'from k8slab.embedded.supervisor.trial import preflight\\n'"
        "'for check in preflight(): print(check.what, check.ok, check.detail, check.remedy)'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(directory)},
    )
    assert done.returncode == 0, done.stderr
    assert [*directory.iterdir()] == []
    return done.stdout.splitlines()


def is_readable_by_any_root(path):
    """Say whether a root that may not pass over permissions can read what lies there."""
    needed = {path: stat.S_IROTH, **dict.fromkeys(path.parents, stat.S_IXOTH)}
    found = [(place.stat(), bit) for place, bit in needed.items()]
    return all(one.st_uid == os.geteuid() or one.st_mode & bit for one, bit in found)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's files are all their own")
@pytest.mark.skipif(
    not all(
        is_readable_by_any_root(Path(file))
        for file in (
            sys.executable,
            os.path.realpath(sys.executable),
            trial.__file__,
            pytest.__file__,
        )
    ),
    reason="this Python or k8slab belongs to somebody who shows it to nobody else",
)
def test_the_preflight_says_what_a_root_lacks_that_may_not_pass_over_permissions(tmp_path):
    (line,) = preflight_without(DAC_OVERRIDE, DAC_READ_SEARCH, directory=tmp_path)
    assert line.startswith("files of another id False ")
    assert "this root lacks CAP_CHOWN" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user maps nobody else's ids")
@pytest.mark.parametrize(("capability", "name"), [(SETUID, "uid"), (SETGID, "gid")])
def test_the_preflight_says_what_a_root_lacks_that_may_not_map_ids(tmp_path, capability, name):
    (line,) = preflight_without(capability, directory=tmp_path)
    assert line.startswith(
        f"user namespace False the {name}_map of the cluster's user namespace could not be written"
    )
    assert f"this root lacks CAP_SET{name.upper()}" in line


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
