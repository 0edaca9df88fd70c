"""The network room's face: nodes, pods, Services and policies become kernel state.

The methods run on the event loop and hand their work to the kernel thread, where all the
state lives; awaiting one means that the kernel has acknowledged it. See `switch` for what
is between the nodes, `calico` for a pod's link, `services` and `policies` for the rules.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from k8slab.embedded.network import agents, calico
from k8slab.embedded.network.cni import Configuration
from k8slab.embedded.network.forgetting import Forgetting
from k8slab.embedded.network.ipam import Ipam
from k8slab.embedded.network.lags import Lags
from k8slab.embedded.network.model import Denial
from k8slab.embedded.network.netlink import Netlink
from k8slab.embedded.network.node import Node, Pod, reap
from k8slab.embedded.network.policies import Policies
from k8slab.embedded.network.queue import KernelQueue
from k8slab.embedded.network.resync import Resync
from k8slab.embedded.network.services import Services
from k8slab.embedded.network.switch import Switch
from k8slab.errors import ClusterError, KernelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from k8slab.embedded.config import ClusterConfig
    from k8slab.embedded.network.journey import Journey, RuleKey
    from k8slab.embedded.network.model import Direction, HostPort, PolicyDirection, ServicePort
    from k8slab.embedded.network.nflog import Report
    from k8slab.embedded.network.sending import Place, Question
    from k8slab.embedded.network.services import ServiceKey

_log = logging.getLogger(__name__)
_FIRST_NODE = 2
"""The router has the first address of a node range, the nodes have those after it."""


def _ignore(_denial: Denial) -> None:
    """Stand for the listener until there is one."""


class Network:
    """The kernel's network of one cluster. The calling process' namespace is its switch."""

    def __init__(self, config: ClusterConfig, *, node_files: Path | None = None) -> None:
        """Prepare; `node_files` has a directory for each node, with its own files (`cni`)."""
        if config.cni != calico.NAME:
            raise UsageError(f"CNI {config.cni!r} is not known", hint=f"Known: {calico.NAME}.")
        if config.proxy_mode != "nftables":
            raise UsageError(
                f"kube-proxy mode {config.proxy_mode!r} is not known", hint="Known: nftables."
            )
        self.on_denial: Callable[[Denial], None] = _ignore
        self.lost_denials = 0
        """How often the kernel dropped packets faster than it could report them."""
        self._config = config
        self._queue = KernelQueue()
        self._forgetting = Forgetting(self._queue)
        self._switch = Switch(config.node_cidrs)
        self._ipams = [Ipam(cidr) for cidr in config.pod_cidrs]
        self._nodes: dict[str, Node] = {}
        self._node_files = node_files
        self._plugins: dict[str, Configuration] = {}
        self._resync = Resync(self._queue, self._nodes.values)
        self._pods: dict[str, Pod] = {}
        self._owners: dict[str, Pod] = {}
        self._sandboxes = self._ports = 0
        self._services = Services(self._queue.each)
        self._lags = Lags(self._catch_up_late)
        self._policies = Policies()
        self._announced: dict[str, str] = {}

    @property
    def world(self) -> Mapping[str, int]:
        """Return the namespaces outside of the cluster: ``internet``, ``corp``, ``laptop``."""
        return self._switch.world

    async def start(self) -> None:
        """Build switch, router and the world outside."""
        await self._queue.run(self._switch.start)
        await self._resync.start()

    async def close(self) -> None:
        """Let every namespace go and take the switch down."""
        loop = asyncio.get_running_loop()
        for node in self._nodes.values():
            loop.remove_reader(node.log)
        await self._resync.close()
        await self._lags.close()
        await self._queue.run(self._close)
        await self._queue.close()

    async def add_node(self, name: str) -> list[str]:
        """Make a node and return its addresses, one for each node range."""
        node = await self._queue.run(self._add_node, name)
        asyncio.get_running_loop().add_reader(node.log, self._read_denials, node)
        return list(node.addresses)

    async def remove_node(self, name: str) -> None:
        """Remove a node, its pods' links and its blocks."""
        node = self._node(name)
        asyncio.get_running_loop().remove_reader(node.log)
        self._lags.forget(name)
        await self._queue.run(self._remove_node, node)

    def node_netns(self, name: str) -> int:
        """Return the descriptor of a node's network namespace; `Network` closes it."""
        return self._node(name).netns

    def pod_cidrs(self, name: str) -> list[str]:
        """Return the blocks of a node, those of one family in the order of claiming."""
        return [block for ipam in self._ipams for block in ipam.blocks(name)]

    async def attach_pod(
        self, *, node: str, uid: str, netns: int, host_ports: Iterable[HostPort] = ()
    ) -> list[str]:
        """Connect a pod's namespace and return its addresses; packets pass on return.

        Policies that select `uid` (given to `sync_policies` before) are in force before the
        pod is connected. `netns` stays the caller's. A pod that is attached already is
        detached first: it has a new sandbox.
        """
        ports = list(host_ports)
        pod = await self._queue.run(self._attach, self._node(node), uid, netns, ports)
        return list(pod.addresses)

    async def detach_pod(self, uid: str) -> None:
        """Cut a pod off and free its addresses; fine when it is not attached."""
        await self._queue.run(self._detach, uid)

    async def sync_services(self, ports: Mapping[ServiceKey, ServicePort]) -> None:
        """Serve exactly these Service ports on every node; changes the difference.

        Nodes whose kube-proxies have to wait (`pace_proxy`) follow later.
        """
        wanted, held = dict(ports), self._lags.held()  # the caller may go on to change its own
        await self._queue.run(lambda: self._services.sync(wanted, self._nodes.values(), held))

    async def pace_proxy(self, node: str, seconds: float) -> None:
        """Have a node's kube-proxy let this time pass between two writes; see `lags`."""
        self._lags.pace(node, seconds)
        await self._catch_up(node)

    async def _catch_up(self, node: str) -> None:
        await self._queue.run(lambda: self._services.catch_up(self._node(node)))

    async def _catch_up_late(self, node: str) -> None:
        try:
            await self._catch_up(node)
        except KernelError as error:  # the next change of a Service tries again
            _log.warning("node %s: its Services could not be written: %s", node, error)

    async def sync_policies(self, directions: Iterable[PolicyDirection]) -> None:
        """Enforce exactly these policies; on return no packet passes that they deny."""
        wanted = list(directions)
        await self._queue.run(lambda: self._policies.sync(wanted, self._nodes.values()))

    async def announce_load_balancer(self, address: str, node: str | None) -> None:
        """Let `node` answer for a load balancer's address on the switch; ``None`` ends it."""
        await self._queue.run(self._announce, address, node)

    async def agents(self, node: str) -> dict[str, bool]:
        """Return which agents of a node run."""
        return await self._queue.run(agents.running, self._node(node))

    async def stop_agent(self, node: str, agent: str) -> None:
        """Stop an agent of a node, ``kube-proxy`` or ``network-agent``; see `agents`."""
        await self._queue.run(agents.stop, self._node(node), agent)

    async def plug(self, node: str, *, there: bool) -> None:
        """Write a node's configuration of the CNI plugin anew, or remove it."""
        if plugin := self._plugins.get(node):
            await self._queue.run(plugin.install if there else plugin.remove)

    async def start_agent(self, node: str, agent: str) -> None:
        """Start it again; on return the kernel has what is wanted."""
        await self._queue.run(self._start_agent, self._node(node), agent)

    def places(self) -> list[Place]:
        """Return the nodes, the switch and the world outside, as places of a journey."""
        from k8slab.embedded.network.sending import Place  # noqa: PLC0415  as in `follow`

        nodes = [Place("node", n.name, n.netns, n.addresses) for n in self._nodes.values()]
        world = [Place("world", name, netns) for name, netns in self.world.items()]
        return [*nodes, Place("switch", "", self._switch.netns), *world]

    async def follow(
        self,
        question: Question,
        places: Sequence[Place],
        next_port: Callable[[], int],
        *,
        deadline: float,
    ) -> Journey:
        """Send one packet, watch it at all `places`, and tell its journey; see `following`."""
        # Imported by the first journey: most clusters never see one.
        from k8slab.embedded.network import following, journey  # noqa: PLC0415

        watching = partial(following.follow, question, places, next_port, deadline=deadline)
        record = await asyncio.to_thread(watching)
        return await self._queue.run(journey.tell, record, self._rule_texts)

    def _node(self, name: str) -> Node:
        if name not in self._nodes:
            known = ", ".join(self._nodes) or "none"
            raise ClusterError(f"there is no node {name!r}", hint=f"Nodes: {known}.")
        return self._nodes[name]

    # Below: on the kernel thread.

    def _close(self) -> None:
        for node in self._nodes.values():
            node.close()
        self._nodes.clear()
        self._switch.close()

    def _add_node(self, name: str) -> Node:
        if name in self._nodes:
            raise ClusterError(f"node {name!r} is there already")
        node = Node(name, self._node_addresses(name), self._config)
        # A name of its own: the port of a node that has just gone may still be there.
        self._ports += 1
        node.port = f"node{self._ports}"
        with ExitStack() as undo:
            undo.callback(node.close)
            node.start(self._switch)
            node.rules.healed = partial(self._forget_stale, node)
            blocks = []
            for ipam in self._ipams:
                blocks.append(ipam.add_node(name))
                undo.callback(ipam.remove_node, name)
            self._introduce(node)
            self._services.bring_up(node)
            self._nodes[name] = node
            undo.callback(self._nodes.pop, name)
            if self._node_files:
                plugin = self._plugins[name] = Configuration(self._node_files / name, name)
                undo.callback(self._plugins.pop, name)
                undo.callback(plugin.remove)
                plugin.install()
            for cidr in blocks:
                undo.callback(self._forget_block, cidr, node)
                self._spread(node, cidr)
            undo.pop_all()
        return node

    def _introduce(self, node: Node) -> None:
        """Tell a new node of the others, and them of it."""
        for other in self._nodes.values():
            _if_possible(other, partial(other.know, node))
            node.know(other)
            for cidr in self.pod_cidrs(other.name):
                node.route_block(cidr, other)

    def _node_addresses(self, name: str) -> list[str]:
        """Return a node's addresses: by its place among the configured names, else a free one."""
        names = self._config.node_names
        taken = {address for node in self._nodes.values() for address in node.addresses}
        found = []
        for cidr in self._config.node_cidrs:
            network = ip_network(cidr)
            if name in names:
                found.append(str(network[_FIRST_NODE + names.index(name)]))
                continue
            start = _FIRST_NODE + len(names)
            found.append(
                next(
                    str(network[number])
                    for number in range(start, start + len(taken) + 1)
                    if str(network[number]) not in taken
                )
            )
        return found

    def _spread(self, node: Node, cidr: str) -> None:
        """Make a node's new block known to all nodes."""
        node.own_block(cidr)
        for other in self._nodes.values():
            if other is not node:
                _if_possible(other, partial(other.route_block, cidr, node))

    def _forget_block(self, cidr: str, node: Node) -> None:
        for other in self._nodes.values():
            if other is not node:
                other.forget_block(cidr)

    def _remove_node(self, node: Node) -> None:
        del self._nodes[node.name]
        if plugin := self._plugins.pop(node.name, None):
            plugin.remove()
        for cidr in self.pod_cidrs(node.name):
            self._forget_block(cidr, node)
        for ipam in self._ipams:
            ipam.remove_node(node.name)
        for pod in node.pods.values():
            del self._pods[pod.uid]
            del self._owners[pod.interface]
        for address in [a for a, name in self._announced.items() if name == node.name]:
            del self._announced[address]
        self._switch.unplug(node.port)
        node.close()

    def _attach(self, node: Node, uid: str, netns: int, ports: list[HostPort]) -> Pod:
        self._detach(uid)
        self._sandboxes += 1
        interface = calico.interface_name(uid, self._sandboxes)
        pod = Pod(uid, node.name, interface, tuple(self._allocate(node)), tuple(ports))
        self._pods[uid] = node.pods[uid] = self._owners[interface] = pod
        with ExitStack() as undo:
            undo.callback(self._forget, node, pod)
            self._forgetting.before_reuse(node, pod.addresses)
            self._policies.before_attach(node, pod)
            undo.callback(self._reap, node, pod)
            undo.callback(node.detach, pod)
            node.attach(pod, netns)
            undo.pop_all()
        return pod

    def _allocate(self, node: Node) -> list[str]:
        plugin = self._plugins.get(node.name)
        within = {one.version: one for one in plugin.range_sets()} if plugin else {}
        addresses: list[str] = []
        try:
            for ipam in self._ipams:
                before = ipam.blocks(node.name)
                addresses.append(ipam.allocate(node.name, within.get(ipam.version)))
                for cidr in ipam.blocks(node.name)[len(before) :]:
                    self._spread(node, cidr)
        except BaseException:
            for ipam, address in zip(self._ipams, addresses, strict=False):
                ipam.free(node.name, address)
            raise
        return addresses

    def _detach(self, uid: str) -> None:
        if pod := self._pods.get(uid):
            node = self._nodes[pod.node]
            node.detach(pod)
            self._forget(node, pod)
            self._reap(node, pod)

    def _reap(self, node: Node, pod: Pod) -> None:
        """Have what is left of a pod that was cut off removed soon: its links, its connections."""
        self._forgetting.gone(node, pod)
        here = Netlink(node.netns)
        self._queue.later(partial(reap, here, pod.interface), finish=here.close)

    def _forget(self, node: Node, pod: Pod) -> None:
        del self._pods[pod.uid], node.pods[pod.uid], self._owners[pod.interface]
        for ipam, address in zip(self._ipams, pod.addresses, strict=True):
            ipam.free(node.name, address)
        self._policies.after_detach(node, pod)

    def _start_agent(self, node: Node, agent: str) -> None:
        every = [(cidr, one) for one in self._nodes.values() for cidr in self.pod_cidrs(one.name)]
        agents.start(node, agent, every)

    def _forget_stale(self, node: Node) -> None:
        """Forget UDP flows of the time when a node's rules were not as they must be."""
        self._services.forget_stale(node)
        node.forget_stale(node.pods.values())

    def _announce(self, address: str, name: str | None) -> None:
        before = self._announced.get(address)
        if before == name:
            return
        if before is not None:
            self._nodes[before].stop_serving(str(ip_address(address)))
            del self._announced[address]
        if name is not None:
            self._node(name).serve(str(ip_address(address)))
            self._announced[address] = name

    def _rule_texts(self, place: Place, chains: set[tuple[str, str, str]]) -> dict[RuleKey, str]:
        """Return the rules of some chains of a node by family, table, chain and handle."""
        node = self._nodes.get(place.name)
        found: dict[RuleKey, str] = {}
        for chain in sorted(chains) if node else ():
            assert node is not None
            try:
                rules = node.rules.nft.handles(*chain)
            except KernelError as error:  # gone since the packet met it: it goes without its text
                _log.info("node %s: %s", place.name, error)
                continue
            found |= {(*chain, handle): text for handle, text in rules.items()}
        return found

    # Below: on the event loop.

    def _read_denials(self, node: Node) -> None:
        lost = node.log.lost
        for report in node.log.read():
            # A pod that has just gone has no UID any more to report for.
            if denial := self._denial(node, report):
                self.on_denial(denial)
        if node.log.lost > lost:
            self.lost_denials += node.log.lost - lost
            _log.warning("node %s: packets were denied faster than they are read", node.name)

    def _denial(self, node: Node, report: Report) -> Denial | None:
        word, interface, *policy = report.prefix.split(" ", 2)
        direction: Direction = "ingress" if word == "ingress" else "egress"
        if policy:
            index = report.leaves_by if direction == "ingress" else report.came_by
            pod = node.by_index.get(index)
        else:
            pod = self._owners.get(interface)
        return _denial(report, pod, direction, "".join(policy)) if pod else None


def _if_possible(node: Node, tell: Callable[[], None]) -> None:
    """Tell a node of another; one whose link somebody took away hinders nobody."""
    try:
        tell()
    except KernelError as error:
        hint = "its network agent makes the routes when it is started again"
        _log.warning("node %s: %s; %s", node.name, error, hint)


def _denial(report: Report, pod: Pod, direction: Direction, policy: str) -> Denial:
    return Denial(
        time=report.time,
        node=pod.node,
        direction=direction,
        pod_uid=pod.uid,
        protocol=report.protocol,
        source=report.source,
        source_port=report.source_port,
        destination=report.destination,
        destination_port=report.destination_port,
        policy=policy,
    )
