"""Give Services their addresses and node ports, and hold who has which.

ClusterIPs come from the Service ranges: as in a real server the low part of a range
(``min(max(16, size / 16), 256)`` addresses, KEP-3070) is left for addresses that are asked for.
Node ports come from 30000-32767, and there too the low part, 30000-30085 (``min(max(16, size / 32),
128)`` ports, KEP-3668), is left for those that are asked for; both protocols may share a number.
"""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import chain
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.families import HEADLESS, complete_families
from k8slab.objects.meta import name_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.embedded.apiserver.store import Event, Store
    from k8slab.embedded.config import ClusterConfig
    from k8slab.objects.meta import Object

FIRST_NODE_PORT, LAST_NODE_PORT = 30000, 32767
FIRST_DYNAMIC_NODE_PORT = FIRST_NODE_PORT + 86
_TRIES = 64


class Allocator:
    """Assign addresses; what is in use is read from the stored Services."""

    def __init__(self, store: Store, config: ClusterConfig) -> None:
        self._ranges = [ip_network(cidr) for cidr in config.service_cidrs]
        self._addresses: Counter[str] = Counter()
        self._ports: Counter[tuple[str, int]] = Counter()
        for service in store.list("services"):
            self._count(service, 1)
        store.subscribe("services", self._on_change)

    def _on_change(self, event: Event) -> None:
        if event.old is not None:
            self._count(event.old, -1)
        if event.type != "DELETED":
            self._count(event.object, 1)

    def _count(self, service: Object, step: int) -> None:
        for address in _addresses(service):
            self._addresses[address] += step
        for port in _ports(service):
            self._ports[port] += step

    def assign(self, kind: Kind, new: Object, old: Object | None) -> None:
        """Complete a Service in place; other kinds have nothing to assign."""
        if kind.resource != "services":
            return
        spec = new["spec"]
        if spec["type"] == "ExternalName":
            _clear(spec)
        else:
            self._assign_addresses(new, old)
        if spec["type"] in ("NodePort", "LoadBalancer"):
            self._assign_ports(new, old)
        if spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
            self._assign_health_port(new, old)

    # --- addresses

    def _assign_addresses(self, new: Object, old: Object | None) -> None:
        spec = new["spec"]
        before = (old or {}).get("spec", {})
        if before.get("type") == "ExternalName":
            before = {}
        if before.get("clusterIPs") and not spec.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
            spec["clusterIPs"] = before["clusterIPs"]
        headless = spec.get("clusterIP") == HEADLESS
        if not spec.get("clusterIPs") and spec.get("clusterIP"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if errors := complete_families(spec, before, self._families()):
            raise statuses.invalid_object("Service", "", name_of(new), errors)
        if headless:
            spec["clusterIPs"] = [HEADLESS]
            return
        asked = spec.get("clusterIPs") or []
        held = set(_addresses(old)) if old else set()
        taken: list[str] = []
        for number, family in enumerate(spec["ipFamilies"]):
            if number < len(asked):
                self._claim(new, asked[number], held)
                taken.append(asked[number])
            else:
                taken.append(self._free_address(family))
        spec["clusterIPs"] = taken
        spec["clusterIP"] = taken[0]

    def _families(self) -> list[str]:
        return [f"IPv{network.version}" for network in self._ranges]

    def _claim(self, service: Object, address: str, held: set[str]) -> None:
        wanted = ip_address(address)
        if not any(wanted.version == net.version and wanted in net for net in self._ranges):
            ranges = ", ".join(str(net) for net in self._ranges)
            why = (
                f"failed to allocate IP {address}: the provided IP ({address}) is not in the valid "
                f"range. The range of valid IPs is {ranges}"
            )
            raise _refused(service, statuses.invalid("spec.clusterIPs", [address], why))
        if address not in held and self._addresses[address] > 0:
            why = f"failed to allocate IP {address}: provided IP is already allocated"
            raise _refused(service, statuses.invalid("spec.clusterIPs", [address], why))

    def _free_address(self, family: str) -> str:
        network = next(net for net in self._ranges if f"IPv{net.version}" == family)
        first, last = _dynamic_bounds(network)
        for _ in range(_TRIES):
            address = str(network[random.randint(first, last)])
            if self._addresses[address] == 0:
                return address
        for number in range(1, last + 1):
            address = str(network[number])
            if self._addresses[address] == 0:
                return address
        raise statuses.internal_error(f"failed to allocate a serviceIP: range is full ({network})")

    # --- node ports

    def _assign_ports(self, new: Object, old: Object | None) -> None:
        spec = new["spec"]
        if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            return
        held = set(_ports(old)) if old else set()
        before = {
            (port["protocol"], port["port"]): port["nodePort"]
            for port in (old or {}).get("spec", {}).get("ports") or ()
            if port.get("nodePort")
        }
        mine: set[tuple[str, int]] = set()
        for number, port in enumerate(spec.get("ports") or ()):
            protocol = port["protocol"]
            wanted = port.get("nodePort") or before.get((protocol, port["port"]), 0)
            if wanted and (protocol, wanted) not in mine:
                self._check_port(new, number, (protocol, wanted), held)
                port["nodePort"] = wanted
            else:
                port["nodePort"] = self._free_port(new, protocol, mine)
            mine.add((protocol, port["nodePort"]))

    def _check_port(
        self, service: Object, number: int, port: tuple[str, int], held: set[tuple[str, int]]
    ) -> None:
        path = f"spec.ports[{number}].nodePort"
        if not FIRST_NODE_PORT <= port[1] <= LAST_NODE_PORT:
            why = (
                "provided port is not in the valid range. "
                f"The range of valid ports is {FIRST_NODE_PORT}-{LAST_NODE_PORT}"
            )
            raise _refused(service, statuses.invalid(path, port[1], why))
        if port not in held and self._ports[port] > 0:
            why = "provided port is already allocated"
            raise _refused(service, statuses.invalid(path, port[1], why))

    def _free_port(self, service: Object, protocol: str, mine: set[tuple[str, int]]) -> int:
        dynamic = range(FIRST_DYNAMIC_NODE_PORT, LAST_NODE_PORT + 1)
        kept = range(FIRST_NODE_PORT, FIRST_DYNAMIC_NODE_PORT)
        for port in chain(random.sample(dynamic, _TRIES), dynamic, kept):
            if self._ports[protocol, port] == 0 and (protocol, port) not in mine:
                return port
        why = f"failed to allocate a nodePort for {name_of(service)}: range is full"
        raise statuses.internal_error(why)

    def _assign_health_port(self, new: Object, old: Object | None) -> None:
        held = (old or {}).get("spec", {}).get("healthCheckNodePort")
        if not new["spec"].get("healthCheckNodePort"):
            mine = {("TCP", port.get("nodePort", 0)) for port in new["spec"].get("ports") or ()}
            new["spec"]["healthCheckNodePort"] = held or self._free_port(new, "TCP", mine)


def _dynamic_bounds(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """Return the first and last offset for dynamic use; broadcast and network are left out."""
    size = min(network.num_addresses, 1 << 16)
    reserved = min(max(16, size // 16), 256)
    last = size - 2 if network.version == 4 else size - 1
    return min(reserved + 1, last), last


def _clear(spec: dict) -> None:
    for field in (
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "internalTrafficPolicy",
        "externalTrafficPolicy",
        "healthCheckNodePort",
    ):
        spec.pop(field, None)
    for port in spec.get("ports") or ():
        port.pop("nodePort", None)


def _addresses(service: Object | None) -> list[str]:
    spec = (service or {}).get("spec", {})
    return [address for address in spec.get("clusterIPs") or () if address != HEADLESS]


def _ports(service: Object) -> list[tuple[str, int]]:
    spec = service.get("spec", {})
    found = [
        (port.get("protocol", "TCP"), port["nodePort"])
        for port in spec.get("ports") or ()
        if port.get("nodePort")
    ]
    if health := spec.get("healthCheckNodePort"):
        found.append(("TCP", health))
    return found


def _refused(service: Object, error: statuses.FieldError) -> Exception:
    return statuses.invalid_object("Service", "", name_of(service), [error])
