"""``tools/setup`` where kubectl is missing: a machine of its own is imitated by its PATH."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = {"kubectl", "apt-get", "sudo"}

KUBECTL = """#!/bin/sh
echo '{{"clientVersion": {{"major": "1", "minor": "{minor}"}}}}'
"""

APT = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
*" install "*kubernetes-client*) cp {kubectl} {programs}/kubectl && chmod 755 {programs}/kubectl ;;
esac
"""


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path):
    """Give a function that runs the set-up on a machine with everything but kubectl."""
    programs, house = tmp_path / "bin", tmp_path / "house"
    programs.mkdir()
    for directory in ("/usr/bin", "/usr/sbin"):
        for entry in os.scandir(directory):
            if entry.name not in LEFT_OUT and not (programs / entry.name).is_symlink():
                (programs / entry.name).symlink_to(entry.path)
    (house / "tools").mkdir(parents=True)
    (house / "k8slab").mkdir()
    (house / ".venv" / "bin").mkdir(parents=True)
    (house / ".venv" / "bin" / "python").symlink_to(shutil.which("python3"))
    for name in ("tools/setup", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, house / name)
    # Nothing has changed since the environment was made.
    state = 'printf %s "$(cat requirements.lock pyproject.toml tools/setup | cksum)-$PWD"'
    stamp = subprocess.run(["bash", "-c", state], cwd=house, capture_output=True, check=True)
    (house / ".venv" / ".setup-stamp").write_bytes(stamp.stdout)

    def run(*, minor="20", root=True):
        script(tmp_path / "kubectl", KUBECTL.format(minor=minor))
        log = tmp_path / "apt.log"
        words = {"log": log, "kubectl": tmp_path / "kubectl", "programs": programs}
        script(programs / "apt-get", APT.format(**words))
        (programs / "id").unlink()
        script(programs / "id", f"#!/bin/sh\necho {0 if root else 1000}\n")
        environment = {"PATH": str(programs), "HOME": str(tmp_path), "LANG": "C"}
        done = subprocess.run(
            ["bash", "tools/setup"],
            cwd=house,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done, log.read_text() if log.exists() else ""

    return run


def test_a_missing_kubectl_is_the_distributions_and_is_told_to_be_old(machine):
    done, asked = machine()
    assert done.returncode == 0, done.stderr
    assert "install -y --no-install-recommends kubernetes-client" in asked
    assert "installing kubernetes-client" in done.stderr
    assert "The distribution's kubectl is old: 1.20. book/kubectl.md tells" in done.stderr
    assert "kubernetes.io/docs/tasks/tools" in done.stderr
    again, asked_again = machine()
    assert (again.stderr, asked_again) == ("", asked)  # it is there now


def test_a_kubectl_of_our_time_is_not_called_old(machine):
    done, _ = machine(minor="37")
    assert done.returncode == 0, done.stderr
    assert "old" not in done.stderr


def test_who_may_not_install_is_told_the_command(machine):
    done, asked = machine(root=False)
    assert "    sudo apt-get install kubernetes-client" in done.stderr
    assert asked == ""
    assert done.returncode == 0  # the cluster runs without kubectl
