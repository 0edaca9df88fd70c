"""Who may not resolve names: pods whose egress is isolated and which no rule lets ask DNS.

The cluster's DNS is the pods labelled k8s-app=kube-dns in kube-system, as kubeadm makes
them. Where they are not among the objects (manifests of one team), one with these labels is
imagined: the question is whether the policies mean it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from k8slab.audit.catalogue import CHECKS
from k8slab.audit.world import listed
from k8slab.policy.inventory import NAMESPACE_NAME
from k8slab.policy.model import ACCEPT, EGRESS, Pod, Side

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.audit.finding import Finding
    from k8slab.audit.world import World
    from k8slab.policy.model import Policy

SPACE = "kube-system"
LABELS = {"k8s-app": "kube-dns"}
PORT = 53


def dns_denied(world: World) -> Iterator[Finding]:
    """Find isolated pods that may not ask DNS, or only by UDP, one finding a namespace."""
    server = _server(world)
    asking = [policy for policy in world.isolating if EGRESS in policy.rules]
    admitting = {
        protocol: [policy for policy in asking if _admits(policy, server, protocol)]
        for protocol in ("UDP", "TCP")
    }
    isolated = _selected(world, asking)
    udp, tcp = (_selected(world, found) for found in admitting.values())
    for space, bits in world.spaces.items():
        for check, pods, what, policies in (
            ("dns-denied", bits & isolated & ~udp, "may not ask DNS", asking),
            (
                "dns-one-protocol",
                bits & isolated & udp & ~tcp,
                "may ask DNS by UDP and not by TCP",
                admitting["UDP"],
            ),
        ):
            if pods:
                told = f"{listed(world.workloads(pods))} {what}"
                source = world.about(_responsible(world, policies, pods) or f"Namespace {space}")
                yield source.finding(CHECKS[check], told)


def _selected(world: World, policies: Iterable[Policy]) -> int:
    found = 0
    for policy in policies:
        found |= world.subject(policy)
    return found


def _responsible(world: World, policies: Iterable[Policy], pods: int) -> str:
    """Return the policy that selects most of the pods: there the remedy belongs."""
    best = max(policies, key=lambda p: (world.subject(p) & pods).bit_count(), default=None)
    return best.key if best else ""


def _server(world: World) -> Side:
    for pod in world.estate.pods.values():
        if pod.namespace == SPACE and LABELS.items() <= pod.labels.items():
            addresses = pod.addresses
            return Side(pod.key, addresses, pod, unknown=not addresses)
    labels = world.estate.namespaces.get(SPACE) or {NAMESPACE_NAME: SPACE}
    ports = {("UDP", "dns"): PORT, ("TCP", "dns-tcp"): PORT}
    pod = Pod("kube-system/coredns", SPACE, LABELS, labels, ports=ports)
    return Side(pod.key, (), pod, unknown=True)


def _admits(policy: Policy, server: Side, protocol: str) -> bool:
    """Say whether a rule for egress admits DNS for the pods of the policy."""
    return any(
        rule.action == ACCEPT
        and not replace(rule, subject=None).mismatch((server, server), PORT, protocol)
        for rule in policy.rules[EGRESS]
    )
