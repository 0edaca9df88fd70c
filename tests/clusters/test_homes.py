"""State directories for a while: what a killed grader leaves is found and removed, nothing else."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from k8slab import clusters
from k8slab.clusters import homes
from k8slab.embedded import supervisor
from k8slab.embedded.config import ClusterPaths
from k8slab.embedded.supervisor.identity import start_time
from k8slab.errors import ClusterError, EnvironmentLacksError

pytestmark = pytest.mark.usefixtures("state_home")

CRASH = "import os; from k8slab.clusters import homes; home = homes.make(); print(home.path);"


@pytest.fixture
def left(state_home):
    """Give the state directory of a process that was killed."""
    script = f"{CRASH} (home.path / 'kubeconfig').touch(); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-uc", script], capture_output=True, text=True)  # noqa: PLW1510
    assert done.returncode == -9, done.stderr
    (path,) = (state_home / homes.DIRECTORY).iterdir()
    assert done.stdout.strip() == str(path)
    return path


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_stays(left):
    used = homes.make()
    assert left.exists()
    homes.sweep()
    assert not left.exists()
    assert used.path.exists()
    used.remove()
    used.remove()
    assert not used.path.exists()


def test_directories_of_somebodys_own_stay_with_their_modes(left, state_home):
    place = state_home / homes.DIRECTORY
    for name in ("spring", "k8slab-tmp-answers-of-spring", f"{homes.PREFIX}ABCDEFGH"):
        (place / name / "clusters").mkdir(parents=True)
    place.chmod(0o755)
    homes.sweep()
    home = homes.make()
    assert not left.exists()
    assert {path.name for path in place.iterdir()} == {
        "spring",
        "k8slab-tmp-answers-of-spring",
        f"{homes.PREFIX}ABCDEFGH",
        home.path.name,
    }
    assert stat.S_IMODE(place.stat().st_mode) == 0o755
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    home.remove()


def test_a_directory_of_ones_own_into_which_others_may_write_hinders_no_start(state_home):
    place = state_home / homes.DIRECTORY
    (place / "spring").mkdir(parents=True)
    place.chmod(0o775)
    homes.sweep()
    with pytest.raises(EnvironmentLacksError, match="others may write into it: chmod go-w"):
        homes.make()
    assert stat.S_IMODE(place.stat().st_mode) == 0o775


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_nobody_elses_directory_is_swept_whatever_it_is_called(left):
    os.chown(left, 65_534, 65_534)
    homes.sweep()
    assert left.exists()


def test_many_are_swept_with_few_descriptors(left, monkeypatch):
    monkeypatch.setattr(homes, "AT_ONCE", 2)
    for number in range(5):
        left.with_name(f"{homes.PREFIX}number_{number}").mkdir()
    held = []

    def count(path):
        held.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
        path.rmdir()

    (left / "kubeconfig").unlink()
    monkeypatch.setattr(homes, "_end", count)
    homes.sweep()
    assert list(left.parent.iterdir()) == []
    assert len(held) == 6
    assert len({*held}) == 1


def test_one_that_two_processes_use_stays_until_both_are_gone():
    first = homes.make()
    second = homes.Home(first.path)
    os.close(first._held)  # as a process that is killed does
    homes.sweep()
    assert second.path.exists()
    second.remove()
    assert not second.path.exists()


def test_a_cluster_in_what_was_left_is_stopped_first(left, monkeypatch):
    (left / "clusters" / "lab").mkdir(parents=True)
    stopped = []
    monkeypatch.setattr(supervisor, "stop", stopped.append)
    homes.sweep()
    assert stopped == [ClusterPaths(left / "clusters" / "lab")]


def test_the_next_start_of_a_cluster_sweeps(left, monkeypatch):
    monkeypatch.setattr(clusters, "_provider", lambda _name: pytest.fail("too early"))
    monkeypatch.setattr(clusters.records, "locked", lambda *_a, **_k: pytest.fail("as wanted"))
    with pytest.raises(pytest.fail.Exception, match="as wanted"):
        clusters.up("lab")
    assert not left.exists()


def test_nothing_is_made_where_nothing_was_left(state_home):
    homes.sweep()
    assert not (state_home / homes.DIRECTORY).exists()


@pytest.fixture
def sleeper():
    """Give a process of the learner's that has nothing to do with k8slab."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def plant(home, process):
    """Make a state directory that says of a process that it is a forgotten cluster's."""
    root = home / homes.DIRECTORY / f"{homes.PREFIX}planted_" / "clusters" / "c"
    root.mkdir(parents=True)
    record = {"pid": process.pid, "started": start_time(process.pid)}
    (root / "supervisor.lock").write_text(json.dumps(record))


@pytest.fixture
def somebody_else(monkeypatch):
    """Be another user, for whom all that was made before is foreign."""

    def become():
        own = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)

    return become


