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
