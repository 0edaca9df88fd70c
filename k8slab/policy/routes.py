"""What Ingress and Gateway API objects lead to: Services that the world outside can ask.

Only where they point is read; which controller serves them, and from which pods it asks, is
not written in them. Sources: networking.k8s.io/v1 Ingress, gateway.networking.k8s.io/v1
HTTPRoute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from k8slab.objects import meta
from k8slab.policy.inventory import space_and_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from k8slab.objects.meta import Object
    from k8slab.policy.inventory import Kinds


@dataclass(frozen=True, slots=True)
class Exposure:
    """One way in: requests for `host` and `path` go to a port of a Service."""

    via: str
    """``Ingress shop/web`` or ``HTTPRoute shop/web``."""
    host: str
    """Empty for every host."""
    path: str
    service: str
    port: int | str
    manifest: Any = field(default=None, repr=False, compare=False)
    """What it was read from, where that is known; has ``place``."""


def read_exposures(kinds: Kinds) -> tuple[Exposure, ...]:
    """Return the ways in that all Ingresses and HTTPRoutes make."""
    found: list[Exposure] = []
    for kind, reader in (("Ingress", _ingress), ("HTTPRoute", _route)):
        for obj in kinds[kind]:
            for host, path, service, port in kinds.read(obj, partial(_all, reader)):
                via = f"{kind} {space_and_name(obj)}"
                found.append(Exposure(via, host, path, service, port, kinds.manifest(obj)))
    return tuple(found)


def _all(reader: Callable[[Object], Iterator[Way]], obj: Object) -> list[Way]:
    return list(reader(obj))


Way = tuple[str, str, str, "int | str"]


def _ingress(obj: Object) -> Iterator[Way]:
    namespace = meta.namespace_of(obj) or "default"
    spec = obj.get("spec") or {}
    yield from _ingress_backend("", "", spec.get("defaultBackend"), namespace)
    for rule in spec.get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            where = rule.get("host") or "", path.get("path") or "/"
            yield from _ingress_backend(*where, path.get("backend"), namespace)


def _ingress_backend(
    host: str, path: str, backend: Mapping[str, Any] | None, namespace: str
) -> Iterator[Way]:
    service = (backend or {}).get("service")
    if service:  # a backend may also be a resource, which is no workload
        port = service.get("port") or {}
        yield host, path, f"{namespace}/{service['name']}", port.get("number") or port["name"]


def _route(obj: Object) -> Iterator[Way]:
    spec = obj.get("spec") or {}
    for rule in spec.get("rules") or ():
        paths = [(m.get("path") or {}).get("value") or "/" for m in rule.get("matches") or ()]
        for backend in rule.get("backendRefs") or ():
            if backend.get("kind", "Service") == "Service":
                yield from _route_backend(obj, backend, paths or ["/"])


def _route_backend(obj: Object, backend: Mapping[str, Any], paths: Iterable[str]) -> Iterator[Way]:
    namespace = backend.get("namespace") or meta.namespace_of(obj) or "default"
    for host in (obj.get("spec") or {}).get("hostnames") or [""]:
        for path in paths:
            yield host, path, f"{namespace}/{backend['name']}", backend["port"]
