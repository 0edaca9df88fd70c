"""Several users, each with a cluster of the same name, side by side and apart."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from faults_kit import ended, host_state, k8slab

import k8slab as package

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
    assert json.loads(k8slab("list", "--json").stdout) == []
    for process in learners.values():
        _, errors = process.communicate("go on\n", timeout=60)
        assert process.returncode == 0, errors
    for pidfd in waiting:
        assert ended(pidfd, 5)
        os.close(pidfd)
    for there in found.values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", there["port"])).close()
