"""One node: a network namespace with its links, its tables of rules and its pods.

Everything here runs on the kernel thread.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.embedded.network import (
    calico,
    conntrack,
    netlink,
    ruleset_nat,
    ruleset_policy,
    switch,
    sysctl,
)
from k8slab.embedded.network.netlink import Netlink, Route
from k8slab.embedded.network.nflog import PacketLog
from k8slab.embedded.network.rules import Rules, Tables, families
from k8slab.embedded.network.ruleset import of_family
from k8slab.embedded.network.ruleset_proxy import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k8slab.embedded.config import ClusterConfig
    from k8slab.embedded.network.model import HostPort
    from k8slab.embedded.network.netlink import Message
    from k8slab.embedded.network.ruleset import Fragment, Key, Table
    from k8slab.embedded.network.switch import Switch


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that is connected."""

    uid: str
    node: str
    interface: str
    addresses: tuple[str, ...]
    host_ports: tuple[HostPort, ...] = ()


class Node:
    """A node of the cluster."""

    def __init__(self, name: str, addresses: Sequence[str], config: ClusterConfig) -> None:
        self.name = name
        self.addresses = tuple(addresses)
        self.pods: dict[str, Pod] = {}
        self.by_index: dict[int, Pod] = {}
        """Connected pods by the index of the node's end of their link."""
        self.tables = {
            family: Tables(
                Place(
                    family,
                    name,
                    self.addresses,
                    tuple(config.pod_cidrs),
                    tuple(config.service_cidrs),
                    tuple(config.load_balancer_cidrs),
                )
            )
            for family in families(config.pod_cidrs)
        }
        self.port = ""
        """The name of its port on the switch."""
        self.netns = -1
        self._held = ExitStack()

    def start(self, plug: Switch) -> None:
        """Make the namespace, connect it to the switch and write the empty tables."""
        self.netns = linux.new_netns()
        self._held.callback(os.close, self.netns)
        sysctl.write(self.netns, sysctl.ROUTER)
        plug.plug(self.port, self.netns, self.addresses)
        self.netlink = self._held.enter_context(closing(Netlink(self.netns)))
        self.eth0 = self.netlink.link("eth0")
        self.rules = self._held.enter_context(closing(Rules(self.name, self.netns, self.tables)))
        log = PacketLog(self.netns, ruleset_policy.DENIAL_GROUP, ruleset_policy.DENIAL_BYTES)
        self.log = self._held.enter_context(closing(log))

    def close(self) -> None:
        """Let the namespace go, and with it all that is in it."""
        self._held.close()
        self.netns = -1

    def own_block(self, cidr: str) -> None:
        """Drop what is for an address of the own block that no pod has."""
        self.netlink.send([netlink.route(Route(to=cidr, kind="blackhole"))])

    def route_block(self, cidr: str, other: Node) -> None:
        """Send what is for a pod of `other` there directly, without encapsulation."""
        version = 6 if ":" in cidr else 4
        via = next(a for a in other.addresses if ip_address(a).version == version)
        self.netlink.send([netlink.route(Route(to=cidr, via=via, link=self.eth0))])

    def forget_block(self, cidr: str) -> None:
        """Remove the route to another node's block."""
        self.netlink.send([netlink.delete_route(Route(to=cidr, link=self.eth0))])

    def know(self, other: Node) -> None:
        """Remember the hardware address of another node, so that none ever asks."""
        self.netlink.send(
            netlink.neighbour(self.eth0, address, switch.mac_of(other.addresses[0]))
            for address in other.addresses
        )

    def attach(self, pod: Pod, netns: int) -> None:
        """Connect a pod, whose policies are in force already; `detach` undoes a part of it too."""
        for family, tables in self.tables.items():
            for address in of_family(family, pod.addresses) if pod.host_ports else ():
                fragment = ruleset_nat.host_ports(family, pod.host_ports, address, self.addresses)
                self.change(tables.nat, {("pod", pod.uid): fragment})
        sysctl.write(netns, sysctl.POD)
        link = calico.connect(self.netlink, netns, pod.interface, pod.addresses)
        self.by_index[link.index] = pod
        self.forget_stale([pod])

    def detach(self, pod: Pod) -> None:
        """Cut a pod off; its interfaces are left to `reap`."""
        calico.disconnect(self.netlink, pod.interface, pod.addresses)
        self.by_index = {index: one for index, one in self.by_index.items() if one is not pod}
        for tables in self.tables.values():
            if ("pod", pod.uid) in tables.nat:
                self.change(tables.nat, {("pod", pod.uid): None})

    def forget_stale(self, pods: Iterable[Pod]) -> None:
        """Forget UDP flows to these pods' host ports that lead elsewhere, or nowhere.

        A client that asked before the port led to this pod goes on with the flow that it has,
        as long as it asks often enough (the portmap plugin of CNI does the same).
        """
        leads: dict[tuple[str, int], set[tuple[str, int]]] = {}
        for pod in pods:
            for port in pod.host_ports:
                for address in ruleset_nat.answered_at(port, self.addresses):
                    if port.protocol == "UDP":
                        ends = leads.setdefault((address, port.host_port), set())
                        ends |= {(own, port.container_port) for own in pod.addresses}
        if leads:
            conntrack.forget_udp(self.netns, conntrack.leads_elsewhere(leads))

    def change(self, table: Table, changes: Mapping[Key, Fragment | None]) -> None:
        """Change the rules of one of the node's tables; see `rules.Rules.change`."""
        self.rules.change(table, changes)

    def serve(self, address: str) -> None:
        """Answer for a load-balancer address on the switch."""
        self.netlink.send(self._announced(address)[0])
        switch.announce(self.netns, address)

    def stop_serving(self, address: str) -> None:
        """Answer no longer for a load-balancer address."""
        self.netlink.send(self._announced(address)[1])

    def _announced(self, address: str) -> tuple[list[Message], list[Message]]:
        """Return what makes the node answer for an address, and what ends it.

        The Service's rules rewrite the destination before anything is delivered here; what they
        leave meets `ruleset_balancer`.
        """
        if ":" in address:
            # Neighbour discovery answers for the addresses of the link itself alone.
            here = netlink.extra_address(self.eth0, address)
            return here, netlink.delete_address(self.eth0, address)
        # A local route, since proxy ARP answers only for what is routed to another link.
        route = Route(to=calico.host_prefix(address), link=netlink.LOOPBACK, kind="local")
        return [netlink.route(route)], [netlink.delete_route(route)]


def reap(here: Netlink, interface: str) -> None:
    """Delete a pod's interfaces, if they have not gone with the pod's own namespace."""
    if link := here.find(interface):
        here.send([netlink.delete_link(link)])
