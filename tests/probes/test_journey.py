"""A journey as everything above the cluster sees it: on a real cluster, and where none can be."""

import json
import shutil
import struct
import subprocess

import pytest

from k8slab.errors import ProbeError
from k8slab.objects import manifests
from k8slab.policy import Flow
from k8slab.probes import Outcome
from k8slab.probes.journey import Frame, Journey, Place, Step, journey
from k8slab.probes.pcapng import pcapng
from k8slab.testing.fake import FakeCluster
from k8slab.testing.names import until_known

WORLD = """
{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {
 terminationGracePeriodSeconds: 0, containers: [{name: a, image: k8slab/app}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, labels: {app: db}}, spec: {
 terminationGracePeriodSeconds: 0,
 containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}],
  readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: shut, labels: {app: shut}}, spec: {
 terminationGracePeriodSeconds: 0, containers: [{name: a, image: k8slab/app}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: keep-out}
spec: {podSelector: {matchLabels: {app: shut}}}
"""

SERVICES = """
{apiVersion: v1, kind: Service, metadata: {name: db},
 spec: {selector: {app: db}, ports: [{port: 80, targetPort: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: none},
 spec: {selector: {app: nobody}, ports: [{port: 80}]}}
"""


@pytest.fixture
def pods(cluster, namespace):
    cluster.apply(manifests.load(WORLD), namespace=namespace)
    cluster.wait("pods", "", namespace, until="ready")
    # A Service that comes after its pods is answered when the nodes know both.
    cluster.apply(manifests.load(SERVICES), namespace=namespace)
    return namespace


def test_a_flow_through_a_service_is_open_and_predicted(cluster, pods):
    found = journey(cluster, Flow.of("web", "svc:db", 80, namespace=pods))
    assert found.outcome is Outcome.OPEN
    assert found.lost is None
    kinds = [step.kind for step in found.steps]
    assert kinds.index("service") < kinds.index("endpoint") < kinds.index("rewritten")
    assert found.steps[-1].place == Place("pod", f"{pods}/web")
    assert found.prediction().startswith("predicted by policies: allow")
    assert "the kernel" not in found.prediction()
    assert json.loads(json.dumps(found.to_json()))["outcome"] == "open"


def test_a_name_is_resolved_where_the_packet_starts(cluster, pods):
    until_known(cluster, "db", pods)
    found = journey(cluster, Flow.of("web", "name:db", 80, namespace=pods), predict=False)
    assert found.outcome is Outcome.OPEN
    assert "endpoint" in [step.kind for step in found.steps]


def test_what_a_policy_drops_names_hop_rule_and_policy_and_fits_the_prediction(cluster, pods):
    found = journey(cluster, Flow.of("web", "shut", 8080, namespace=pods))
    assert found.outcome is Outcome.SILENT
    assert found.lost.place.kind == "node"
    assert found.lost.text == "dropped: no policy allows this ingress"
    assert f"NetworkPolicy {pods}/keep-out selects the pod for ingress" in found.text()
    assert "predicted by policies: deny" in found.text()
    assert "the kernel did otherwise" not in found.text()
    assert "LOST: dropped" in found.text()


def test_a_service_without_endpoints_is_no_policys_doing(cluster, pods):
    found = journey(cluster, Flow.of("web", "svc:none", 80, namespace=pods))
    assert found.lost.text == "rejected: the Service has no endpoint"
    assert f"refused at {found.lost.place}: rejected: the Service" in found.headline()
    assert "what stopped it is no policy" in found.prediction()


def test_the_world_outside_is_reached_and_answers(cluster, pods):
    found = journey(cluster, Flow.of("web", "name:example.com", 80, namespace=pods))
    assert found.outcome is Outcome.OPEN
    assert "predicted by policies: allow" in found.prediction()
    assert Place("world", "internet") in {step.place for step in found.steps}


def test_a_pod_on_its_nodes_network_is_that_node(cluster, pods):
    container = {"name": "a", "image": "k8slab/toolbox", "command": ["sleep", "9999"]}
    host = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "host"}}
    spec = {"hostNetwork": True, "containers": [container], "terminationGracePeriodSeconds": 0}
    cluster.apply([host | {"spec": spec}], namespace=pods)
    cluster.wait("pods", "host", pods, until="ready")
    found = journey(cluster, Flow.of("host", "svc:db", 80, namespace=pods), predict=False)
    assert found.outcome is Outcome.OPEN
    node = cluster.get("pods", "host", pods)["spec"]["nodeName"]
    assert found.steps[0].place == Place("node", node)
    assert found.steps[-1].place == Place("node", node)


