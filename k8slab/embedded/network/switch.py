"""The network between the nodes, and the world outside behind the router.

The daemon's own network namespace is switch and router: a bridge that has the gateway's
address, a port for each node and for the laptop, and one link each to the internet and to
the corporate network. Those two are namespaces that hold all their addresses on ``lo`` and
answer "unreachable" for the rest of their ranges. The router knows no route to pods, like
the network around a real cluster: only what nodes masquerade finds its way back.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import ExitStack, closing
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.embedded.config import WORLD_RANGES, world_hosts
from k8slab.embedded.network import netlink, sysctl
from k8slab.embedded.network.netlink import LOOPBACK, Message, Netlink, Route, VethEnd

if TYPE_CHECKING:
    from collections.abc import Sequence

BRIDGE = "br0"
LAPTOP = "laptop"
_LINKS = {
    "internet": {
        4: ("192.0.2.1/30", "192.0.2.2/30"),
        6: ("2001:db8:ffff::1/126", "2001:db8:ffff::2/126"),
    },
    "corp": {
        4: ("192.0.2.5/30", "192.0.2.6/30"),
        6: ("2001:db8:ffff::5/126", "2001:db8:ffff::6/126"),
    },
}
"""The router's and the other address on each link to the world (RFC 5737, TEST-NET-1; RFC 3849)."""
_ROUTER_ON_LINK = "fe80::1/64"
"""The router's link-local address: without one the kernel asks for no neighbour on behalf of others
(ndisc_send_ns), and what the internet sends to a load balancer's address would get no further."""
_ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def mac_of(address: str) -> str:
    """Return the hardware address of the machine with this address, as Docker derives it."""
    return "02:42:" + ip_address(address).packed[-4:].hex(":")


def gateway(cidr: str) -> str:
    """Return the router's address in a node range: the first one."""
    return str(ip_network(cidr)[1])


