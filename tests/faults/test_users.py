"""Clusters side by side and apart: two of one user, and those of several users with one name."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from faults_kit import DEADLINE, belongings, ended, family, host_state, k8slab, pod, probe

import k8slab as package
from k8slab import clusters
from k8slab.clusters.rest import Rest
from k8slab.embedded.config import ClusterPaths
from k8slab.errors import ClusterNotReadyError

sys.path.insert(0, str(Path(__file__).parents[1] / "embedded"))
from identities import ordinary_python, users

USERS = (65_534, 60_001)


@pytest.fixture
def homes():
    """Give each user a home with a virtual environment of the system's Python."""
    found = {}
    for user in USERS:
        directory = Path(tempfile.mkdtemp(prefix="k8slab-user-"))
        command = ["/usr/bin/python3", "-m", "venv", "--without-pip", directory / "venv"]
        subprocess.run(command, check=True)
        for path in (directory, *directory.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)
        found[user] = directory
    yield found
    for directory in found.values():
        shutil.rmtree(directory)


def learner(user, home):
    """Start `ordinary_user.py` as this user."""
    code = Path(package.__file__).parents[1]
    places = [code, *(place for place in sys.path if place.endswith("-packages"))]
    tests = home / "tests"
    shutil.copytree(Path(__file__).parent, tests)
    return subprocess.Popen(
        [
            *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"),
            *("env", "-i", f"HOME={home}", f"PATH={os.defpath}:/usr/sbin:/sbin"),
            f"PYTHONPATH={os.pathsep.join(map(str, places))}",
            *("PYTHONDONTWRITEBYTECODE=1", home / "venv" / "bin" / "python"),
            tests / "ordinary_user.py",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )


@pytest.fixture
def two(home):
    """Give two clusters of one node, made at the same time, which `home` takes away."""
    del home
    one_node = clusters.Wanted(nodes=1)
    with ThreadPoolExecutor(2) as both:
        made = [*both.map(lambda name: clusters.up(name, wanted=one_node), ("first", "second"))]
    yield made
    for cluster in made:
        cluster.rest.close()


def test_two_clusters_do_not_meet(two):
    first, second = two
    for cluster in two:
        cluster.apply([pod("web", image="k8slab/app")], namespace="default")
        cluster.wait("pods", "web", "default")
    only = pod("only", image="k8slab/app")
    ready = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
    only["spec"]["containers"][0]["readinessProbe"] = ready
    first.apply([only], namespace="default")
    first.wait("pods", "only", "default")
    (web,), (other,) = (c.list("pods", "default", selector="app=web") for c in two)
    assert web["status"]["podIP"] == other["status"]["podIP"], "the same addresses, no conflict"
    only = first.get("pods", "only", "default")["status"]["podIP"]
    assert probe(first, "default", ("web", only, 8080)) == ["open"]
    assert probe(second, "default", ("web", only, 8080)) != ["open"]
    with family("first") as ours, family("second") as theirs:
        assert belongings(ours)
        assert belongings(ours) & belongings(theirs) == set()
    wrong = replace(first.rest.credentials, server=second.rest.credentials.server)
    with pytest.raises(ClusterNotReadyError, match="certificate verify failed"):
        Rest(wrong).get("/api")
    kept = ClusterPaths.of("second").config.read_bytes()
    clusters.delete("first")
    assert second.get("pods", "web", "default")["metadata"]["uid"] == other["metadata"]["uid"]
    assert ClusterPaths.of("second").config.read_bytes() == kept


@pytest.mark.skipif("ordinary" not in users(), reason="needs root to become other users")
@pytest.mark.skipif(
    (ordinary_python() or [""])[-1] != "/usr/bin/python3" and sys.version_info[:2] != (3, 11),
    reason="the packages are for another Python than the system's",
)
def test_users_have_clusters_of_the_same_name_side_by_side(homes, home):
    before = host_state(home)
    learners = {user: learner(user, directory) for user, directory in homes.items()}
    said = {user: process.stdout.readline() for user, process in learners.items()}
    for user, line in said.items():
        assert line, learners[user].communicate()[1]
    found = {user: json.loads(line) for user, line in said.items()}
    assert host_state(home) == before  # with two clusters running
    waiting = []
    for user, there in found.items():
        assert "pod: web" in there["seen"]
        assert ".80: Flags [S]" in there["seen"], there["seen"]
        assert Path(f"/proc/{there['pid']}").stat().st_uid == user
        state = homes[user] / ".local" / "state" / "k8slab"
        assert state.stat().st_mode & 0o777 == 0o700
        waiting.append(os.pidfd_open(there["pid"]))
    assert len({there["port"] for there in found.values()}) == len(USERS)
    places = [homes[user] / ".local" / "state" / "k8slab" / "clusters" / "lab" for user in USERS]
    with ExitStack() as stack:
        families = [stack.enter_context(family(paths=ClusterPaths(place))) for place in places]
        held = [belongings(one) for one in families]
        assert all(held)
        assert set.intersection(*held) == set()
    assert json.loads(k8slab("list", "--json").stdout) == []
    for process in learners.values():
        _, errors = process.communicate("go on\n", timeout=DEADLINE)
        assert process.returncode == 0, errors
    for pidfd in waiting:
        assert ended(pidfd, DEADLINE)
        os.close(pidfd)
    for there in found.values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", there["port"])).close()
