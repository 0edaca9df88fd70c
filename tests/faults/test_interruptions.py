"""Commands that are interrupted, doubled or crossed: nothing stays behind, nothing is lost."""

import os
import pty
import random
import shutil
import signal
import subprocess

import pytest
from faults_kit import COMMAND, DEADLINE, family, k8slab, mentioning, start_k8slab, until

from k8slab import clusters
from k8slab.embedded import supervisor
from k8slab.embedded.config import ClusterPaths
from k8slab.embedded.supervisor import lock


@pytest.fixture
def name(home):
    """Name a cluster that no other test has, so that its processes can be told by their names."""
    return f"x{os.getpid()}-{random.randrange(10**6)}"


MOMENTS = {
    "its first moment": lambda paths: paths.root.parent.exists(),
    "the lock": lambda paths: paths.lock.exists(),
    "init": lambda paths: (record := lock.read_record(paths.lock)) and record.init_pid,
    "the keys": lambda paths: (paths.inside / "pki" / "sa.pub").exists(),
    "the store": lambda paths: (paths.inside / "store.sqlite").exists(),
    "the first log": lambda paths: [*(paths.inside / "logs").glob("pods/*")],
}


def nothing_runs(name):
    """Wait until the cluster has ended, and tell whether nothing of it is left."""
    paths = ClusterPaths.of(name)
    for file in (lock.starting_lock(paths), paths.lock):
        until(lambda file=file: not lock.is_held(file))
    until(lambda: not mentioning(name))
    return clusters.names() == [] or supervisor.status(paths).state == "stopped"


def interrupt(name, moment, number, tries=5):
    """Start the cluster, and end the command at a moment of the start; return what it said."""
    with start_k8slab("up", "--name", name) as up:
        until(lambda: up.poll() is not None or MOMENTS[moment](ClusterPaths.of(name)))
        up.send_signal(number)
        said = up.communicate(timeout=DEADLINE)[1]
    if up.returncode == 0 and tries > 1:  # the start was over before the moment was seen
        assert k8slab("down", "--delete", "--name", name).returncode == 0
        shutil.rmtree(ClusterPaths.of(name).root.parent)  # else the first moment is before Python
        return interrupt(name, moment, number, tries - 1)
    assert nothing_runs(name), moment
    return up.returncode, said.splitlines()[-1:]


def test_ctrl_c_at_any_moment_of_a_start_leaves_nothing_running(name, home):
    for moment in MOMENTS:
        assert interrupt(name, moment, signal.SIGINT) == (130, ["interrupted"]), moment
        shutil.rmtree(home / "clusters")
    interrupt(name, "the store", signal.SIGINT)
    assert k8slab("up", "--name", name).returncode == 0
    assert k8slab("down", "--delete", "--name", name).returncode == 0
    assert not mentioning(name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_start_that_is_ended_from_outside_leaves_nothing_running(name, number):
    assert interrupt(name, random.choice([*MOMENTS]), number)[0] == -number


def test_a_cluster_outlives_the_terminal_that_started_it(name):
    master, slave = pty.openpty()
    # setsid(1) with --ctty makes it the command's controlling terminal, as a shell's is.
    up = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *COMMAND, "up", "--name", name],
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    assert up.wait(DEADLINE) == 0
    os.close(master)  # SIGHUP to everything of that terminal
    with family(name) as processes:
        assert clusters.attach(name).get("namespaces", "default")
        clusters.down(name)
        processes.await_end(0.5)


def test_a_start_waits_for_a_stop_and_stopping_twice_is_fine(name):
    clusters.up(name).rest.close()
    with family(name):
        commands = [
            start_k8slab(*words, "--name", name) for words in (["down"], ["up"], ["down"], ["up"])
        ]
        codes = [(c.communicate(timeout=DEADLINE), c.returncode)[1] for c in commands]
        assert codes == [0, 0, 0, 0]
    state = clusters.status(name).state
    assert state in {"running", "stopped"}
    for _ in range(2):
        done = k8slab("down", "--name", name)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert nothing_runs(name)
