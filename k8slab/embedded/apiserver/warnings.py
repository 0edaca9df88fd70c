"""Warnings: what works and should not be used, or is there and has no effect.

A client shows the ``Warning`` headers of an answer; kubectl prints each once. Sources:
``WarningsOnCreate`` and ``WarningsOnUpdate`` of the registry strategies, ``pkg/api/*/warnings.go``
and the deprecated versions of ``k8s.io/api``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.validation import names
from k8slab.objects.meta import annotations_of
from k8slab.objects.quantities import number as quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

DEPRECATED_KINDS = {
    "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
"""Told with every answer about these resources."""

INGRESS_CLASS = "kubernetes.io/ingress.class"
TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
KNOWN_FINALIZERS = ("foregroundDeletion", "kubernetes", "orphan")

_NAMING = frozenset(
    {
        "cronjobs.batch",
        "deployments.apps",
        "jobs.batch",
        "pods",
        "replicasets.apps",
        "replicationcontrollers",
    }
)
"""Kinds whose names become those of pods."""

_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}


def about(kind: Kind, obj: Object, *, new: bool) -> list[str]:
    """Return the warnings for an object that was written; `new` when it was created."""
    found = [*_finalizers(obj), *_name(kind.resource, obj)] if new else []
    if kind.resource == "ingresses.networking.k8s.io" and new:
        found += _ingress(obj)
    elif check := _CHECKS.get(kind.resource):
        found += check(obj)
    return found


def _finalizers(obj: Object) -> Iterator[str]:
    for name in obj["metadata"].get("finalizers") or ():
        if "/" not in name and name not in KNOWN_FINALIZERS:
            yield (
                f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name '
                "including a path (/) to avoid accidental conflicts with other finalizer writers"
            )


def _name(resource: str, obj: Object) -> Iterator[str]:
    """Tell of a name that pods and hosts get, but that is no label of DNS."""
    use = "the Pod's hostname" if resource == "pods" else "Pod names and hostnames"
    wrong = names.dns_label(obj["metadata"].get("name") or "") if resource in _NAMING else []
    if wrong:
        yield (
            f"metadata.name: this is used in {use}, which can result in surprising behavior; "
            f"a DNS label is recommended: [{' '.join(wrong)}]"
        )


def _ingress(obj: Object) -> Iterator[str]:
    if INGRESS_CLASS in annotations_of(obj) and not obj["spec"].get("ingressClassName"):
        yield (
            f'annotation "{INGRESS_CLASS}" is deprecated, please use '
            "'spec.ingressClassName' instead"
        )


def _service(obj: Object) -> Iterator[str]:
    spec = obj["spec"]
    kind, external = spec.get("type"), spec.get("externalIPs")
    if TOPOLOGY_HINTS in annotations_of(obj):
        yield f"annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"
    headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    if headless:
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if external:
            yield "spec.externalIPs is ignored for headless services"
        if spec.get("sessionAffinity", "None") != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    elif external and kind != "ExternalName":
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if kind == "ExternalName" and external:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if kind != "ExternalName" and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def _pod(obj: Object) -> Iterator[str]:
    return _pod_spec(obj["spec"], "spec")


def _template(obj: Object) -> Iterator[str]:
    return _pod_spec(obj["spec"]["template"]["spec"], "spec.template.spec")


def _pod_spec(spec: Object, path: str) -> Iterator[str]:
    for label in spec.get("nodeSelector") or ():
        if label in _LABELS:
            since, instead = _LABELS[label]
            yield f'{path}.nodeSelector[{label}]: deprecated since {since}; use "{instead}" instead'
    yield from _repeated(spec, "hostAliases", "ip", path)
    yield from _repeated(spec, "imagePullSecrets", "name", path)
    ports: dict[tuple, str] = {}
    for field in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(field) or ()):
            where = f"{path}.{field}[{number}]"
            yield from _hidden_variables(container, where)
            yield from _fractions(container.get("resources") or {}, f"{where}.resources")
            for place, port in enumerate(container.get("ports") or ()):
                key = tuple(
                    port.get(f) for f in ("containerPort", "protocol", "hostIP", "hostPort")
                )
                if key in ports:
                    yield f"{where}.ports[{place}]: duplicate port definition with {ports[key]}"
                ports.setdefault(key, f"{where}.ports[{place}]")


def _fractions(resources: Object, path: str) -> Iterator[str]:
    """Tell of parts of bytes: who writes ``128m`` meant ``128Mi``."""
    for resource in ("memory", "ephemeral-storage"):
        for part in ("limits", "requests"):
            amount = (resources.get(part) or {}).get(resource)
            if amount is not None and quantity(amount) % 1:
                where = f"{path}.{part}[{resource}]"
                yield f'{where}: fractional byte value "{amount}" is invalid, must be an integer'


def _repeated(spec: Object, field: str, key: str, path: str) -> Iterator[str]:
    seen = set()
    for number, item in enumerate(spec.get(field) or ()):
        value = item.get(key)
        if value in seen:
            yield f'{path}.{field}[{number}].{key}: duplicate {key} "{value}"'
        seen.add(value)


def _hidden_variables(container: Object, where: str) -> Iterator[str]:
    seen = set()
    for number, variable in enumerate(container.get("env") or ()):
        name, value = variable["name"], variable.get("value") or ""
        extends = f"$({name})" in value and value != f"$({name})"
        if name in seen and not extends:
            yield (
                f'{where}.env[{number}]: hides previous definition of "{name}", '
                "which may be dropped when using apply"
            )
        seen.add(name)


_CHECKS: dict[str, Callable[[Object], Iterator[str]]] = {
    "services": _service,
    "pods": _pod,
    **dict.fromkeys(
        (
            "daemonsets.apps",
            "deployments.apps",
            "jobs.batch",
            "replicasets.apps",
            "statefulsets.apps",
        ),
        _template,
    ),
}
