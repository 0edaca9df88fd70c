"""Load-balancer addresses: each Service of type LoadBalancer gets one from the pool.

One with a ``loadBalancerClass`` asks for somebody else's balancer and is left alone
(core/v1 ``ServiceSpec``): it stays pending where nobody implements that class.

One node answers for an address (ARP), as a layer-2 load balancer does. With
``externalTrafficPolicy: Local`` it must be a node that runs a ready endpoint; otherwise any
worker will do.
"""

from __future__ import annotations

import zlib
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.endpoint_slices import of_service
from k8slab.embedded.controllers.index import Index
from k8slab.objects.meta import Object, is_deleting, key_of
from k8slab.objects.slices import SLICES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context

COMPONENT = "service-controller"


class LoadBalancers(Controller):
    """The loop over Services that gives out and announces addresses."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "load balancers")
        self._announced: dict[str, dict[str, str]] = {}
        """By Service: which node answers for which of its addresses."""
        self._slices = self._own(Index(self._api, SLICES, of_service))
        self._follow(SLICES, self._slice_event)
        self._look_at("services")

    def _slice_event(self, event: Event) -> None:
        for key in of_service(event.object):
            self.loop.add(key)

    async def _reconcile(self, key: str) -> None:
        namespace, name = key.split("/", 1)
        service = self._context.api.get("services", name, namespace)
        if service is None or not _is_ours(service) or is_deleting(service):
            await self._withdraw(key, service)
            return
        if not self._context.config.load_balancer:
            return
        addresses = self._addresses(service)
        if not addresses:
            text = "Error syncing load balancer: no address is left in the pool"
            record = self._context.events.record
            record(service, "SyncLoadBalancerFailed", text, component=COMPONENT, warning=True)
            return
        self._show(service, addresses)
        await self._announce(key, addresses, self._node(service))

    def _addresses(self, service: Object) -> list[str]:
        """Return one address for each of the Service's families; none when one is missing."""
        families = service["spec"].get("ipFamilies") or ["IPv4"]
        found = [self._address(service, family) for family in families]
        return found if all(found) else []

    def _address(self, service: Object, family: str) -> str:
        """Return the Service's address: the one it has, the one it asks for, or a free one."""
        for shown in _shown(service):
            if _family(shown) == family:
                return shown
        taken = {a for other in self._context.api.list("services") for a in _shown(other)}
        wanted = service["spec"].get("loadBalancerIP")
        if wanted and _family(wanted) == family and wanted not in taken and self._in_pool(wanted):
            return str(wanted)
        return next((a for a in self._pool(family) if a not in taken), "")

    def _pool(self, family: str) -> Iterator[str]:
        for cidr in self._context.config.load_balancer_cidrs:
            if _family(cidr) == family:
                for address in ip_network(cidr).hosts():
                    yield str(address)

    def _in_pool(self, address: str) -> bool:
        cidrs = self._context.config.load_balancer_cidrs
        return any(ip_address(address) in ip_network(cidr) for cidr in cidrs)

    def _show(self, service: Object, addresses: list[str]) -> None:
        if _shown(service) == addresses:
            return
        status = {**(service.get("status") or {})}
        status["loadBalancer"] = {"ingress": [{"ip": a, "ipMode": "VIP"} for a in addresses]}
        self._context.api.update_status("services", {**service, "status": status})
        text = "Ensured load balancer"
        self._context.events.record(service, "EnsuredLoadBalancer", text, component=COMPONENT)

    def _node(self, service: Object) -> str:
        """Return the node that answers for a Service's address."""
        workers = self._context.config.node_names[1:] or self._context.config.node_names
        if service["spec"].get("externalTrafficPolicy") != "Local":
            return workers[zlib.crc32(key_of(service).encode()) % len(workers)]
        ready = {
            endpoint["nodeName"]
            for one in self._slices.get(key_of(service))
            for endpoint in one.get("endpoints") or ()
            if endpoint.get("nodeName") and (endpoint.get("conditions") or {}).get("ready")
        }
        return min(ready, default=workers[0])

    async def _announce(self, key: str, addresses: list[str], node: str) -> None:
        announced = self._announced.setdefault(key, {})
        announce = self._context.network.announce_load_balancer
        for address in announced.keys() - set(addresses):
            await announce(address, None)
            del announced[address]
        for address in addresses:
            if announced.get(address) != node:
                await announce(address, node)
                announced[address] = node

    async def _withdraw(self, key: str, service: Object | None) -> None:
        for address in self._announced.get(key, ()):
            await self._context.network.announce_load_balancer(address, None)
        self._announced.pop(key, None)
        if service is not None and _shown(service):
            status = {**service["status"], "loadBalancer": {}}
            self._context.api.update_status("services", {**service, "status": status})


def _is_ours(service: Object) -> bool:
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")


def _shown(service: Object) -> list[str]:
    entries = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [entry["ip"] for entry in entries if entry.get("ip")]


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"
