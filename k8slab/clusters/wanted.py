"""What a learner may ask for when a cluster is made, checked before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING

from k8slab.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

MOST_NODES = 100
BLOCK = 26
"""Pods get addresses in blocks of this prefix length, as from Calico's IPAM."""

RESERVED = {
    "the nodes": "172.18.0.0/16",
    "the internet outside": "203.0.113.0/24",
    "the internet outside, second part": "198.51.100.0/24",
    "the corporate network outside": "192.168.1.0/24",
    "loopback": "127.0.0.0/8",
    "link-local addresses": "169.254.0.0/16",
    "multicast": "224.0.0.0/4",
}
"""Ranges that pods and Services cannot have, because something of the cluster is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A cluster as asked for; ``None`` and empty mean: as it is, or the default."""

    nodes: int | None = None
    pod_cidr: str = ""
    service_cidr: str = ""
    kubeconfig: Path | None = None
    """For the provider `existing`: the file to use, by default the learner's own."""
    context: str = ""
    """For the provider `existing`: the context to use, by default the current one."""

    def __post_init__(self) -> None:
        if self.nodes is not None and not 1 <= self.nodes <= MOST_NODES:
            raise UsageError(f"--nodes is 1 to {MOST_NODES}, not {self.nodes}")
        pods = _network("--pod-cidr", self.pod_cidr or "10.244.0.0/16")
        services = _network("--service-cidr", self.service_cidr or "10.96.0.0/16")
        if pods.overlaps(services):
            raise UsageError(
                f"pods ({pods}) and Services ({services}) overlap", hint="choose ranges apart"
            )
        # kube-apiserver's limit is 20 bits; .10 of the range is the name server.
        if not 12 <= services.prefixlen <= 24:
            raise UsageError(f"--service-cidr is a /12 to a /24, not {services}")
        blocks = 2 ** max(BLOCK - pods.prefixlen, 0)
        needed = 2 * (self.nodes or 3)  # 110 pods take two blocks of 64 addresses
        if pods.prefixlen > BLOCK or blocks < needed:
            raise UsageError(
                f"--pod-cidr {pods} is too small: {self.nodes or 3} nodes need {needed} blocks "
                f"of /{BLOCK}, it has {blocks if pods.prefixlen <= BLOCK else 0}",
                hint="the usual size is a /16",
            )


def _network(option: str, text: str) -> IPv4Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        try:
            corrected = f"; did you mean {ip_network(text, strict=False)}?"
        except ValueError:
            corrected = ""
        raise UsageError(
            f"{option} {text!r} is not an address range{corrected}",
            hint="a range looks like 10.244.0.0/16",
        ) from error
    if not isinstance(network, IPv4Network):
        raise UsageError(f"{option} {text} is IPv6; clusters have IPv4 addresses so far")
    for who, reserved in RESERVED.items():
        if network.overlaps(IPv4Network(reserved)):
            raise UsageError(
                f"{option} {network} overlaps {reserved}, which belongs to {who}",
                hint="choose another private range, for instance in 10.0.0.0/8",
            )
    return network
