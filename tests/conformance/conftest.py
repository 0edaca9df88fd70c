"""The newest real kubectl on this machine, in a directory and a namespace of the test's own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import battery


def kubectls():
    """Return every kubectl here by its minor version: a dispatcher has others beside it."""
    first = shutil.which("kubectl")
    if not first:
        return {}
    home = Path(first).resolve().parent
    found = {}
    for path in (*home.glob("kubectl.1.*"), Path(first)):
        asked = [str(path), "version", "--client", "-o", "json"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode == 0:
            version = json.loads(done.stdout)["clientVersion"]
            found.setdefault(int(re.sub(r"\D", "", version["minor"])), path)
    return found


@pytest.fixture(scope="session")
def programs():
    found = kubectls()
    if not found:
        pytest.skip("no kubectl on this machine")
    return found


@pytest.fixture
def shell(cluster, namespace, programs, tmp_path):
    """Run lines of the battery: kubectl is the newest, its context is in the namespace."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kubectl").symlink_to(programs[max(programs)])
    config = tmp_path / "kubeconfig"
    shutil.copy(cluster.kubeconfig, config)
    (tmp_path / "web.yaml").write_text(battery.MANIFEST)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "KUBECONFIG": str(config),
        "HOME": str(tmp_path),
        "NS": namespace,
        "WORKER": f"{cluster.name}-worker",
    }

    def run(line, **more):
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=tmp_path,
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=90,
            check=False,
        )

    run("kubectl config set-context --current --namespace=$NS")
    return run


@pytest.fixture
def base(cluster, namespace, shell):
    """Have the battery's manifest applied and running."""
    done = shell("kubectl apply -f web.yaml")
    assert done.returncode == 0, done.stdout.decode()
    cluster.wait("deployments.apps", "web", namespace)
    cluster.wait("pods", "box", namespace)
