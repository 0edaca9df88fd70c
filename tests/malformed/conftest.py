"""A cluster of its own for malformed requests, with one object of every kind to change."""

from __future__ import annotations

import pytest

from k8slab import clusters
from k8slab.embedded import supervisor
from k8slab.embedded.config import ClusterPaths
from k8slab.errors import EnvironmentLacksError
from tests.malformed.served import NAMESPACE, Served

NAME = "malformed"


@pytest.fixture(scope="session")
def started(k8slab_home):
    """Start the cluster, and end it afterwards."""
    assert k8slab_home.is_dir()
    try:
        handle = clusters.up(NAME, provider="embedded")
    except EnvironmentLacksError as error:
        pytest.skip(f"no embedded cluster here: {error}")
    yield handle
    clusters.delete(NAME)


@pytest.fixture(scope="session")
def served(started):
    """Give the cluster as somebody sees it who speaks to it from outside."""
    found = Served(NAME, supervisor.status(ClusterPaths.of(started.name)).daemon_pid)
    yield found
    found.close()


@pytest.fixture(scope="module")
def running(started, served):
    """Have a pod run, also when random requests of another module have deleted it."""
    served.prepare()
    started.wait("pods", "running", NAMESPACE)


@pytest.fixture(scope="session")
def kept(served):
    """Make one object of every kind that can be changed."""
    return served.keep()
