"""How long one packet's journey takes, from the question to the story, prediction included."""

import time

from cluster import IMAGE, state
from harness import Limits, bench

from k8slab import clusters
from k8slab.policy import Flow
from k8slab.probes.journey import journey

ROUNDS = 30
REPLICAS = 3
LIMITS = Limits("ms", 300, 60)


def _shop():
    """Return a client, and a Service with some pods behind it."""
    container = {"name": "a", "image": IMAGE, "ports": [{"containerPort": 8080}]}
    meta = {"namespace": "default"}
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": meta | {"name": name, "labels": {"app": name.rstrip("0123456789")}},
            "spec": {"containers": [container]},
        }
        for name in ("web", *(f"db{number}" for number in range(REPLICAS)))
    ]
    ports = [{"port": 80, "targetPort": 8080}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta | {"name": "db"}}
    shut = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    shut |= {"metadata": meta | {"name": "shut"}}
    shut |= {"spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}}
    return [*pods, service | {"spec": {"selector": {"app": "db"}, "ports": ports}}, shut]


def _journeys(*flow):
    with state():
        cluster = clusters.up()
        cluster.apply(_shop())
        cluster.wait("pods", "", "default", until="ready")
        for _ in range(ROUNDS):
            began = time.perf_counter()
            journey(cluster, Flow.of(*flow))
            yield (time.perf_counter() - began) * 1000


@bench("journey", "one packet followed through a Service and back", LIMITS)
def through_a_service():
    yield from _journeys("default/web", "svc:default/db", 80)


@bench("journey-lost", "one packet followed to the policy that drops it", LIMITS)
def dropped():
    yield from _journeys("default/db0", "default/web", 8080)
