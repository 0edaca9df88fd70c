"""kube-proxy in nftables mode: the text for Services, with the structure of upstream's table.

A packet to a Service is looked up once, by address, protocol and port, in a verdict map
(``service-ips``, or ``service-nodeports`` for a node's own address), which leads to the chain
of that Service; that chain chooses an endpoint's chain at random, and there the destination
is rewritten. So the cost of a packet does not grow with the number of Services.

Source: pkg/proxy/nftables of Kubernetes, its README and KEP-3866. Endpoint choice: KEP-1669
(terminating endpoints), KEP-4444 and KEP-3015 (trafficDistribution), KEP-2086
(internalTrafficPolicy), KEP-1138 and the API comments of ServiceSpec (externalTrafficPolicy,
loadBalancerSourceRanges, sessionAffinity).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from k8slab.embedded.network.ruleset import (
    ADDRESS_TYPE,
    Family,
    Fragment,
    braces,
    comment,
    hashed_name,
    of_family,
    one_of,
)

if TYPE_CHECKING:
    from k8slab.embedded.network.model import Endpoint, ServicePort

TABLE = "kube-proxy"
_MASQUERADE_BIT = "0x4000"

_BASE = """\
add table {family} kube-proxy {{ comment "rules for kube-proxy" ; }}
delete table {family} kube-proxy
table {family} kube-proxy {{
  set cluster-ips {{
    type {address}
    comment "Active ClusterIPs"
  }}
  set nodeport-ips {{
    type {address}
    comment "IPs that accept NodePort traffic"
    elements = {nodeport_ips}
  }}
  map service-ips {{
    type {address} . inet_proto . inet_service : verdict
    comment "ClusterIP, ExternalIP and LoadBalancer IP traffic"
  }}
  map service-nodeports {{
    type inet_proto . inet_service : verdict
    comment "NodePort traffic"
  }}
  map no-endpoint-services {{
    type {address} . inet_proto . inet_service : verdict
    comment "vmap to drop or reject packets to services with no endpoints"
  }}
  map no-endpoint-nodeports {{
    type inet_proto . inet_service : verdict
    comment "vmap to drop or reject packets to service nodeports with no endpoints"
  }}
  map firewall-ips {{
    type {address} . inet_proto . inet_service : verdict
    comment "destinations that are subject to LoadBalancerSourceRanges"
  }}
  chain reject-chain {{
    reject
  }}
  chain mark-for-masquerade {{
    meta mark set meta mark or {bit}
  }}
  chain masquerading {{
    meta mark and {bit} == 0 return
    meta mark set meta mark xor {bit}
    masquerade fully-random
  }}
  chain services {{
    {family} daddr . meta l4proto . th dport vmap @service-ips
    {family} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }}
  chain service-endpoints-check {{
    {family} daddr . meta l4proto . th dport vmap @no-endpoint-services
  }}
  chain nodeport-endpoints-check {{
    {family} daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
  }}
  chain firewall-check {{
    {family} daddr . meta l4proto . th dport vmap @firewall-ips
  }}
  chain cluster-ips-check {{
    {family} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
    {family} daddr {service_cidrs} drop comment "Drop traffic to unallocated ClusterIPs"
  }}
  chain filter-prerouting {{
    type filter hook prerouting priority dstnat - 10; policy accept;
    ct state new jump firewall-check
  }}
  chain filter-input {{
    type filter hook input priority -110; policy accept;
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
  }}
  chain filter-forward {{
    type filter hook forward priority -110; policy accept;
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }}
  chain filter-output {{
    type filter hook output priority -110; policy accept;
    ct state new jump service-endpoints-check
    ct state new jump firewall-check
  }}
  chain filter-output-post-dnat {{
    type filter hook output priority -90; policy accept;
    ct state new jump cluster-ips-check
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain nat-output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    jump masquerading
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """The node for which rules are written."""

    family: Family
    node: str
    addresses: tuple[str, ...]
    """The node's primary addresses, where NodePorts are answered."""
    pod_cidrs: tuple[str, ...]
    """The cluster's pod ranges: what comes from there to a ClusterIP is not masqueraded."""
    service_cidrs: tuple[str, ...]
    load_balancer_cidrs: tuple[str, ...] = ()


def base(place: Place) -> str:
    """Return the text of the table without any Service."""
    return _BASE.format(
        family=place.family,
        address=ADDRESS_TYPE[place.family],
        bit=_MASQUERADE_BIT,
        nodeport_ips=braces(of_family(place.family, place.addresses)),
        service_cidrs=one_of(of_family(place.family, place.service_cidrs)),
    )


def depends_on_node(port: ServicePort) -> bool:
    """Tell whether the rules of `port` differ between nodes."""
    hinted = any(e.for_nodes is not None or e.for_zones is not None for e in port.endpoints)
    guarded = bool(port.source_ranges and port.load_balancer_ips)
    return port.internal_local or port.external_local or hinted or guarded


def usable(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Return the endpoints to use: the ready ones, else those that serve while terminating."""
    ready = [e for e in endpoints if e.serving and not e.terminating]
    return ready or [e for e in endpoints if e.serving]


def nearest(endpoints: list[Endpoint], node: str) -> list[Endpoint]:
    """Return those of the usable endpoints that are meant for `node`, or for its zone; else all.

    A hint is a wish: it counts where every endpoint has one and some endpoint is meant for the
    node, so that nobody is left without (``topologyModeFromHints`` of pkg/proxy).
    """
    for hint in ("for_nodes", "for_zones"):
        meant = [getattr(endpoint, hint) for endpoint in endpoints]
        if None not in meant and any(node in nodes for nodes in meant):
            return [e for e, nodes in zip(endpoints, meant, strict=True) if node in nodes]
    return endpoints


def service_port(port: ServicePort, place: Place) -> Fragment:
    """Return the chains and map elements of one Service port on one node."""
    return _Writer(port, place).fragment()


class _Writer:
    """Writes one Service port; the steps share its names and the parts collected so far."""

    def __init__(self, port: ServicePort, place: Place) -> None:
        self.port = port
        self.place = place
        self.family = place.family
        self.protocol = port.protocol.lower()
        self.name = f"{port.namespace}/{port.service}/{self.protocol}/{port.port_name}"
        of_this_family = [e for e in port.endpoints if of_family(self.family, [e.address])]
        self.everywhere = nearest(usable(of_this_family), place.node)
        self.local = usable([e for e in of_this_family if e.node == place.node])
        self.chains: dict[str, tuple[str, ...]] = {}
        self.sets: dict[str, str] = {}
        self.elements: dict[tuple[str, str], str] = {}

    def fragment(self) -> Fragment:
        self._internal()
        self._external()
        return Fragment(self.chains, self.sets, self.elements)

    def _internal(self) -> None:
        cluster_ips = of_family(self.family, self.port.cluster_ips)
        for address in cluster_ips:
            self.elements["cluster-ips", address] = ""
        if not cluster_ips:
            return
        chosen = self.local if self.port.internal_local else self.everywhere
        if not chosen:
            self._unanswered(cluster_ips, local=self.port.internal_local)
            return
        chain = self._balance(local=self.port.internal_local)
        for address in cluster_ips:
            self.elements["service-ips", self._where(address)] = f"goto {chain}"

    def _external(self) -> None:
        balancers = of_family(self.family, self.port.load_balancer_ips)
        addresses = balancers + of_family(self.family, self.port.external_ips)
        if not addresses and not self.port.node_port:
            return
        if not (self.local if self.port.external_local else self.everywhere):
            self._unanswered(addresses, local=self.port.external_local, external=True)
        if self.everywhere:
            chain = self._external_chain()
            for address in addresses:
                self.elements["service-ips", self._where(address)] = f"goto {chain}"
            if self.port.node_port:
                where = f"{self.protocol} . {self.port.node_port}"
                self.elements["service-nodeports", where] = f"goto {chain}"
        self._firewall(balancers)

    def _where(self, address: str) -> str:
        return f"{address} . {self.protocol} . {self.port.port}"

    def _unanswered(self, addresses: list[str], *, local: bool, external: bool = False) -> None:
        """Reject when there is no endpoint at all, drop when there is only none on this node."""
        verdict = "drop" if local and self.everywhere else "goto reject-chain"
        for address in addresses:
            self.elements["no-endpoint-services", self._where(address)] = verdict
        if external and self.port.node_port:
            where = f"{self.protocol} . {self.port.node_port}"
            self.elements["no-endpoint-nodeports", where] = verdict

    def _balance(self, *, local: bool) -> str:
        """Write the chain that chooses an endpoint, and return its name."""
        chain = hashed_name("local" if local else "service", self.name)
        endpoints = self.local if local else self.everywhere
        targets = [self._endpoint(endpoint) for endpoint in endpoints]
        rules: list[str] = []
        if local == self.port.internal_local:
            pods = one_of(of_family(self.family, self.place.pod_cidrs))
            rules += [
                f"{self.family} daddr {address} {self.protocol} dport {self.port.port}"
                f" {self.family} saddr != {pods} jump mark-for-masquerade"
                for address in of_family(self.family, self.port.cluster_ips)
            ]
        if self.port.affinity_seconds:
            rules += [
                f"{self.family} saddr @{self._affinity(endpoint)} goto {target}"
                for endpoint, target in zip(endpoints, targets, strict=True)
            ]
        choices = braces(f"{number} : goto {target}" for number, target in enumerate(targets))
        rules.append(f"numgen random mod {len(targets)} vmap {choices}")
        self.chains[chain] = tuple(rules)
        return chain

    def _endpoint(self, endpoint: Endpoint) -> str:
        """Write the chain that rewrites the destination, and return its name."""
        text = f"{self.name}__{endpoint.address}/{endpoint.port}"
        chain = hashed_name("endpoint", text)
        rules = [f"{self.family} saddr {endpoint.address} jump mark-for-masquerade"]
        if self.port.affinity_seconds:
            name = self._affinity(endpoint)
            self.sets[name] = (
                f"type {ADDRESS_TYPE[self.family]}; flags dynamic,timeout;"
                f" timeout {self.port.affinity_seconds}s;"
            )
            rules.append(f"update @{name} {{ {self.family} saddr }}")
        address = endpoint.address if self.family == "ip" else f"[{endpoint.address}]"
        rules.append(f"meta l4proto {self.protocol} dnat to {address}:{endpoint.port}")
        self.chains[chain] = tuple(rules)
        return chain

    def _affinity(self, endpoint: Endpoint) -> str:
        text = f"{self.name}__{endpoint.address}/{endpoint.port}"
        return hashed_name("affinity", text, self.port.affinity_seconds)

    def _external_chain(self) -> str:
        """Write the chain for what comes from outside the cluster, and return its name."""
        chain = hashed_name("external", self.name)
        cluster = self._balance(local=False)
        if not self.port.external_local:
            self.chains[chain] = ("jump mark-for-masquerade", f"goto {cluster}")
            return chain
        pods = one_of(of_family(self.family, self.place.pod_cidrs))
        rules = [
            f"{self.family} saddr {pods} goto {cluster} {comment('short-circuit pod traffic')}",
            f"fib saddr type local jump mark-for-masquerade {comment('masquerade local traffic')}",
            f"fib saddr type local goto {cluster} {comment('short-circuit local traffic')}",
        ]
        if self.local:
            rules.append(f"goto {self._balance(local=True)}")
        self.chains[chain] = tuple(rules)
        return chain

    def _firewall(self, balancers: list[str]) -> None:
        ranges = of_family(self.family, self.port.source_ranges)
        if not ranges or not balancers:
            return
        chain = hashed_name("firewall", self.name)
        # The node that answers for the address asks with it as its own source.
        if any(_within(address, ranges) for address in self.place.addresses):
            ranges += [address for address in balancers if not _within(address, ranges)]
        self.chains[chain] = (f"{self.family} saddr != {one_of(ranges)} drop",)
        for address in balancers:
            self.elements["firewall-ips", self._where(address)] = f"goto {chain}"


def _within(address: str, ranges: list[str]) -> bool:
    return any(ip_address(address) in ip_network(each, strict=False) for each in ranges)
