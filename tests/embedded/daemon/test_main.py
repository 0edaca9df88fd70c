"""Start and stop of the whole daemon, under its supervisor."""

import os
import signal
import time

import pytest

from k8slab import clusters
from k8slab.clusters import kubeconfig as kubeconfigs
from k8slab.clusters.rest import Rest
from k8slab.embedded.config import ClusterConfig, ClusterPaths
from k8slab.embedded.supervisor import control
from k8slab.errors import ClusterNotReadyError


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path))
    paths = ClusterPaths.of("d")
    yield paths
    control.stop(paths)


def start(paths, lines=None):
    on_progress = (lambda line: None) if lines is None else lines.append
    return control.start(ClusterConfig(name="d", nodes=2), paths, on_progress=on_progress)


def test_each_step_is_told_and_ready_means_that_names_resolve(cluster, paths):
    lines = []
    started = start(paths, lines)
    steps = [line["step"] for line in lines if line.get("done")]
    assert steps == ["store", "network", "api", "controllers", "world", "dns"]
    assert started.ready["dns"] is True
    assert started.ready["nodes"] == ["d-control-plane", "d-worker"]
    assert paths.kubeconfig.stat().st_mode & 0o777 == 0o600
    began = time.monotonic()
    assert control.stop(paths, deadline=60.0)
    assert time.monotonic() - began < 60  # seconds, after which it would be killed


def pods(paths):
    """Return UID and restarts of each system pod, once all of them are Ready.

    The start ends with the first answer of one of them.
    """
    cluster = clusters.attach(kubeconfig=paths.kubeconfig)
    try:
        cluster.wait("pods", namespace="kube-system", deadline=30)
        found = cluster.list("pods", "kube-system")
    finally:
        cluster.rest.close()
    return {
        pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in found
    }


def test_a_cluster_that_is_stopped_at_work_writes_nothing_once_its_store_is_closed(cluster, paths):
    start(paths)
    rest = Rest(kubeconfigs.read(paths.kubeconfig))
    labels = {"matchLabels": {"app": "many"}}
    template = {
        "metadata": {"labels": labels["matchLabels"]},
        "spec": {"containers": [{"name": "main", "image": "k8slab/app"}]},
    }
    many = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "many"},
        "spec": {"replicas": 60, "selector": labels, "template": template},
    }
    rest.request("POST", "/apis/apps/v1/namespaces/default/deployments", body=many)
    rest.close()
    assert control.stop(paths)
    log = paths.log.read_text(encoding="utf-8")
    assert "Traceback" not in log, log


def test_objects_are_back_after_the_daemon_was_killed(cluster, paths):
    start(paths)
    before = pods(paths)
    os.kill(control.status(paths).daemon_pid, signal.SIGKILL)
    control.stop(paths)
    assert start(paths).ready["dns"] is True
    assert pods(paths) == {uid: restarts + 1 for uid, restarts in before.items()}


def test_a_store_that_cannot_be_read_is_told_with_what_to_do(cluster, paths):
    paths.inside.mkdir(parents=True)
    (paths.inside / "store.sqlite").write_bytes(b"this is no database" * 1000)
    with pytest.raises(ClusterNotReadyError) as caught:
        start(paths)
    assert "objects cannot be read: store.sqlite: file is not a database" in str(caught.value)
    assert "k8slab reset" in str(caught.value)
