"""One request, every outcome, with real packets; and the exec agent on the same cluster."""

import pytest

from k8slab.objects import manifests
from k8slab.policy import Flow, Party
from k8slab.probes import Outcome, matrix, observe

PODS = """
{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {terminationGracePeriodSeconds: 0,
 containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}],
  readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, labels: {app: b}}, spec: {
 terminationGracePeriodSeconds: 0,
 containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}],
  readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: shut, labels: {app: shut}}, spec: {
 terminationGracePeriodSeconds: 0, containers: [{name: a, image: k8slab/app}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut}
spec: {podSelector: {matchLabels: {app: shut}}}
"""


@pytest.fixture
def pods(cluster, namespace):
    cluster.apply(manifests.load(PODS), namespace=namespace)
    cluster.wait("pods", "", namespace, until="ready")
    return namespace


def flows(namespace):
    return [
        Flow.of("a", "b", 8080, namespace=namespace),
        Flow.of("a", "b", "http", namespace=namespace),
        Flow.of("a", "b", 9, namespace=namespace),
        Flow.of("a", "shut", 8080, namespace=namespace),
        Flow.of("a", "name:no-such-name", 80, namespace=namespace),
        Flow.of("a", "nobody", 80, namespace=namespace),
    ]


WANTED = [
    Outcome.OPEN,
    Outcome.OPEN,
    Outcome.REFUSED,
    Outcome.SILENT,
    Outcome.UNRESOLVED,
    Outcome.FAILED,
]


PATIENCE = 60.0
"""Seconds of silence that are waited for, which is far more than a report takes."""


def test_every_outcome_in_one_request(cluster, pods):
    seen = observe(cluster, flows(pods), PATIENCE)
    assert [one.outcome for one in seen] == WANTED
    assert seen[3].denial
    assert seen[3].seconds < PATIENCE, "a drop is reported, not waited for"


def test_the_exec_agent_sees_the_same(cluster, pods, monkeypatch):
    monkeypatch.setattr(cluster, "capabilities", frozenset())
    assert [one.outcome for one in observe(cluster, flows(pods))] == WANTED


def test_a_matrix_of_real_pods(cluster, pods):
    parties = [Party("pod", name, pods) for name in ("a", "b", "shut")]
    found = matrix(cluster, parties, [8080])
    signs = [line.split()[1:] for line in found.text().splitlines()[1:4]]
    assert signs == [["-", "+", "."], ["+", "-", "."], ["+", "+", "-"]]
