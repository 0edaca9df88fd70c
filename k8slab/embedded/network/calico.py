"""The CNI ``calico``: every pod is one routed address behind a veth, as Calico does it.

The pod has a /32 (/128) and one route: everything goes to 169.254.1.1, an address that
exists nowhere; the pod's neighbour table says for good that it is ee:ee:ee:ee:ee:ee, the
hardware address of every ``cali`` interface on the node. The node has a /32 route and a
permanent neighbour for each of its pods, and answers ARP for all it can route to. There is
no bridge: two pods on one node speak through the node's routing, and so through its policy.
Source: docs.tigera.io, "Calico's data path" and "Why does my container have a route to
169.254.1.1?".
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING

from k8slab.embedded.network import netlink
from k8slab.embedded.network.netlink import Message, Netlink, Route, VethEnd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.network.netlink import Link

NAME = "calico"
INTERFACE_PREFIX = "cali"
"""How the names of the nodes' ends of pods' links begin (Felix's ``InterfacePrefix``)."""
_NODE_MAC = "ee:ee:ee:ee:ee:ee"
_GATEWAY = {4: "169.254.1.1", 6: "fe80::ecee:eeff:feee:eeee"}
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}
MTU = 1500


def interface_name(uid: str, sandbox: int) -> str:
    """Return the name of the node's end of a pod's veth: ``cali`` and 11 characters.

    `sandbox` counts the pod's sandboxes, since the interface of the one before may still be
    on its way out.
    """
    return INTERFACE_PREFIX + hashlib.sha1(f"{uid}/{sandbox}".encode()).hexdigest()[:11]  # noqa: S324


def host_prefix(address: str) -> str:
    """Return the prefix that holds this one address."""
    return f"{address}/{ip_address(address).max_prefixlen}"


def connect(node: Netlink, netns: int, interface: str, addresses: Sequence[str]) -> Link:
    """Connect the pod behind `netns` to its node; return the node's end when packets pass."""
    mac = pod_mac(interface)
    with closing(Netlink(netns)) as pod:
        near = VethEnd(name=interface, mac=_NODE_MAC)
        far = VethEnd(name="eth0", mac=mac, netns=netns)
        node.send([netlink.veth(near, far, mtu=MTU)])
        host, eth0 = node.link(interface), pod.link("eth0")
        settings = [*netlink.quiet(host), netlink.with_proxy_arp(host), netlink.up(host)]
        node.send([*settings, *_node_side(host, addresses, mac)])
        pod.send(
            [
                netlink.up(netlink.LOOPBACK),
                *netlink.quiet(eth0),
                netlink.up(eth0),
                *_pod_side(eth0, addresses),
            ]
        )
        node.wait_up(interface)
        pod.wait_up("eth0")
    return host


def route(node: Netlink, interface: str, addresses: Sequence[str]) -> None:
    """Make the node's routes and neighbours of a connected pod again."""
    if host := node.find(interface):
        node.send([netlink.up(host), *_node_side(host, addresses, pod_mac(interface))])


def disconnect(node: Netlink, interface: str, addresses: Sequence[str]) -> None:
    """Let nothing pass any more; the interfaces themselves are deleted later (slow).

    They may have gone already, with the pod's own namespace.
    """
    link = node.find(interface)
    if link is None:
        return
    routes = [Route(to=host_prefix(address), link=link) for address in addresses]
    node.send([*map(netlink.delete_route, routes), netlink.down(link)])


def pod_mac(interface: str) -> str:
    """Return a locally administered hardware address for the pod's end."""
    digest = hashlib.sha1(interface.encode()).digest()[:5]  # noqa: S324 - a name, no secret
    return "02:" + digest.hex(":")


def _pod_side(eth0: Link, addresses: Sequence[str]) -> list[Message]:
    messages = [
        message
        for address in addresses
        for message in netlink.own_address(eth0, host_prefix(address))
    ]
    for version in sorted({ip_address(address).version for address in addresses}):
        gateway = _GATEWAY[version]
        default = Route(to=_DEFAULT[version], link=eth0, via=gateway, onlink=True, protocol=3)
        messages += [
            netlink.route(Route(to=host_prefix(gateway), link=eth0, protocol=3)),
            netlink.route(default),
            netlink.neighbour(eth0, gateway, _NODE_MAC),
        ]
    return messages


def _node_side(host: Link, addresses: Sequence[str], mac: str) -> list[Message]:
    messages = []
    for address in addresses:
        messages.append(netlink.neighbour(host, address, mac))
        messages.append(netlink.route(Route(to=host_prefix(address), link=host)))
    return messages
