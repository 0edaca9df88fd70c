"""What the CNI itself rewrites on a node: masquerade for the outside, and host ports.

A pod's packets to an address outside of the pod ranges leave with the node's address
(Calico's ``natOutgoing``), since the world outside has no route to a pod. A host port leads
from the node's address to the pod (the portmap plugin of CNI); a pod that calls its own
host port is masqueraded, so that the answer comes back the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.network.ruleset import (
    ADDRESS_TYPE,
    Family,
    Fragment,
    of_family,
    one_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.embedded.network.model import HostPort

TABLE = "calico"

_BASE = """\
add table {family} calico
delete table {family} calico
table {family} calico {{
  map host-ports {{
    type {address} . inet_proto . inet_service : {address} . inet_service
  }}
  set host-port-hairpins {{
    type {address} . {address}
  }}
  chain host-ports-dnat {{
    dnat {family} to {family} daddr . meta l4proto . th dport map @host-ports
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump host-ports-dnat
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump host-ports-dnat
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat {family} saddr . {family} daddr @host-port-hairpins masquerade fully-random
    {family} saddr {pods} {family} daddr != {pods} masquerade fully-random comment "natOutgoing"
  }}
}}
"""


def base(family: Family, pod_cidrs: Iterable[str]) -> str:
    """Return the text of the table without any host port."""
    pods = one_of(of_family(family, pod_cidrs))
    return _BASE.format(family=family, address=ADDRESS_TYPE[family], pods=pods)


def host_ports(
    family: Family, ports: Iterable[HostPort], pod: str, node: Iterable[str]
) -> Fragment:
    """Return the map elements that lead from the node's addresses to the pod's ports."""
    elements: dict[tuple[str, str], str] = {}
    for port in ports:
        for address in of_family(family, answered_at(port, node)):
            where = f"{address} . {port.protocol.lower()} . {port.host_port}"
            elements["host-ports", where] = f"{pod} . {port.container_port}"
        elements["host-port-hairpins", f"{pod} . {pod}"] = ""
    return Fragment(elements=elements)


def answered_at(port: HostPort, node: Iterable[str]) -> Iterable[str]:
    """Return the addresses at which a host port is answered, of those of its `node` or another."""
    return node if port.host_ip in ("", "0.0.0.0", "::") else [port.host_ip]
