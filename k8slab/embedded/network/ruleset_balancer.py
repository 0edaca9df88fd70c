"""What a node does with the rest of a load balancer's address: at other ports nobody is there.

One node answers for such an address on the switch (`node.Node.serve`), and so it would take what
is for the address' other ports for its own. MetalLB's layer 2, which k8slab follows here, gives the
address to no interface: other ports, and ping, meet "host unreachable". So does this rule for the
whole pool. What is for a Service has another destination by now, and what has no endpoint was
refused before (`ruleset_proxy`). Let in are answers to the node itself, which asks a Service there
with that address as its own, and neighbour discovery (RFC 4861): questions whether the address is
still there, and answers to those that the node asks in its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.network.ruleset import Family, comment, of_family, one_of

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLE = "load-balancer"

_UNREACHABLE: dict[Family, str] = {
    "ip": "icmp host-unreachable",
    "ip6": "icmpv6 addr-unreachable",
}
_NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
_BASE = """\
add table {family} load-balancer
delete table {family} load-balancer
table {family} load-balancer {{
  chain input {{
    type filter hook input priority filter + 5; policy accept;
    ct state established,related accept
    {before}
    {family} daddr {pool} counter reject with {unreachable} {note}
  }}
}}
"""


def base(family: Family, pool: Iterable[str]) -> str:
    """Return the text of the table for the ranges of load balancers; nothing without any."""
    ranges = of_family(family, pool)
    if not ranges:
        return ""
    return _BASE.format(
        family=family,
        pool=one_of(ranges),
        before=_NEIGHBOURS if family == "ip6" else "",
        unreachable=_UNREACHABLE[family],
        note=comment("no Service has this port"),
    )
