"""The agents of a node that keep its kernel as wanted: which tables and routes are whose.

kube-proxy keeps the rules of Services, the network's agent (Calico's Felix) those of policies and
what a pod needs to be routed. Stopped, an agent writes nothing and heals nothing: what it wrote
stays in the kernel as it is, and what somebody breaks there stays broken. Started again, it writes
all of it anew, with what has become wanted meanwhile, as the real ones do.

The CNI plugin is no agent: the kubelet calls it, and it connects pods all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.network import (
    calico,
    ruleset_balancer,
    ruleset_nat,
    ruleset_policy,
    ruleset_proxy,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.embedded.network.node import Node

PROXY, NETWORK = "kube-proxy", "network-agent"
TABLES = {
    PROXY: (ruleset_proxy.TABLE,),
    NETWORK: (ruleset_policy.TABLE, ruleset_nat.TABLE, ruleset_balancer.TABLE),
}
"""The agents, and the tables that each of them writes."""


def running(node: Node) -> dict[str, bool]:
    """Return which agents of a node run."""
    return {agent: not node.rules.rests(tables[0]) for agent, tables in TABLES.items()}


def stop(node: Node, agent: str) -> None:
    """Stop an agent of a node; on the kernel thread."""
    node.rules.rest(TABLES[agent])


def start(node: Node, agent: str, blocks: Iterable[tuple[str, Node]]) -> None:
    """Start an agent of a node again; `blocks` are all nodes' blocks, with their nodes."""
    node.rules.wake(TABLES[agent])
    if agent == NETWORK:
        _route(node, blocks)


def _route(node: Node, blocks: Iterable[tuple[str, Node]]) -> None:
    for cidr, owner in blocks:
        if owner is node:
            node.own_block(cidr)
        else:
            node.know(owner)
            node.route_block(cidr, owner)
    for pod in node.pods.values():
        calico.route(node.netlink, pod.interface, pod.addresses)
