"""The Service proxy: tell the network what each Service port leads to.

Only the Services that changed are computed again. A change of a Service or of its slices
is answered after the kernel has it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import proxy_config
from k8slab.embedded.controllers.endpoint_slices import of_service
from k8slab.embedded.controllers.index import Index
from k8slab.embedded.controllers.loop import Loop, take_turns
from k8slab.embedded.controllers.service_values import service_ports
from k8slab.embedded.controllers.zones import Zones
from k8slab.errors import UsageError
from k8slab.objects.meta import Object, key_of
from k8slab.objects.slices import SLICES

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.controllers.context import Context
    from k8slab.embedded.controllers.endpoint_slices import EndpointSlices
    from k8slab.embedded.network.model import ServicePort

log = logging.getLogger(__name__)

ALL = "all services"


class Proxy:
    """The loop that feeds `Network.sync_services`."""

    def __init__(self, context: Context, slices: EndpointSlices) -> None:
        self._context = context
        self._endpoint_slices = slices
        api = context.api
        self._slices = Index(api, SLICES, of_service)
        self._zones = Zones(api, self._mark_all)
        self._ports: dict[tuple[str, str, str, str], ServicePort] = {}
        self._by_service: dict[str, tuple[ServicePort, ...]] = {}
        self._dirty = {key_of(service) for service in api.list("services")}
        self._wanted = 1
        self._applied = 0
        self.loop = Loop("proxy", self._sync)
        self._unsubscribe: list[Callable[[], None]] = [
            self._slices.close,
            self._zones.close,
            api.subscribe("services", lambda event: self._mark(key_of(event.object))),
            api.subscribe(SLICES, lambda event: self._mark(*of_service(event.object))),
        ]
        api.before_answer("services", self._answer_service)
        api.before_answer(SLICES, self._answer)

    async def start(self) -> None:
        """Return when the Services that are there work."""
        if seconds := self._min_sync_period():
            for node in self._context.config.node_names:
                await self._context.network.pace_proxy(node, seconds)
        await self.loop.settle(ALL)

    def _min_sync_period(self) -> float:
        try:
            return proxy_config.min_sync_period(self._context.api)
        except UsageError as error:
            log.warning("kube-proxies start with their defaults: %s", error.message)
            return 0.0

    async def settle(self) -> None:
        """Return when every change made before this call is in the kernel."""
        if self._applied < self._wanted:
            await self.loop.settle(ALL)

    async def close(self) -> None:
        """Stop following changes; the kernel keeps what it has."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        await self.loop.close()

    async def _answer(self, _: Object) -> None:
        await self.settle()

    async def _answer_service(self, service: Object) -> None:
        await self._endpoint_slices.loop.settle(key_of(service))
        await self.settle()

    def _mark_all(self) -> None:
        self._mark(*(key_of(service) for service in self._context.api.list("services")))

    def _mark(self, *keys: str) -> None:
        self._dirty.update(keys)
        self._wanted += 1
        self.loop.add(ALL)

    async def _sync(self, _: str) -> None:
        if self._applied == self._wanted:
            return
        await take_turns(self._dirty, self._compute)
        goal = self._wanted
        if not self._applied:
            await self._context.network.sync_services(self._ports)
        self._applied = goal

    def _compute(self, key: str) -> None:
        """Compute the ports of one Service again; if they changed, nothing is applied any more.

        It stays so until the kernel has them: a failure must not look like success.
        """
        namespace, name = key.split("/", 1)
        service = self._context.api.get("services", name, namespace)
        before = self._by_service.get(key, ())
        slices, zones = self._slices.get(key), self._zones.of
        now = tuple(service_ports(service, slices, zones)) if service else ()
        if now == before:
            return
        self._applied = 0
        for port in before:
            self._ports.pop(port.key, None)
        for port in now:
            self._ports[port.key] = port
        if now:
            self._by_service[key] = now
        else:
            self._by_service.pop(key, None)
