"""What a learner may ask for when a cluster is made, checked before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from k8slab.embedded.config import IP_FAMILIES, RANGES, WORLD_RANGES
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    Network = IPv4Network | IPv6Network

MOST_NODES = 100
BLOCK_BITS = 6
"""Pods get addresses in blocks of 64, as from Calico's IPAM: a /26 or a /122."""
SERVICE_PREFIXES = {4: (12, 24), 6: (108, 120)}
"""kube-apiserver's limit is 20 bits; .10 (::a) of the range is the name server."""

RESERVED = [
    *(("the nodes", ranges.nodes) for ranges in RANGES.values()),
    *(("the internet outside", cidr) for cidr in WORLD_RANGES["internet"]),
    *(("the corporate network outside", cidr) for cidr in WORLD_RANGES["corp"]),
    ("loopback", "127.0.0.0/8"),
    ("loopback", "::1/128"),
    ("link-local addresses", "169.254.0.0/16"),
    ("link-local addresses", "fe80::/10"),
    ("multicast", "224.0.0.0/4"),
    ("multicast", "ff00::/8"),
]
"""Ranges that pods and Services cannot have, because something of the cluster is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A cluster as asked for; ``None`` and empty mean: as it is, or the default."""

    nodes: int | None = None
    ip_family: str = ""
    """``ipv4``, ``ipv6`` or ``dual``."""
    pod_cidr: str = ""
    """One range for each family, the primary one first, with a comma between them."""
    service_cidr: str = ""
    no_load_balancer: bool = False
    """Nobody gives Services of type LoadBalancer their addresses, as on bare machines."""
    kubeconfig: Path | None = None
    """For the provider `existing`: the file to use, by default the learner's own."""
    context: str = ""
    """For the provider `existing`: the context to use, by default the current one."""

    def __post_init__(self) -> None:
        if self.nodes is not None and not 1 <= self.nodes <= MOST_NODES:
            raise UsageError(f"--nodes is 1 to {MOST_NODES}, not {self.nodes}")
        if self.ip_family and self.ip_family not in IP_FAMILIES:
            raise UsageError(f"--ip-family is ipv4, ipv6 or dual, not {self.ip_family}")
        pods, services = self._networks("pod"), self._networks("service")
        for one in pods:
            for other in services:
                if one.version == other.version and one.overlaps(other):
                    raise UsageError(
                        f"pods ({one}) and Services ({other}) overlap", hint="choose ranges apart"
                    )
        for network in services:
            shortest, longest = SERVICE_PREFIXES[network.version]
            if not shortest <= network.prefixlen <= longest:
                raise UsageError(f"--service-cidr is a /{shortest} to a /{longest}, not {network}")
        for network in pods:
            self._check_size(network)

    @property
    def ip_versions(self) -> tuple[int, ...]:
        """Return the IP versions asked for; IPv4 unless something else is."""
        return IP_FAMILIES[self.ip_family or "ipv4"]

    def cidrs(self, of: str) -> list[str]:
        """Return the ranges of ``pod`` or ``service``: those asked for, else the default."""
        given = self.pod_cidr if of == "pod" else self.service_cidr
        if given:
            return [text.strip() for text in given.split(",")]
        return [getattr(RANGES[version], f"{of}s") for version in self.ip_versions]

    def _networks(self, of: str) -> list[Network]:
        option = f"--{of}-cidr"
        networks = [_network(option, text) for text in self.cidrs(of)]
        found = tuple(network.version for network in networks)
        if found != self.ip_versions:
            words = " and ".join(f"IPv{version}" for version in found)
            wanted = " and ".join(f"IPv{version}" for version in self.ip_versions)
            raise UsageError(
                f"{option} {', '.join(map(str, networks))} is {words}; the cluster has {wanted}",
                hint="choose with --ip-family ipv4, ipv6 or dual (one range each, with a comma)",
            )
        return networks

    def _check_size(self, pods: Network) -> None:
        block = pods.max_prefixlen - BLOCK_BITS
        blocks = 2 ** (block - pods.prefixlen) if pods.prefixlen <= block else 0
        needed = 2 * (self.nodes or 3)  # of 64 addresses: who fills a node takes more of them
        if blocks < needed:
            raise UsageError(
                f"--pod-cidr {pods} is too small: {self.nodes or 3} nodes need {needed} blocks "
                f"of /{block}, it has {blocks}",
                hint="the usual size is a /16, with IPv6 a /56",
            )


def _network(option: str, text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        try:
            corrected = f"; did you mean {ip_network(text, strict=False)}?"
        except ValueError:
            corrected = ""
        raise UsageError(
            f"{option} {text!r} is not an address range{corrected}",
            hint="a range looks like 10.244.0.0/16 or fd00:10:244::/56",
        ) from error
    for who, reserved in RESERVED:
        other = ip_network(reserved)
        if network.version == other.version and network.overlaps(other):
            raise UsageError(
                f"{option} {network} overlaps {reserved}, which belongs to {who}",
                hint="choose another private range, for instance in 10.0.0.0/8 or fd00::/8",
            )
    return network
