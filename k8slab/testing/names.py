"""Names of Services made a moment ago: name servers hear of them after the nodes do.

CoreDNS follows Services and slices by watches of its own, each of its pods by itself. What the
API has answered and the nodes already lead to may still be unknown to one of them.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from k8slab.embedded.config import CLUSTER_DOMAIN
from k8slab.objects.slices import SERVICE_NAME, SLICES

if TYPE_CHECKING:
    from k8slab.clusters import Cluster

DEADLINE = 60.0
"""Seconds, generous: the machine may be busy."""
_PAUSE = 0.02


def until_known(cluster: Cluster, service: str, namespace: str) -> None:
    """Wait until each name server gives the addresses that a Service has now.

    They are asked from a node (capability ``nodes``), where no policy of a test stands between.
    A headless Service has those of its ready endpoints. Fails after `DEADLINE` seconds.
    """
    wanted = _addresses(cluster, service, namespace)
    name = f"{service}.{namespace}.svc.{CLUSTER_DOMAIN}."
    node = cluster.list("nodes")[0]["metadata"]["name"]
    ends = time.monotonic() + DEADLINE
    for server in _servers(cluster):
        for kind, colons in (("A", False), ("AAAA", True)):
            expected = {address for address in wanted if (":" in address) is colons}
            command = ["dig", "+short", "+tries=1", f"@{server}", name, kind]
            while (said := set(cluster.node_run(node, command).stdout.split())) != expected:
                assert time.monotonic() < ends, f"{server} says {said} of {name}, not {expected}"
                threading.Event().wait(_PAUSE)


def _addresses(cluster: Cluster, service: str, namespace: str) -> set[str]:
    found = cluster.get("services", service, namespace)
    assert found is not None, f"there is no Service {namespace}/{service}"
    if found["spec"]["clusterIP"] != "None":
        return set(found["spec"]["clusterIPs"])
    return {
        address
        for one in cluster.list(SLICES, namespace, selector=f"{SERVICE_NAME}={service}")
        for endpoint in one.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready")
        for address in endpoint["addresses"]
    }


def _servers(cluster: Cluster) -> list[str]:
    return [
        pod["status"]["podIP"]
        for pod in cluster.wait("pods", "", "kube-system", selector="k8s-app=kube-dns")
    ]
