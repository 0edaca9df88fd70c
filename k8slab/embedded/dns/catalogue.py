"""The API objects that names are made of, reduced to what names need.

Raw objects would cost each DNS pod megabytes in a big cluster; these are a few tuples each.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from k8slab.objects.slices import service_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]

Port = tuple[str, str, int]
"""Name, protocol in lower case, number."""


class Service(NamedTuple):
    """One Service; `external_name` ends with a dot."""

    kind: str
    addresses: tuple[str, ...]
    ports: tuple[Port, ...]
    external_name: str

    @property
    def headless(self) -> bool:
        """Tell whether the names lead to the endpoints themselves."""
        return self.addresses == ("None",)


class Endpoint(NamedTuple):
    """One ready address of an EndpointSlice."""

    address: str
    hostname: str
    pod: str
    ports: tuple[Port, ...]


@dataclass(slots=True)
class Catalogue:
    """The objects that names are made of, kept in step by watches.

    `version` grows with each change, so that whoever keeps answers knows when they are old.
    """

    version: int = 0
    changed: int = field(default_factory=lambda: int(time.time()))
    services: dict[tuple[str, str], Service] = field(default_factory=dict)
    slices: dict[tuple[str, str], dict[str, tuple[Endpoint, ...]]] = field(default_factory=dict)
    slice_owner: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)
    pods: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    _reverse: tuple[int, dict[str, list[tuple[str, ...]]]] = (-1, {})

    def put(self, resource: str, obj: Object) -> None:
        """Add or replace an object of `resource` (``services``, ``endpointslices``, ...)."""
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        if resource == "services":
            self._put_if_new(self.services, key, _service(obj))
        elif resource == "endpointslices":
            self._put_slice(key, obj)
        elif resource == "pods":
            addresses = tuple(each["ip"] for each in obj.get("status", {}).get("podIPs") or ())
            self._put_if_new(self.pods, key, addresses)
        elif meta["name"] not in self.namespaces:
            self.namespaces.add(meta["name"])
            self._touch()

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Forget an object."""
        key = (namespace, name)
        if resource == "services":
            self.services.pop(key, None)
        elif resource == "endpointslices":
            owner = self.slice_owner.pop(key, None)
            if owner is not None:
                self.slices[owner].pop(name, None)
        elif resource == "pods":
            self.pods.pop(key, None)
        else:
            self.namespaces.discard(name)
        self._touch()

    def keys(self, resource: str) -> set[tuple[str, str]]:
        """Return namespace and name of everything known of `resource`."""
        if resource == "services":
            return set(self.services)
        if resource == "endpointslices":
            return set(self.slice_owner)
        if resource == "pods":
            return set(self.pods)
        return {("", name) for name in self.namespaces}

    def endpoints(self, service: tuple[str, str]) -> Iterator[Endpoint]:
        """Yield the ready endpoints of a Service, slice by slice."""
        for slices in self.slices.get(service, {}).values():
            yield from slices

    def reverse(self, address: str) -> list[tuple[str, ...]]:
        """Return what has this address: (namespace, Service) or (namespace, Service, endpoint)."""
        if self._reverse[0] != self.version:
            self._reverse = (self.version, self._build_reverse())
        return self._reverse[1].get(address, [])

    def _build_reverse(self) -> dict[str, list[tuple[str, ...]]]:
        index: dict[str, list[tuple[str, ...]]] = {}
        for key, service in self.services.items():
            for address in service.addresses:
                index.setdefault(address, []).append(key)
        for key in self.services.keys() & self.slices.keys():
            for endpoint in self.endpoints(key):
                found = index.setdefault(endpoint.address, [])
                place = (*key, endpoint.hostname, endpoint.pod)
                if place not in found and not any(len(each) == 2 for each in found):
                    found.append(place)
        return index

    def _put_slice(self, key: tuple[str, str], obj: Object) -> None:
        service = service_of(obj)
        owner = (key[0], service)
        previous = self.slice_owner.get(key)
        if previous is not None and previous != owner:
            self.slices[previous].pop(key[1], None)
        self.slice_owner[key] = owner
        self._put_if_new(self.slices.setdefault(owner, {}), key[1], _endpoints(obj))

    def _put_if_new(self, where: dict, key: Any, value: Any) -> None:
        if where.get(key) != value:
            where[key] = value
            self._touch()

    def _touch(self) -> None:
        self.version += 1
        self.changed = int(time.time())


def _service(obj: Object) -> Service:
    spec = obj["spec"]
    kind = spec.get("type", "ClusterIP")
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    external = spec.get("externalName", "") if kind == "ExternalName" else ""
    return Service(
        kind,
        tuple(_canonical(each) for each in addresses if each),
        _ports(spec.get("ports")),
        external.lower().rstrip(".") + "." if external else "",
    )


def _endpoints(obj: Object) -> tuple[Endpoint, ...]:
    # A slice without ports still has addresses; CoreDNS marks that with port -1.
    ports = _ports(obj.get("ports")) or (("", "", -1),)
    if obj.get("addressType") == "FQDN":
        return ()
    return tuple(
        Endpoint(
            _canonical(address),
            each.get("hostname") or "",
            (each.get("targetRef") or {}).get("name", ""),
            ports,
        )
        for each in obj.get("endpoints") or ()
        # An absent condition means ready (discovery/v1, EndpointConditions).
        if (each.get("conditions") or {}).get("ready") in (True, None)
        for address in each.get("addresses") or ()
    )


def _ports(ports: Any) -> tuple[Port, ...]:
    return tuple(
        (
            (port.get("name") or "").lower(),
            port.get("protocol", "TCP").lower(),
            port.get("port") or -1,
        )
        for port in ports or ()
    )


def _canonical(address: str) -> str:
    return address if address == "None" or "." in address else str(ipaddress.ip_address(address))
