"""Ctrl-C while JupyterLab runs or an exercise is checked: only the cluster runs on."""

import signal
from contextlib import suppress
from pathlib import Path

import pytest
from faults_kit import DEADLINE, k8slab, mentioning, start_k8slab, until

from k8slab import clusters
from k8slab.course import library
from k8slab.embedded.supervisor import memory


@pytest.fixture
def sound(lab):
    """Give the cluster; it must run and answer afterwards as before."""
    before = clusters.status("lab").pid
    yield lab
    assert clusters.status("lab").pid == before
    assert lab.rest.text("/readyz") == "ok"


def test_ctrl_c_ends_jupyterlab_and_leaves_the_cluster(sound):
    with start_k8slab("lab", "--name", "lab", "--no-browser") as server:
        url = server.stdout.readline()
        assert url.startswith("http://127.0.0.1:"), server.communicate()
        mark = f"--ServerApp.root_dir={library.labs_directory()}"
        mine = set(mentioning(mark)) & {process.pid for process in memory.descendants(server.pid)}
        assert mine
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=DEADLINE)[1]
    assert server.returncode == 0
    assert "the cluster runs on" in said
    assert "Traceback" not in said
    until(lambda: not mine & set(mentioning(mark)))


def is_connected(pid):
    """Tell whether a process has a socket."""
    for number in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            if str(number.readlink()).startswith("socket:"):
                return True
    return False


def test_ctrl_c_during_a_check_loses_nothing(sound):
    with start_k8slab("check", "01", "--name", "lab") as check:
        until(lambda: is_connected(check.pid))
        check.send_signal(signal.SIGINT)
        said = check.communicate(timeout=DEADLINE)[1]
    assert check.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    done = k8slab("check", "01", "--name", "lab", "--json")  # an untouched lab: "not yet"
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
