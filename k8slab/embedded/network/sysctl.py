"""Kernel settings of one network namespace, written through /proc/sys/net.

/proc/sys/net shows the namespace of the thread that opens it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded.linux import in_netns
from k8slab.embedded.network.netlink import ipv6_exists
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Mapping

REFUSE_ALWAYS = {
    # The kernel lets one ICMP error a second out to each address (icmp(7)), so that of two
    # packets which nobody takes one is refused and one meets silence. Whoever asks twice here
    # is told twice the same.
    "ipv4/icmp_ratelimit": 0,
    "ipv4/icmp_ratemask": 0,
    "ipv6/icmp/ratelimit": 0,
}

ROUTER = REFUSE_ALWAYS | {
    "ipv4/ip_forward": 1,
    "ipv6/conf/all/forwarding": 1,
    # Answers may come back another way (Service, load balancer): no reverse path filter. On the
    # links of pods, where nothing may, a rule does the same (`ruleset_policy`).
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    # Do not tell clients to go around the node that rewrites their packets.
    "ipv4/conf/all/send_redirects": 0,
    "ipv4/conf/default/send_redirects": 0,
}
"""For whatever passes packets on. To be written before links are made, which inherit them."""

POD = REFUSE_ALWAYS | {
    # As containerd does since 2.0: a process without root may listen on port 80.
    "ipv4/ip_unprivileged_port_start": 0,
}


def write(netns: int, settings: Mapping[str, int]) -> None:
    """Write settings, such as ``ipv4/ip_forward``; `KernelError` names the one refused.

    Those of IPv6 are left out where the kernel has none.
    """
    with in_netns(netns):
        for name, value in settings.items():
            if name.startswith("ipv6/") and not ipv6_exists():
                continue
            try:
                Path("/proc/sys/net", name).write_text(str(value))
            except OSError as error:
                raise KernelError(
                    f"set net/{name} = {value}: {error.strerror}", errno=error.errno or 0
                ) from error
