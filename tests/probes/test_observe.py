import pytest

from k8slab.errors import ProbeError
from k8slab.objects import manifests
from k8slab.policy import Flow, Party
from k8slab.probes import Outcome, Port, expand, matrix, observe, one_pod
from k8slab.testing.fake import FakeCluster

WORLD = """
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop}
spec: {containers: [{name: a, image: i, ports: [{containerPort: 80, name: http}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: shop}
spec: {clusterIP: None, ports: [{port: 80, name: web}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: a, image: i, ports: [{containerPort: 80, name: http}]}]}
"""


@pytest.fixture
def cluster():
    cluster = FakeCluster()
    cluster.apply(manifests.load(WORLD))
    return cluster


def flow(source, destination, port=80, protocol="TCP"):
    return Flow.of(source, destination, port, protocol, namespace="shop")


def test_all_flows_go_in_one_request(cluster):
    seen = observe(cluster, [flow("a", "a", port) for port in range(1, 101)])
    assert cluster.probes == 1
    assert [one.outcome for one in seen].count(Outcome.OPEN) == 1


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (flow("none", "a"), "there is no pod shop/none"),
        (flow("a", "none"), "there is no pod shop/none"),
        (flow("a", "svc:none"), "there is no Service shop/none"),
        (flow("a", "a", "smtp"), "the pod shop/a has no port named smtp"),
        (flow("a", "svc:headless", "smtp"), "has no port named smtp"),
        (flow("a", "svc:headless", "web", "UDP"), "has no port named web (UDP)"),
        (flow("deployment/none", "a"), "shop/deployment/none has no pod"),
        (flow("svc:headless", "a"), "cannot be the source"),
        (flow("a", "world:internet"), "cannot be the destination"),
        (flow("a", "ip:10.0.0.1", "http"), "give a number"),
        (flow("a", "node:none"), "node:none has no address"),
    ],
)
def test_what_cannot_be_probed_has_failed_with_the_reason(cluster, asked, why):
    (seen,) = observe(cluster, [asked])
    assert seen.outcome is Outcome.FAILED
    assert why in seen.detail


def test_a_pod_that_does_not_run_is_no_source(cluster):
    cluster.get("pods", "a", "shop")["status"]["phase"] = "Pending"
    (seen,) = observe(cluster, [flow("a", "a")])
    assert (seen.outcome, seen.detail) == (Outcome.FAILED, "the pod shop/a is not running")


def test_an_answer_of_another_length_is_an_error(cluster, monkeypatch):
    monkeypatch.setattr(cluster, "request", lambda *_args, **_options: {"results": []})
    with pytest.raises(ProbeError, match="1 flows were asked, 0 were answered"):
        observe(cluster, [flow("a", "a")])


def test_workloads_expand_to_their_pods(cluster):
    found = expand(cluster, [flow("a", "deployment/api")])
    assert [str(one.destination) for one in found] == ["shop/api-1-0", "shop/api-1-1"]
    assert str(one_pod(cluster, Party.parse("deployment/api", "shop"))) == "shop/api-1-0"
    with pytest.raises(ProbeError):
        one_pod(cluster, Party.parse("deployment/none", "shop"))


def test_the_matrix_leaves_a_pod_to_itself_out(cluster):
    both = [Party("pod", "a", "shop"), Party("pod", "api-1-0", "shop")]
    found = matrix(cluster, both, [80, "81/TCP"])
    assert len(found.cells) == 4
    assert found.text().splitlines()[1].split()[1:] == ["-", "-", "+", "x"]


def test_ports_are_written_with_their_protocol():
    assert str(Port.parse("53/udp")) == "53/UDP"
    assert str(Port.parse(80)) == "80/TCP"


def test_signs_are_single_and_different():
    assert len({outcome.sign for outcome in Outcome}) == len(Outcome)
    assert all(len(outcome.sign) == 1 for outcome in Outcome)


@pytest.mark.parametrize(
    ("outcome", "causes"),
    [
        (Outcome.REFUSED, ("nobody listens", "a rule rejects", "no way leads there")),
        (Outcome.SILENT, ("dropped on the way there or back", "nobody answers there")),
        (Outcome.UNRESOLVED, ("it has none", "no DNS server answered")),
    ],
)
def test_an_outcome_names_every_cause_that_it_can_have(outcome, causes):
    assert [cause for cause in causes if cause not in outcome.meaning] == []
