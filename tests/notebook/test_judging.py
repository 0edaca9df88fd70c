"""Verdicts, the flow log and audits in a notebook."""

import pytest

from k8slab.errors import UsageError
from k8slab.notebook import judging
from k8slab.objects import manifests
from k8slab.policy import Flow

SHOP = manifests.load(
    """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: a, image: k8slab/app}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: a, image: k8slab/app}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.3}]}
"""
)
CLOSED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
FLOW = Flow.of("web", "db", 80, namespace="shop")


def test_a_verdict_is_given_with_its_reasons():
    view = judging.decide(SHOP, FLOW)
    assert view.allowed
    assert view.text.splitlines()[0] == "allow: shop/web -> shop/db port 80/TCP"


def test_policies_can_be_judged_as_if_they_were_applied():
    view = judging.decide(SHOP, FLOW, judging.read(CLOSED, "shop"))
    assert not view.allowed
    assert "isolated by shop/closed" in view.text
    assert judging.read("", "shop") == []


class Cluster:
    capabilities = frozenset({"denials"})

    def __init__(self, items):
        self.items = items

    def request(self, _method, _path):
        return {"items": self.items}


def denial(port, *, namespace="shop"):
    return {
        "direction": "ingress",
        "pod": {"namespace": namespace, "name": "db"},
        "source": "10.244.1.2",
        "sourcePort": port,
        "destination": "10.244.1.3",
        "destinationPort": 80,
        "protocol": "TCP",
    }


def test_the_flow_log_joins_the_attempts_of_one_client():
    seen = [denial(4001), denial(4002), denial(4003, namespace="other")]
    lines = judging.denials(Cluster(seen), ["shop"]).text.splitlines()
    assert lines[1:] == ["ingress  shop/db  10.244.1.2  10.244.1.3:80  TCP  2"]
    assert judging.denials(Cluster([]), ["shop"]).text == "no packet was denied in shop"


def test_a_cluster_without_a_flow_log_says_so():
    cluster = Cluster([])
    cluster.capabilities = frozenset()
    with pytest.raises(UsageError, match="reports no denials"):
        judging.denials(cluster, ["shop"])


def test_an_audit_names_where_each_check_struck():
    view = judging.audited(SHOP, [], "", ["shop"])
    assert view.names("no-policy") == "shop"
    assert view.count("no-default-deny") == 1
    assert "no policy selects db, web" in view.text
    assert judging.audited(SHOP, [], "", ["other"]).count("no-policy") == 0


def test_of_many_findings_the_first_are_shown_and_how_many_more():
    estate = judging.estate(400, 300, 10, 3)
    every = judging.audited(estate, [], "", [])
    check = max(every.report.findings, key=lambda one: every.count(one.check.name)).check.name
    assert f'and {every.count(check) - 5} more: lab.audit("{check}", ...)' in every.text
    alone = judging.audited(estate, [check], "", [])
    assert len(alone.text.splitlines()) == every.count(check) + 2


def test_a_check_that_does_not_exist_is_named():
    with pytest.raises(UsageError, match="no check 'idle'"):
        judging.audited(SHOP, ["idle"], "", [])
