"""What the tests of clients share: the real kubectl on a namespace of the running cluster."""

import shutil
import subprocess

import pytest


@pytest.fixture
def kubectl(cluster, namespace):
    """Run kubectl in the test's namespace; returns what it said, or fails with its error."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl on this machine")

    def run(*words, code=0, stdin=""):
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={cluster.kubeconfig}", "-n", namespace, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run
