"""The Service default/kubernetes, by which pods reach the API, and where it leads.

Whoever deletes it (``kubectl delete services --all``) finds it again: pods would lose the API for
good else. A real API server looks each ten seconds, this one when something changes.
Source: kube-apiserver, ``pkg/controlplane/controller/kubernetesservice``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers.bootstrap import nth_address
from k8slab.embedded.controllers.endpoints_values import SKIP_MIRROR
from k8slab.embedded.controllers.loop import Loop
from k8slab.objects.meta import key_of
from k8slab.objects.slices import SERVICE_NAME, SLICES

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.config import ClusterConfig
    from k8slab.objects.meta import Object

NAME, NAMESPACE = "kubernetes", "default"
KEY = f"{NAMESPACE}/{NAME}"
API_PORT = 6443


class ApiService:
    """Keep the API's Service, its EndpointSlice and its Endpoints."""

    def __init__(self, api: Api, config: ClusterConfig, address: str) -> None:
        self._api = api
        self._config = config
        self._address = address
        """The control plane's first: it is single-stack, in the primary family (KEP-563)."""
        self._reconcile(KEY)
        self.loop = Loop("kubernetesservice", self._reconcile)
        self._unsubscribe = [
            api.subscribe(resource, self._event) for resource in ("services", SLICES, "endpoints")
        ]

    async def close(self) -> None:
        """Stop the loop."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        await self.loop.close()

    def _event(self, event: Event) -> None:
        if key_of(event.object) == KEY:
            self.loop.add(KEY)

    def _reconcile(self, _key: str) -> None:
        """Create what is missing, and have it lead to the API; a changed Service stays so."""
        if self._api.get("services", NAME, NAMESPACE) is None:
            self._api.create("services", service(self._config))
        self._put(SLICES, _slice(self._address), "endpoints")
        self._put("endpoints", _endpoints(self._address), "subsets")

    def _put(self, resource: str, wanted: Object, field: str) -> None:
        found = self._api.get(resource, NAME, NAMESPACE)
        if found is None:
            self._api.create(resource, wanted)
        elif found.get(field) != wanted[field]:
            self._api.update(resource, {**found, field: wanted[field]})


def service(config: ClusterConfig) -> Object:
    """Return the Service as a fresh cluster has it: at the first address of the first range."""
    address = nth_address(config.service_cidrs[0], 1)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": API_PORT}],
        },
    }


def _slice(address: str) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {SERVICE_NAME: NAME}},
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "protocol": "TCP", "port": API_PORT}],
    }


def _endpoints(address: str) -> Object:
    port = {"name": "https", "protocol": "TCP", "port": API_PORT}
    return {
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {SKIP_MIRROR: "true"}},
        "subsets": [{"addresses": [{"ip": address}], "ports": [port]}],
    }
