"""A journey made of captures alone: the real cluster, without asking its kernel."""

import copy

import pytest

from k8slab.objects import manifests
from k8slab.policy import Flow
from k8slab.probes import Outcome
from k8slab.probes.journey import Place, journey
from k8slab.testing.names import until_known

WORLD = """
{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {
 terminationGracePeriodSeconds: 0, containers: [{name: a, image: k8slab/app}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: db, labels: {app: db}}
spec:
  terminationGracePeriodSeconds: 0
  affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [
    {labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname}]}}
  containers: [{name: a, image: k8slab/app, args: [--port, "8080", --udp, "5000"],
                ports: [{containerPort: 8080}],
                readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}}]
---
{apiVersion: v1, kind: Pod, metadata: {name: shut, labels: {app: shut}}, spec: {
 terminationGracePeriodSeconds: 0, containers: [{name: a, image: k8slab/app}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: bare, labels: {app: bare}}, spec: {
 terminationGracePeriodSeconds: 0, containers: [{name: a, image: "k8slab/app:minimal",
  readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: keep-out}
spec: {podSelector: {matchLabels: {app: shut}}}
"""

SERVICE = """
{apiVersion: v1, kind: Service, metadata: {name: db},
 spec: {selector: {app: db}, ports: [{port: 80, targetPort: 8080}]}}
"""


@pytest.fixture
def blind(cluster, namespace):
    """Give the cluster as a provider that can neither trace nor probe would, and a namespace."""
    cluster.apply(manifests.load(WORLD), namespace=namespace)
    cluster.wait("pods", "", namespace, until="ready")
    # A Service that comes after its pods is answered when the nodes know both.
    cluster.apply(manifests.load(SERVICE), namespace=namespace)
    plain = copy.copy(cluster)
    plain.capabilities = frozenset()
    return plain, namespace


def go(blind, *words, **options):
    cluster, namespace = blind
    return journey(cluster, Flow.of(*words, namespace=namespace), predict=False, **options)


def kinds(found, leg):
    return [(str(s.place), s.kind) for s in found.steps if s.leg == leg]


def test_both_ends_of_a_flow_are_told_and_what_lies_between_is_named_as_not_seen(blind):
    until_known(blind[0], "db", blind[1])
    found, space = go(blind, "web", "name:db", 80), blind[1]
    assert found.outcome is Outcome.OPEN
    web, db = f"pod {space}/web", f"pod {space}/db"
    assert kinds(found, "there") == [
        (web, "leaves"), (web, "service"), (db, "rewritten"), (db, "enters")
    ]  # fmt: skip
    assert kinds(found, "back") == [(db, "leaves"), (web, "rewritten"), (web, "enters")]
    assert f"captures saw, in {web}, {db}" in found.note
    assert "rules, routes and everything between these places were not seen" in found.note
    assert "not watched: node" in found.note
    assert found.pcapng().startswith(b"\x0a\x0d\x0d\x0a")

    found = go(blind, "web", "db", 5000, "UDP")
    assert found.outcome is Outcome.OPEN
    assert kinds(found, "there") == [(web, "leaves"), (db, "enters")]
    assert kinds(found, "back") == [(db, "leaves"), (web, "enters")]

    found = go(blind, "web", "ip:203.0.113.10", 80)
    assert found.outcome is Outcome.OPEN
    assert "the far end was not watched" in found.note


def test_a_drop_is_lost_behind_the_last_place_and_a_refusal_ends_in_its_pod(blind):
    space = blind[1]
    found = go(blind, "web", "shut", 8080)
    assert found.outcome is Outcome.SILENT
    assert found.lost.place == Place("pod", f"{space}/web")
    assert f"lost somewhere after pod {space}/web" in found.headline()
    assert f"came to none of the places watched (pod {space}/shut)" in found.lost.text

    found = go(blind, "web", "db", 9)
    assert (found.outcome, found.lost) == (Outcome.REFUSED, None)
    assert found.ended.place == Place("pod", f"{space}/db")
    assert found.ended.text == "no program listens on port 9"


def test_with_an_image_nodes_and_bare_pods_are_watched_and_helpers_go(blind):
    cluster, space = blind
    before = {pod["metadata"]["name"] for pod in cluster.list("pods", space)}
    found = go(blind, "web", "shut", 8080, debug_image="k8slab/toolbox")
    node = cluster.get("pods", "shut", space)["spec"]["nodeName"]
    assert found.lost.place == Place("node", node)
    assert "came in by" in found.lost.text

    found = go(blind, "web", "bare", 8080)
    assert f"not watched: pod {space}/bare (its image has no python3)" in found.note
    found = go(blind, "web", "bare", 8080, debug_image="k8slab/toolbox")
    assert found.outcome is Outcome.OPEN
    assert (f"pod {space}/bare", "enters") in kinds(found, "there")
    assert "not watched" not in found.note.replace("was not watched", "")
    added = cluster.get("pods", "bare", space)["spec"]["ephemeralContainers"]
    assert [one["image"] for one in added] == ["k8slab/toolbox"]

    def settled(_pod):
        return {pod["metadata"]["name"] for pod in cluster.list("pods", space)} == before

    cluster.wait("pods", "", space, until=settled)


def test_a_source_that_cannot_capture_is_only_tried_and_says_why(blind):
    found = go(blind, "bare", "db", 8080)
    assert found.steps == ()
    assert found.outcome is Outcome.FAILED
    assert "it could not be captured" in found.note
    assert "its image has no python3" in found.note
