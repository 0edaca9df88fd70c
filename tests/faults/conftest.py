"""Clusters that the tests of faults may break: each in a state directory of its own."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from faults_kit import host_state

from k8slab import clusters
from k8slab.embedded import supervisor
from k8slab.embedded.config import ClusterPaths


def _state_directory(patch):
    directory = Path(tempfile.mkdtemp(prefix="k8slab-fault-"))
    patch.setenv("K8SLAB_HOME", str(directory))
    patch.setenv("HOME", str(directory / "home"))
    for name in ("KUBECONFIG", "K8SLAB_CLUSTER", "XDG_STATE_HOME"):
        patch.delenv(name, raising=False)
    return directory


def _end(directory):
    """End what a failed test left; a test that passed left nothing."""
    for place in (directory / "clusters").glob("*"):
        supervisor.stop(ClusterPaths(place))
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def home(monkeypatch):
    """Give a state directory for one test, and look whether the host is as it was before."""
    directory = _state_directory(monkeypatch)
    before = host_state(directory)
    yield directory
    _end(directory)
    assert host_state(directory) == before


@pytest.fixture(scope="module")
def module_home():
    """Give a state directory for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        directory = _state_directory(patch)
        before = host_state(directory)
        yield directory
        _end(directory)
        assert host_state(directory) == before


@pytest.fixture(scope="module")
def lab(module_home):
    """Give a running cluster of two nodes."""
    handle = clusters.up("lab", wanted=clusters.Wanted(nodes=2))
    yield handle
    handle.rest.close()
