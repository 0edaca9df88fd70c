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
from k8slab.policy.model import ACCEPT, EGRESS, NETWORK, Pod, Side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.audit.finding import Finding
    from k8slab.audit.world import World
    from k8slab.policy.model import Policy

SPACE = "kube-system"
LABELS = {"k8s-app": "kube-dns"}
PORT = 53


def dns_denied(world: World) -> Iterator[Finding]:
    """Find isolated pods that may not ask DNS, or only by UDP, one finding a namespace."""
    server = _server(world)
    allowed = {"UDP": 0, "TCP": 0}
    isolated = 0
    for policy in world.isolating:
        if EGRESS in policy.rules:
            selected = world.subject(policy)
            isolated |= selected
            for protocol in allowed:
                if _admits(policy, server, protocol):
                    allowed[protocol] |= selected
    for space, bits in world.spaces.items():
        denied = bits & isolated & ~allowed["UDP"]
        short = bits & isolated & allowed["UDP"] & ~allowed["TCP"]
        for check, pods, what in (
            ("dns-denied", denied, "may not ask DNS"),
            ("dns-one-protocol", short, "may ask DNS by UDP and not by TCP"),
        ):
            if pods:
                told = f"{listed(world.workloads(pods))} {what}"
                source = world.about(_isolator(world, space, pods) or f"Namespace {space}")
                yield source.finding(CHECKS[check], told)


def _isolator(world: World, space: str, pods: int) -> str:
    """Return the policy that isolates most of the pods: there the remedy belongs."""
    policies = [*world.by_namespace.get(space, ()), *world.by_namespace.get("", ())]
    found = [policy for policy in policies if policy.tier == NETWORK and EGRESS in policy.rules]
    best = max(found, key=lambda p: (world.subject(p) & pods).bit_count(), default=None)
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
