"""pytest fixtures: one real embedded cluster for each worker, made when first asked for.

    def test_something(cluster, namespace):
        cluster.apply(...)

The cluster lives in a state directory of its own (`K8SLAB_HOME`), which goes with it. Where
this machine cannot run one, the test is skipped and the reason is the preflight's words;
with ``K8SLAB_REQUIRE_CLUSTER=1`` (set in CI) it fails instead, so that a machine that lost
the ability cannot pass by skipping.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from k8slab.errors import EnvironmentLacksError
from k8slab.programs import with_variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.clusters import Cluster


@pytest.fixture(scope="session")
def k8slab_home() -> Iterator[Path]:
    """Give this worker a state directory of its own, for all of the session."""
    # Not pytest's basetemp: paths of sockets are short (108 bytes, unix(7)).
    home = Path(tempfile.mkdtemp(prefix="k8slab-test-"))
    try:
        with with_variable("K8SLAB_HOME", str(home)):
            yield home
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def cluster(k8slab_home: Path) -> Iterator[Cluster]:
    """Start the worker's embedded cluster, and stop and remove it at the end."""
    assert k8slab_home.is_dir()
    yield from _running("test")


@pytest.fixture(scope="session")
def dual_stack_cluster(k8slab_home: Path) -> Iterator[Cluster]:
    """Start a second cluster, with IPv4 and IPv6 addresses."""
    assert k8slab_home.is_dir()
    yield from _running("test-dual", ip_family="dual")


def _running(name: str, **wanted: str) -> Iterator[Cluster]:
    from k8slab import clusters  # noqa: PLC0415  most tests need none

    try:
        made = clusters.Wanted(**wanted)  # type: ignore[arg-type]
        handle = clusters.up(name, provider="embedded", wanted=made)
    except EnvironmentLacksError as error:
        if os.environ.get("K8SLAB_REQUIRE_CLUSTER"):
            raise
        pytest.skip(f"no embedded cluster here: {error}")
    try:
        yield handle
    finally:
        clusters.delete(name)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """Give a test a namespace of its own; it is deleted afterwards, without waiting."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    yield name
    cluster.delete("namespaces", name)