class Switch:
    """Bridge, router and world. Its methods run on the kernel thread."""

    def __init__(self, node_cidrs: Sequence[str]) -> None:
        self._cidrs = list(node_cidrs)
        self._versions = [ip_network(cidr).version for cidr in node_cidrs]
        self._hosts = world_hosts(self._versions)
        self.world: dict[str, int] = {}
        self.netns = -1
        """The namespace that is the switch: the daemon's own."""
        self._held = ExitStack()

    def start(self) -> None:
        """Build everything; the calling thread's namespace becomes the switch."""
        home = self.netns = linux.open_netns()
        self._held.callback(os.close, home)
        sysctl.write(home, sysctl.ROUTER)
        self._netlink = self._held.enter_context(closing(Netlink(home)))
        mac = mac_of(gateway(self._cidrs[0]))
        self._netlink.send([netlink.bridge(BRIDGE, mac)])
        self._held.callback(self._remove_bridge)
        bridge = self._netlink.link(BRIDGE)
        addresses = [
            message
            for cidr in self._cidrs
            for message in netlink.own_address(
                bridge, f"{gateway(cidr)}/{ip_network(cidr).prefixlen}"
            )
        ]
        if 6 in self._versions:
            addresses += netlink.own_address(bridge, _ROUTER_ON_LINK)
        self._netlink.send(
            [netlink.up(LOOPBACK), *netlink.quiet(bridge), netlink.up(bridge), *addresses]
        )
        for name in WORLD_RANGES:
            self._outside(name)
        self._laptop()

    def plug(self, port: str, netns: int, addresses: Sequence[str]) -> None:
        """Connect a namespace to the switch: ``eth0`` with `addresses` and a default route."""
        self._pair(port, netns, mac_of(addresses[0]))
        bridge, near = self._netlink.link(BRIDGE), self._netlink.link(port)
        self._netlink.send(
            [
                netlink.join_bridge(near, bridge),
                *netlink.quiet(near),
                netlink.up(near),
                *(netlink.neighbour(bridge, a, mac_of(addresses[0])) for a in addresses),
            ]
        )
        with closing(Netlink(netns)) as far:
            eth0 = far.link("eth0")
            far.send([netlink.up(LOOPBACK), *netlink.quiet(eth0), netlink.up(eth0)])
            for address in addresses:
                cidr = self._cidr(address)
                prefix = f"{address}/{ip_network(cidr).prefixlen}"
                default = Route(
                    to=_ANYWHERE[ip_address(address).version], via=gateway(cidr), protocol=3
                )
                router = netlink.neighbour(eth0, gateway(cidr), bridge.mac)
                far.send([*netlink.own_address(eth0, prefix), router, netlink.route(default)])
            far.wait_up("eth0")
        self._netlink.wait_up(port)
        self._netlink.wait_up(BRIDGE)

    def unplug(self, port: str) -> None:
        """Cut a namespace off; its link goes with it."""
        if link := self._netlink.find(port):  # else somebody deleted it, at the other end
            self._netlink.send([netlink.down(link)])

    def close(self) -> None:
        """Remove bridge and world; ports of nodes go with their namespaces."""
        self._held.close()
        self.world.clear()

    def _remove_bridge(self) -> None:
        self._netlink.send([netlink.delete_link(self._netlink.link(BRIDGE))])

    def _namespace(self, name: str) -> int:
        netns = self.world[name] = linux.new_netns()
        self._held.callback(os.close, netns)
        return netns

    def _cidr(self, address: str) -> str:
        return next(cidr for cidr in self._cidrs if ip_address(address) in ip_network(cidr))

    def _pair(self, port: str, netns: int, mac: str) -> None:
        near = VethEnd(name=port, mac="02:fe:" + mac[6:])
        self._netlink.send([netlink.veth(near, VethEnd(name="eth0", mac=mac, netns=netns))])

    def _outside(self, name: str) -> None:
        """Build the internet or the corporate network behind the router."""
        netns = self._namespace(name)
        sysctl.write(netns, sysctl.ROUTER)
        links = [_LINKS[name][version] for version in self._versions]
        mac = mac_of(_bare(links[0][1]))
        self._pair(name, netns, mac)
        with closing(Netlink(netns)) as far:
            near, eth0 = self._netlink.link(name), far.link("eth0")
            self._netlink.send([*netlink.quiet(near), netlink.up(near)])
            far.send([netlink.up(LOOPBACK), *netlink.quiet(eth0), netlink.up(eth0)])
            for ours, theirs in links:
                self._netlink.send(
                    [
                        *netlink.own_address(near, ours),
                        netlink.neighbour(near, _bare(theirs), eth0.mac),
                    ]
                )
                default = _ANYWHERE[ip_interface(ours).version]
                far.send(
                    [
                        *netlink.own_address(eth0, theirs),
                        netlink.neighbour(eth0, _bare(ours), near.mac),
                        netlink.route(Route(to=default, via=_bare(ours), protocol=3)),
                    ]
                )
            far.send(self._own_addresses(name))
            far.wait_up("eth0")
        self._netlink.wait_up(name)
        others = {ip_interface(theirs).version: _bare(theirs) for _, theirs in links}
        self._netlink.send(
            netlink.route(Route(to=cidr, via=others[ip_network(cidr).version], protocol=3))
            for cidr in self._ranges(name)
        )

    def _ranges(self, name: str) -> list[str]:
        return [c for c in WORLD_RANGES[name] if ip_network(c).version in self._versions]

    def _own_addresses(self, name: str) -> list[Message]:
        """Give a network all its hosts; the rest of its ranges is unreachable."""
        hosts = [ip_address(host.address) for host in self._hosts if host.network == name]
        return [
            *(
                message
                for host in hosts
                for message in netlink.own_address(LOOPBACK, f"{host}/{host.max_prefixlen}")
            ),
            *(
                netlink.route(Route(to=cidr, kind="unreachable", protocol=3))
                for cidr in self._ranges(name)
            ),
        ]

    def _laptop(self) -> None:
        """Build the machine beside the nodes, from which NodePorts and the like are tried."""
        addresses = [
            host.address
            for host in self._hosts
            if host.network == LAPTOP
            and any(ip_address(host.address) in ip_network(cidr) for cidr in self._cidrs)
        ]
        if addresses:
            self.plug(LAPTOP, self._namespace(LAPTOP), addresses)


def _bare(interface: str) -> str:
    return str(ip_interface(interface).ip)


def announce(netns: int, address: str) -> None:
    """Tell everyone on the switch that `address` is here now.

    Unasked: gratuitous ARP (RFC 5227), unsolicited neighbour advertisement (RFC 4861, 7.2.6).
    """
    with linux.in_netns(netns), closing(Netlink(netns)) as here:
        mac = bytes.fromhex(here.link("eth0").mac.replace(":", ""))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as wire:
            wire.bind(("eth0", 0))
            ip = ip_address(address).packed
            wire.send(_arp(mac, ip) if len(ip) == 4 else _advertisement(mac, ip))


def _arp(mac: bytes, ip: bytes) -> bytes:
    everyone = b"\xff" * 6
    head = everyone + mac + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04\x00\x01"
    return head + mac + ip + everyone + ip


def _advertisement(mac: bytes, ip: bytes) -> bytes:
    all_nodes = ip_address("ff02::1").packed
    # Flags: override. Option 2, one unit of eight bytes: the target's hardware address.
    body = struct.pack(">I", 0x20000000) + ip + b"\x02\x01" + mac
    length = 4 + len(body)
    pseudo = ip + all_nodes + struct.pack(">IHBB", length, 0, 0, socket.IPPROTO_ICMPV6)
    checksum = _internet_checksum(pseudo + b"\x88\x00\x00\x00" + body)
    header = struct.pack(">IHBB", 6 << 28, length, socket.IPPROTO_ICMPV6, 255) + ip + all_nodes
    frame = b"\x33\x33\x00\x00\x00\x01" + mac + b"\x86\xdd" + header
    return frame + b"\x88\x00" + struct.pack(">H", checksum) + body


def _internet_checksum(data: bytes) -> int:
    """Return the one's complement sum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
