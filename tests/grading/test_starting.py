"""A program that has just started is waited for only while it may be about to listen."""

from datetime import UTC, datetime, timedelta

import pytest

from k8slab.grading import Context
from k8slab.grading.starting import may_listen_soon, slices_lag
from k8slab.probes.targets import Snapshot
from k8slab.programs import Completed
from k8slab.testing.fake import FakeCluster

LISTENING = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
"""
CONNECTED = LISTENING.replace(" 0A ", " 01 ")


def context(*, ago=-60, table=None, dead=(), pod_spec=None, **container):
    """Return a context with one pod, started so long ago; in the future, time plays no part."""
    shows = None
    if table is not None:
        shows = lambda _space, _pod, argv: Completed(tuple(argv), 0, table, "")  # noqa: E731
    cluster = FakeCluster(on_exec=shows, dead=set(dead))
    spec = {"containers": [{"name": "a", "image": "x", **container}], **(pod_spec or {})}
    metadata = {"name": "web"}
    cluster.apply(
        [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}], namespace="shop"
    )
    started = (datetime.now(UTC) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"name": "a", "state": {"running": {"startedAt": started}}}
    cluster.get("pods", "web", "shop")["status"]["containerStatuses"] = [status]
    return Context(cluster, "shop")


PORTS = [{"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]


def test_whoever_listens_on_the_ports_that_it_declares_has_started():
    assert not may_listen_soon(context(ports=PORTS))
    assert may_listen_soon(context(ports=PORTS, dead=["shop/web"]))


def test_after_some_seconds_nobody_is_waited_for():
    assert not may_listen_soon(context(ports=PORTS, dead=["shop/web"], ago=60))


def test_a_readiness_probe_that_succeeds_says_it_too():
    assert not may_listen_soon(context(ports=PORTS, dead=["shop/web"], readinessProbe={"exec": {}}))


@pytest.mark.parametrize(("table", "soon"), [(LISTENING, False), (CONNECTED, True), (None, True)])
def test_where_no_port_is_declared_any_socket_that_listens_tells(table, soon):
    assert may_listen_soon(context(table=table)) is soon


def test_the_sockets_of_a_node_tell_nothing_about_a_pod_on_its_network():
    assert may_listen_soon(context(table=LISTENING, pod_spec={"hostNetwork": True}))


def test_who_listens_and_is_not_ready_yet_may_answer_for_its_service_soon():
    """Seen once in 22,000 trials: a DNS server's new pods, and its Service refused."""
    waits = context(ports=PORTS, readinessProbe={"exec": {}})
    condition = {"type": "Ready", "status": "False"}
    waits.cluster.get("pods", "web", "shop")["status"]["conditions"] = [condition]
    assert may_listen_soon(waits)
    assert not waits.quiet(listening=False)


def test_a_service_that_lacks_a_ready_pod_has_not_caught_up():
    found = context(ports=PORTS)
    cluster = found.cluster
    cluster.slices = False
    made = cluster.get("pods", "web", "shop")
    made["metadata"]["labels"] = {"app": "web"}
    made["status"] |= {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    cluster.apply([{**service, "spec": {"selector": {"app": "web"}}}], namespace="shop")
    assert slices_lag(found, Snapshot(cluster))
    assert not found.quiet()
    endpoint = {"addresses": ["10.0.0.1"], "targetRef": {"name": "web"}}
    metadata = {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}
    body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}
    cluster.apply([{**body, "endpoints": [endpoint]}], namespace="shop")
    assert not slices_lag(found, Snapshot(cluster))


class Timed(FakeCluster):
    """A cluster whose clock stands at noon, whatever this machine's says."""

    def request(self, method, path, body=None, *, content_type="", deadline=30.0):
        if path.endswith("/configmaps?dryRun=All"):
            return {"metadata": {"creationTimestamp": "2026-03-01T12:00:00Z"}}
        return super().request(method, path, body, content_type=content_type, deadline=deadline)


PARALLEL = {"podManagementPolicy": "Parallel"}
SLOW = {"initialDelaySeconds": 3, "periodSeconds": 2, "timeoutSeconds": 1}


@pytest.mark.parametrize(
    ("since", "probe", "revision", "spec", "settled"),
    [
        ("11:59:57", None, "new", {}, False),
        ("11:59:55", None, "new", {}, True),
        ("11:59:57", {"periodSeconds": 1}, "new", {}, False),  # STARTING at least
        ("11:59:53", SLOW, "new", {}, False),
        ("11:59:51", SLOW, "new", {}, True),
        ("11:59:45", {"initialDelaySeconds": 60}, "new", {}, False),
        ("11:59:39", {"initialDelaySeconds": 60}, "new", {}, True),  # a check waits no longer
        ("11:59:39", {}, "old", {}, True),
        ("11:59:39", {}, "new", PARALLEL, True),
        ("11:59:39", {}, "old", PARALLEL, False),  # replaced at once
    ],
)
def test_a_pod_that_holds_a_roll_out_up_is_given_the_time_of_its_readiness_probe(
    since, probe, revision, spec, settled
):
    cluster = Timed()
    owner = {"kind": "StatefulSet", "name": "db", "controller": True}
    metadata = {"name": "db-2", "namespace": "shop", "ownerReferences": [owner]}
    metadata["labels"] = {"controller-revision-hash": f"db-{revision}"}
    container = {"name": "a", "image": "x"} | ({} if probe is None else {"readinessProbe": probe})
    running = {"name": "a", "state": {"running": {"startedAt": f"2026-03-01T{since}Z"}}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    status = {"phase": "Running", "containerStatuses": [running]}
    cluster._put({**pod, "spec": {"containers": [container]}, "status": status})
    metadata = {"name": "db", "namespace": "shop", "generation": 1}
    status = {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 1}
    db = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata}
    status["updateRevision"] = "db-new"
    cluster._put({**db, "spec": {"replicas": 3, **spec}, "status": status})
    assert Context(cluster, "shop", deadline=20).settled() is settled
