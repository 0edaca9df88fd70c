"""kube-proxy's loop: which Service ports are wanted, and what changed since the last time.

Everything here runs on the kernel thread, which has the nodes told side by side: a node's tables
are its own. After each change the kernel follows every jump of a table (nft_chain_validate), which
with 1,000 Services takes milliseconds for each node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from k8slab.embedded.network import conntrack, ruleset_proxy
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from k8slab.embedded.network.model import ServicePort
    from k8slab.embedded.network.node import Node
    from k8slab.embedded.network.ruleset import Family, Fragment, Key, Table
    from k8slab.embedded.network.ruleset_proxy import Place

ServiceKey = tuple[str, str, str, str]
Rendered = dict[tuple[ServiceKey, "Family"], "Fragment"]
Backends = dict[tuple[str, int], set[tuple[str, int]]]
Changes = list[tuple["Table", "dict[Key, Fragment | None]"]]
Task = tuple["Node", Changes]
Refusals = Iterable["KernelError | None"]
Each = Callable[[Callable[[Task], "KernelError | None"], list[Task]], Refusals]

_PORTION = 32
"""Service ports in one transaction: the kernel's work on one grows with its square (each set
of a rule is looked for among all changes), and each transaction has all jumps followed."""


class Services:
    """The Service ports that every node serves."""

    def __init__(self, each: Each = map) -> None:
        """Nodes are told by `each`, which works as `map`, perhaps several items at once."""
        self._each = each
        self._ports: Mapping[ServiceKey, ServicePort] = {}
        self._doubtful: set[ServiceKey] = set()
        """What the last sync changed, if it failed: some nodes may have it, some not."""
        self._owed: dict[str, set[ServiceKey]] = {}
        """What nodes have not been told, whose kube-proxies have to wait (`lags`)."""

    def sync(
        self,
        wanted: Mapping[ServiceKey, ServicePort],
        nodes: Iterable[Node],
        held: Collection[str] = (),
    ) -> None:
        """Make `nodes` serve exactly `wanted`; what the kernel refuses is tried again next time.

        The nodes named by `held` are told by `catch_up`.
        """
        old = self._ports
        touched = {key for key, port in wanted.items() if _differ(old.get(key), port)}
        touched |= old.keys() - wanted.keys()
        doubtful = self._doubtful
        touched |= doubtful
        self._doubtful, self._ports = touched, wanted
        for name in held:
            self._owed.setdefault(name, set()).update(touched)
        nodes = [node for node in nodes if node.name not in held]
        failure = self._write(nodes, touched)
        udp = [
            key
            for key in touched
            if key[3] == "UDP"
            and (key in doubtful or may_leave_flows(old.get(key), wanted.get(key)))
        ]
        for node in nodes if udp else ():
            self._forget_udp(node, udp, old)
        if failure:
            raise failure
        self._doubtful = set()

    def catch_up(self, node: Node) -> None:
        """Tell a node what it was not told while its kube-proxy had to wait."""
        keys = self._owed.pop(node.name, set())
        if failure := self._write([node], keys):
            self._doubtful |= keys
            raise failure
        if any(key[3] == "UDP" for key in keys):
            self.forget_stale(node)

    def bring_up(self, node: Node) -> None:
        """Write every Service to a new node."""
        if failure := self._write([node], self._ports):
            raise failure

    def forget_stale(self, node: Node) -> None:
        """Forget UDP flows that lead nowhere, as a kube-proxy does that starts."""
        udp = [key for key in self._ports if key[3] == "UDP"]
        if udp:
            self._forget_udp(node, udp, self._ports)

    def _write(self, nodes: Iterable[Node], touched: Iterable[ServiceKey]) -> KernelError | None:
        """Write what was touched to all nodes, so many at a time; return the first refusal.

        What one node is told is remembered for the next (`_render`, `nftables`), not for long.
        """
        refusals: list[KernelError | None] = []
        keys = sorted(touched)
        for start in range(0, len(keys), _PORTION):
            rendered: Rendered = {}
            some = keys[start : start + _PORTION]
            tasks = [(node, self._changes(node, some, rendered)) for node in nodes]
            refusals += self._each(_tell, tasks)
        return next((refusal for refusal in refusals if refusal), None)

    def _changes(self, node: Node, keys: Sequence[ServiceKey], rendered: Rendered) -> Changes:
        """Return what to change in each family's table of a node."""
        found: Changes = []
        for tables in node.tables.values():
            changes: dict[Key, Fragment | None] = {}
            for key in keys:
                port = self._ports.get(key)
                changes[key] = _render(port, tables.place, rendered) if port else None
            found.append((tables.proxy, changes))
        return found

    def _forget_udp(
        self, node: Node, keys: Iterable[ServiceKey], old: Mapping[ServiceKey, ServicePort]
    ) -> None:
        if node.rules.rests(ruleset_proxy.TABLE):
            return  # a kube-proxy that is stopped does not do this either
        backends: Backends = {}
        for key in keys:
            before, after = old.get(key), self._ports.get(key)
            for port in (before, after):
                for frontend in _frontends(port, node) if port else ():
                    backends.setdefault(frontend, set())
            if after:
                for frontend in _frontends(after, node):
                    backends[frontend] |= _backends(after)
        conntrack.forget_udp(node.netns, conntrack.leads_elsewhere(backends))


def _tell(task: Task) -> KernelError | None:
    """Change the tables of one node; return the first refusal."""
    node, every = task
    failure: KernelError | None = None
    for table, changes in every:
        try:
            node.change(table, changes)
        except KernelError as error:
            failure = failure or error
    return failure


def may_leave_flows(before: ServicePort | None, after: ServicePort | None) -> bool:
    """Tell whether UDP flows may be left that lead to where this port does not lead any more.

    A packet to a ClusterIP that no Service has, or to a Service without endpoints, is dropped
    or rejected: it leaves no flow. Behind other addresses somebody else may have answered.
    """
    if before is None:
        return after is not None and bool(_outer(after))
    if after is None:
        return bool(_backends(before))
    moved = (before.cluster_ips, before.port) != (after.cluster_ips, after.port)
    return moved or _outer(before) != _outer(after) or bool(_backends(before) - _backends(after))


def _backends(port: ServicePort) -> set[tuple[str, int]]:
    return {(e.address, e.port) for e in port.endpoints if e.serving}


def _outer(port: ServicePort) -> tuple[object, ...]:
    """Return the addresses and node port by which a port is reached besides its ClusterIPs."""
    found = (*port.load_balancer_ips, *port.external_ips)
    return (*found, port.node_port) if port.node_port else found


def _differ(old: ServicePort | None, new: ServicePort) -> bool:
    # Nearly all are the same object as the last time: not to be compared field by field.
    return old is not new and old != new


def _render(port: ServicePort, place: Place, rendered: Rendered) -> Fragment:
    """Return the rules of a port; those that are the same on every node are written once."""
    if ruleset_proxy.depends_on_node(port):
        return ruleset_proxy.service_port(port, place)
    where = (port.key, place.family)
    if where not in rendered:
        rendered[where] = ruleset_proxy.service_port(port, place)
    return rendered[where]


def _frontends(port: ServicePort, node: Node) -> list[tuple[str, int]]:
    addresses = (*port.cluster_ips, *port.load_balancer_ips, *port.external_ips)
    found = [(address, port.port) for address in addresses]
    if port.node_port:
        found += [(address, port.node_port) for address in node.addresses]
    return found
