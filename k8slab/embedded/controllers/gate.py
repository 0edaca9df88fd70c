"""The doors through which a pod comes onto the network and leaves it.

Coming: its own isolation is in the kernel before it has an address, and its peers' rules
know the address before its first container runs. Leaving: no Service leads to a pod that
is being deleted before its containers are told to stop, so that a rolling update loses no
connection. A real cluster does these at the same time, which is why people put a sleep into
``preStop``; here nobody has to wait for what takes a millisecond.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from k8slab.errors import ApiStatusError
from k8slab.objects.meta import Object, key_of, labels_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.controllers.endpoint_slices import EndpointSlices
    from k8slab.embedded.controllers.policies import Policies
    from k8slab.embedded.controllers.proxy import Proxy


class Gate:
    """What the kubelets wait for (`kubelet.node.PodGate`)."""

    def __init__(
        self, api: Api, *, policies: Policies, slices: EndpointSlices, proxy: Proxy
    ) -> None:
        self._api = api
        self._policies = policies
        self._slices = slices
        self._proxy = proxy

    async def admit(self, pod: Object) -> None:
        """Return when the policies that select `pod` are in the kernel."""
        await self._policies.admit(pod)

    async def attached(self, pod: Object, addresses: Sequence[str]) -> None:
        """Learn a pod's addresses; return when the rules of its peers know them."""
        await self._policies.attached(pod, addresses)

    async def leaving(self, pod: Object) -> None:
        """Return when the Services that led to a pod that is being deleted no longer do."""
        labels = labels_of(pod).items()
        for service in self._api.list("services", namespace_of(pod)):
            selector = service["spec"].get("selector")
            if selector and selector.items() <= labels:
                with suppress(ApiStatusError):  # its loop tries again; the pod must not wait
                    await self._slices.loop.settle(key_of(service))
        await self._proxy.settle()

    def detached(self, uid: str) -> None:
        """Forget a pod's addresses."""
        self._policies.detached(uid)
