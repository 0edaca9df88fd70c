"""A real kubectl, in a directory and a namespace of the test's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import battery
import kubectls
from playing import applied


@pytest.fixture(scope="session")
def kubectl_cache(pytestconfig):
    """Return where fetched and built kubectls stay between runs."""
    return pytestconfig.cache.mkdir("kubectl")


@pytest.fixture(scope="session")
def newest_installed():
    found = kubectls.installed()
    if not found:
        pytest.skip("no kubectl on this machine")
    return found[max(found)]


@pytest.fixture(scope="session")
def debians_kubectl(kubectl_cache):
    try:
        return kubectls.debians(kubectl_cache)
    except kubectls.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def built_kubectl(kubectl_cache):
    try:
        return kubectls.newest(kubectl_cache)
    except kubectls.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def bare_shell(cluster, namespace, tmp_path):
    """Run lines of the battery, once `bin/kubectl` is linked; its context is in the namespace."""
    (tmp_path / "bin").mkdir()
    config = tmp_path / "kubeconfig"
    shutil.copy(cluster.kubeconfig, config)
    for name, text in battery.FILES.items():
        (tmp_path / name).write_text(text)
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
            timeout=150,
            check=False,
        )

    return run


@pytest.fixture
def with_kubectl(bare_shell, tmp_path):
    """Return the shell with this kubectl in it."""

    def link(program):
        (tmp_path / "bin" / "kubectl").symlink_to(program)
        bare_shell("kubectl config set-context --current --namespace=$NS")
        return bare_shell

    return link


@pytest.fixture
def shell(with_kubectl, newest_installed):
    """Run lines with the newest kubectl of this machine."""
    return with_kubectl(newest_installed)


@pytest.fixture
def base(cluster, namespace, shell):
    """Have the battery's manifest applied and running; returns the shell."""
    return applied(cluster, namespace, shell)