def test_a_host_port_leads_from_the_node_to_its_pod(cluster, pods):
    ports = [{"containerPort": 8080, "hostPort": 18_080}]
    ready = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
    container = {"name": "a", "image": "k8slab/app", "ports": ports, "readinessProbe": ready}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ported"}, "spec": spec}
    cluster.apply([pod], namespace=pods)
    cluster.wait("pods", "ported", pods, until="ready")
    node = cluster.get("pods", "ported", pods)["spec"]["nodeName"]
    flow = Flow.of("world:laptop", f"node:{node}", 18_080)
    found = journey(cluster, flow)
    assert found.outcome is Outcome.OPEN
    assert found.sent_from
    assert "predicted by policies" in found.prediction()
    assert "a host port of the node leads to a pod" in [step.text for step in found.steps]
    assert Place("pod", f"{pods}/ported") in {step.place for step in found.steps}


def test_what_cannot_be_sent_says_why(cluster, pods):
    with pytest.raises(ProbeError, match="there is no pod"):
        journey(cluster, Flow.of("nobody", "db", 80, namespace=pods))
    with pytest.raises(ProbeError, match="not by SCTP"):
        journey(cluster, Flow.of("web", "db", 80, "SCTP", namespace=pods))
    with pytest.raises(ProbeError, match="no-such-name"):
        journey(cluster, Flow.of("web", "name:no-such-name", 80, namespace=pods))


def test_the_captured_packets_are_what_tcpdump_reads(cluster, pods):
    found = journey(cluster, Flow.of("web", "svc:db", 80, namespace=pods), predict=False)
    assert len(found.frames) >= 8
    assert [f.nanoseconds for f in found.frames] == sorted(f.nanoseconds for f in found.frames)
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    # -Z root: it would otherwise give up its rights, which an ordinary user cannot.
    argv = ["tcpdump", "-n", "-r", "-", "-Z", "root"]
    said = subprocess.run(argv, input=found.pcapng(), capture_output=True, check=True, timeout=60)
    lines = said.stdout.decode().splitlines()
    assert len(lines) == len(found.frames)
    assert "Flags [S]" in lines[0]


class Plain(FakeCluster):
    """A cluster without the capability; it lists what a policy engine wants to see."""

    def request(self, method, path, body=None, **more):
        if (method, path) == ("GET", "/apis"):
            return {"groups": []}
        if method == "GET":
            items = self.list(path.rpartition("/")[2])
            return {"apiVersion": "v1", "kind": "List", "items": items}
        return super().request(method, path, body, **more)


def test_without_the_capability_it_is_tried_and_says_what_is_missing():
    cluster = Plain()
    for name, port in (("web", 80), ("db", 5432)):
        container = {"name": "a", "ports": [{"containerPort": port}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {}}}
        cluster.apply([pod | {"spec": {"containers": [container]}}], namespace="shop")
    found = journey(cluster, Flow.of("shop/web", "shop/db", 5432), predict=False)
    assert found.outcome is Outcome.OPEN
    assert found.steps == ()
    assert "the provider fake cannot follow a packet" in found.text()
    assert "could not be captured" in found.text()


def blocks(data):
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert struct.unpack_from("<I", data, at + size - 4)[0] == size
        yield kind, data[at + 8 : at + size - 4]
        at += size


def test_a_pcapng_file_has_an_interface_for_each_place_and_exact_times():
    here, there = Place("pod", "shop/web"), Place("node", "worker")
    frames = [
        Frame(1_700_000_000_123_456_789, here, "eth0", True, b"a" * 61),
        Frame(1_700_000_000_123_456_999, there, "cali1", False, b"b" * 60),
        Frame(1_700_000_000_123_457_000, here, "eth0", False, b"c" * 60),
    ]
    found = list(blocks(pcapng(frames)))
    assert [kind for kind, _ in found] == [0x0A0D0D0A, 1, 1, 6, 6, 6]
    assert b"pod shop/web eth0" in found[1][1]
    number, high, low, captured, length = struct.unpack_from("<5I", found[3][1])
    assert (number, high << 32 | low, captured, length) == (0, frames[0].nanoseconds, 61, 61)
    assert found[3][1][20:81] == b"a" * 61
    assert [struct.unpack_from("<I", body)[0] for _, body in found[3:]] == [0, 1, 0]


def told(outcome, *steps, lost=None, **more):
    flow = Flow.of("shop/web", "shop/db", 80)
    return Journey(flow, outcome, steps=steps, lost=lost, **more)


def test_a_policy_that_drops_what_was_predicted_to_pass_is_told():
    place = Place("node", "worker")
    rule = {"table": "network-policy"}
    lost = Step("there", place, "lost", "dropped", rule=rule)

    class Allow:
        allowed = True
        reasons = ()
        action = type("Action", (), {"value": "allow"})

    found = told(Outcome.SILENT, lost, lost=lost, predicted=Allow())
    assert "the kernel did otherwise" in found.prediction()
    assert "lost at node worker: dropped" in found.headline()


def test_a_party_that_nobody_can_send_from_is_refused():
    cluster = FakeCluster(capabilities=frozenset({"trace"}))
    with pytest.raises(ProbeError, match="cannot be the source"):
        journey(cluster, Flow.of("ip:1.2.3.4", "ip:1.2.3.5", 1), predict=False)