def test_no_process_ends_because_a_foreign_state_directory_says_so(
    state_home, sleeper, somebody_else
):
    plant(state_home, sleeper)
    somebody_else()
    with pytest.raises(EnvironmentLacksError, match="and not to you"):
        clusters.up("lab")
    assert sleeper.poll() is None
    assert (state_home / homes.DIRECTORY / f"{homes.PREFIX}planted_").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_nor_because_a_foreign_directory_in_ones_own_says_so(state_home, sleeper):
    plant(state_home, sleeper)
    os.chown(state_home / homes.DIRECTORY, 65_534, 65_534)
    with pytest.raises(EnvironmentLacksError, match=r"grading.*not to you"):
        clusters.up("lab")
    assert sleeper.poll() is None


def test_a_state_directory_that_is_closed_is_told_in_a_sentence(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    (closed / homes.DIRECTORY).mkdir(parents=True)

    def close(function):
        def refuse(path, *args, **kwargs):
            there = [path, os.path.dirname(path)] if isinstance(path, (str, Path)) else []  # noqa: PTH120
            if str(closed) in map(str, there[function != "scandir" :]):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, *args, **kwargs)

        real = getattr(os, function)
        monkeypatch.setattr(os, function, refuse)

    for function in ("scandir", "stat", "lstat"):  # root could look into everything
        close(function)
    monkeypatch.setenv("K8SLAB_HOME", str(closed))
    with pytest.raises(EnvironmentLacksError, match="cannot be used: Permission denied"):
        clusters.up("lab")


def test_nobody_waits_for_another_one_who_sweeps(left, state_home):
    place = os.open(state_home / homes.DIRECTORY, os.O_RDONLY)
    fcntl.flock(place, fcntl.LOCK_EX)
    homes.sweep()
    assert left.exists()
    os.close(place)
    homes.sweep()
    assert not left.exists()


def test_what_goes_while_others_sweep_is_no_fault(left, monkeypatch):
    shown = [left.with_name(f"{homes.PREFIX}gone_now"), left]
    monkeypatch.setattr(Path, "iterdir", lambda _self: iter(shown))
    homes.sweep()
    assert not left.exists()


def test_what_cannot_be_ended_is_told_and_hinders_nobody(left, state_home, monkeypatch, caplog):
    (left / "clusters" / "lab").mkdir(parents=True)
    file = state_home / homes.DIRECTORY / f"{homes.PREFIX}one_file"
    file.touch()
    other = homes.make()
    os.close(other._held)

    def stop(_paths):
        raise ClusterError("processes 1 and 2 do not end")

    monkeypatch.setattr(supervisor, "stop", stop)
    homes.sweep()
    os.close(homes._locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB))  # nobody holds it any more
    assert not other.path.exists()
    assert f"{left}, which graders needed for a while, cannot be removed: processes" in caplog.text
    assert str(file) in caplog.text


def test_whoever_makes_one_does_not_wait_until_another_has_been_swept(left, monkeypatch):
    (left / "clusters" / "lab").mkdir(parents=True)
    made = []

    def stop(_paths):
        place = os.open(left.parent, os.O_RDONLY)
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as `make` asks for it, but to wait
        os.close(place)
        made.append(homes.make())

    monkeypatch.setattr(supervisor, "stop", stop)
    homes.sweep()
    assert not left.exists()
    (one,) = made
    assert one.path.exists()
    one.remove()


def test_one_file_that_stays_keeps_no_other_from_being_removed(left, monkeypatch, caplog):
    for name in ("a", "b", "c"):
        (left / name).mkdir()
        (left / name / "file").touch()
    unlink = os.unlink

    def refuse(path, *args, **kwargs):
        if str(path) in ("file", str(left / "b" / "file")) and in_b(path, kwargs.get("dir_fd")):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))
        unlink(path, *args, **kwargs)

    def in_b(path, dir_fd):
        return dir_fd is None or os.path.samestat(os.fstat(dir_fd), (left / "b").stat())

    monkeypatch.setattr(os, "unlink", refuse)
    homes.sweep()
    assert [str(path.relative_to(left)) for path in left.rglob("*")] == ["b", "b/file"]
    assert f"{left}, which graders needed for a while, cannot be removed: " in caplog.text
    assert "Operation not permitted" in caplog.text


def test_a_cluster_that_does_not_end_keeps_no_other_from_it(left, monkeypatch, caplog):
    for name in ("a", "b"):
        (left / "clusters" / name).mkdir(parents=True)
    stopped = []

    def stop(paths):
        stopped.append(paths.root.name)
        raise ClusterError(f"{paths.root.name} does not end")

    monkeypatch.setattr(supervisor, "stop", stop)
    homes.sweep()
    assert sorted(stopped) == ["a", "b"]
    assert "a does not end" in caplog.text
    assert "b does not end" in caplog.text
    assert left.exists()
