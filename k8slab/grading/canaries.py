"""Canaries show whether this cluster enforces NetworkPolicy at all, and on this node.

In a namespace of the grader's own, a policy lets ``friend`` reach the servers and nobody
else; each node concerned gets a server. Enforcement is shown when friend gets through and
``stranger`` does not. The pods stay for the next check; a learner's policies, which live in
other namespaces, cannot touch them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.grading.polling import Polling
from k8slab.probes import Flow, Outcome, Party, observe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.objects.meta import Object

NAMESPACE = "k8slab-canaries"
PORT = 8080
IMAGE = "k8slab/app"


@dataclass(frozen=True)
class Canaries:
    """The grader's own pods on one cluster."""

    cluster: Any

    def failing(self, nodes: Sequence[str], deadline: float) -> tuple[str, ...]:
        """Return why enforcement is not shown on these nodes; empty when it is."""
        self._put(nodes)
        friendly = [_flow("friend", node) for node in nodes]
        strange = [_flow("stranger", node) for node in nodes]
        seen = Polling(
            look=lambda: [o.outcome for o in observe(self.cluster, [*friendly, *strange])],
            good=lambda found: _as_wanted(found, len(nodes)),
            quiet=lambda _: False,
            deadline=deadline,
        ).run()
        if _as_wanted(seen, len(nodes)):
            return ()
        for node, open_, blocked in zip(nodes, seen, seen[len(nodes) :], strict=False):
            if open_ is not Outcome.OPEN:
                return (f"the grader's own server on {node} cannot be reached ({open_.value})",)
            if blocked is Outcome.OPEN:
                return (f"policies are not enforced on {node}: no policy blocks anything here",)
        return ("the grader's own pods give no clear answer",)

    def _put(self, nodes: Sequence[str]) -> None:
        self.cluster.apply([_namespace()])
        pods = [_pod(f"server-{node}", "server", node) for node in nodes]
        pods += [_pod("friend", "friend"), _pod("stranger", "stranger")]
        there = {pod["metadata"]["name"] for pod in self.cluster.list("pods", NAMESPACE)}
        missing = [pod for pod in pods if pod["metadata"]["name"] not in there]
        self.cluster.apply([_policy(), *missing], namespace=NAMESPACE)


def _as_wanted(seen: Sequence[Outcome], number: int) -> bool:
    closed = (Outcome.SILENT, Outcome.REFUSED)
    return all(o is Outcome.OPEN for o in seen[:number]) and all(o in closed for o in seen[number:])


def _flow(source: str, node: str) -> Flow:
    return Flow(
        Party("pod", source, NAMESPACE), Party("pod", f"server-{node}", NAMESPACE), PORT, "TCP"
    )


def _namespace() -> Object:
    labels = {"app.kubernetes.io/managed-by": "k8slab"}
    metadata = {"name": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _pod(name: str, role: str, node: str = "") -> Object:
    port = {"containerPort": PORT}
    container = {"name": "app", "image": IMAGE, "ports": [port]}
    spec: Object = {"containers": [container], "terminationGracePeriodSeconds": 0}
    if node:
        # A nodeSelector and not nodeName: taints of the control plane are tolerated below.
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
        spec["tolerations"] = [{"operator": "Exists"}]
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"canary": role}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _policy() -> Object:
    friend = {"podSelector": {"matchLabels": {"canary": "friend"}}}
    spec = {
        "podSelector": {"matchLabels": {"canary": "server"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [friend]}],
    }
    metadata = {"name": "only-friend", "namespace": NAMESPACE}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }
