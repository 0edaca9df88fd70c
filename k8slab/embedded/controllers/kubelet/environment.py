"""The environment of a container: literal values, references, and Services.

Order and precedence are the kubelet's: Service variables first, then ``envFrom``, then
``env``; later ones win. ``$(NAME)`` in values, commands and arguments is replaced by a
variable defined before, and left as it is when there is none; ``$$`` is a literal dollar.
Sources: core/v1 ``EnvVar``, ``EnvFromSource``; the task page "Define Dependent
Environment Variables".
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.controllers.kubelet import resources
from k8slab.objects.meta import annotations_of, labels_of, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from k8slab.objects.meta import Object

    Lookup = Callable[[str, str], Object | None]


class ConfigError(Exception):
    """A container cannot be made from its spec; the message is the kubelet's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where values that are not literal come from."""

    pod: Object
    """With ``status.podIPs`` and ``status.hostIP`` as they are now."""
    find: Callable[[str, str], Object | None]
    """(``configmaps`` or ``secrets``, name) to the object in the pod's namespace."""
    services: tuple[Object, ...] = ()
    """Services of the pod's namespace and default/kubernetes."""


def build(container: Object, sources: Sources) -> dict[str, str]:
    """Return the environment of one container; raises `ConfigError`."""
    found: dict[str, str] = {}
    if sources.pod["spec"].get("enableServiceLinks", True):
        found.update(service_variables(sources.services, namespace_of(sources.pod)))
    for entry in container.get("envFrom") or ():
        found.update(_from_whole(entry, sources))
    for entry in container.get("env") or ():
        value = _value(entry, container, sources, found)
        if value is not None:
            found[entry["name"]] = value
    return found


_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` where `variables` has it, and ``$$`` by ``$``."""

    def replace(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return _REFERENCE.sub(replace, text)


def service_variables(services: Iterable[Object], namespace: str) -> dict[str, str]:
    """Return the variables that tell of Services (Docker link form), as pods of `namespace` see."""
    found: dict[str, str] = {}
    for service in services:
        address = service["spec"].get("clusterIP", "")
        if not address or address == "None":
            continue
        if namespace_of(service) != namespace and name_of(service) != "kubernetes":
            continue
        found.update(_variables_of(service, address))
    return found


def _variables_of(service: Object, address: str) -> dict[str, str]:
    prefix = name_of(service).upper().replace("-", "_").replace(".", "_")
    ports = service["spec"].get("ports") or ()
    if not ports:
        return {}
    found = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    shown = f"[{address}]" if ":" in address else address
    for index, port in enumerate(ports):
        protocol = port.get("protocol", "TCP")
        number = str(port["port"])
        url = f"{protocol.lower()}://{shown}:{number}"
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = number
        if index == 0:
            found[f"{prefix}_PORT"] = url
        stem = f"{prefix}_PORT_{number}_{protocol}"
        found[stem] = url
        found[f"{stem}_PROTO"] = protocol.lower()
        found[f"{stem}_PORT"] = number
        found[f"{stem}_ADDR"] = address
    return found


def _from_whole(entry: Object, sources: Sources) -> dict[str, str]:
    prefix = entry.get("prefix") or ""
    for field, resource, word in (
        ("configMapRef", "configmaps", "configmap"),
        ("secretRef", "secrets", "secret"),
    ):
        reference = entry.get(field)
        if reference is None:
            continue
        source = sources.find(resource, reference["name"])
        if source is None:
            if reference.get("optional"):
                return {}
            raise ConfigError(f'{word} "{reference["name"]}" not found')
        return {
            prefix + key: value.decode("utf-8", "replace") for key, value in data_of(source).items()
        }
    return {}


def data_of(source: Object) -> dict[str, bytes]:
    """Return the keys of a ConfigMap or Secret as bytes."""
    if source["kind"] == "Secret":
        return {key: base64.b64decode(text) for key, text in (source.get("data") or {}).items()}
    return {
        **{key: text.encode() for key, text in (source.get("data") or {}).items()},
        **{key: base64.b64decode(text) for key, text in (source.get("binaryData") or {}).items()},
    }


def _value(
    entry: Object, container: Object, sources: Sources, before: Mapping[str, str]
) -> str | None:
    """Return the value of one ``env`` entry; ``None`` for an optional reference to nothing."""
    reference = entry.get("valueFrom")
    if not reference:
        return expand(entry.get("value") or "", before)
    if "fieldRef" in reference:
        return field_of(sources.pod, reference["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in reference:
        return resources.field(reference["resourceFieldRef"], container, sources.pod)
    for field, resource, word, kind in (
        ("configMapKeyRef", "configmaps", "configmap", "ConfigMap"),
        ("secretKeyRef", "secrets", "secret", "Secret"),
    ):
        if field in reference:
            return _key(reference[field], sources, resource=resource, word=word, kind=kind)
    raise ConfigError(f"environment variable {entry['name']}: unknown source {sorted(reference)}")


def _key(reference: Object, sources: Sources, *, resource: str, word: str, kind: str) -> str | None:
    source = sources.find(resource, reference["name"])
    if source is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{word} "{reference["name"]}" not found')
    value = data_of(source).get(reference["key"])
    if value is None:
        if reference.get("optional"):
            return None
        place = f"{namespace_of(sources.pod)}/{reference['name']}"
        raise ConfigError(f"couldn't find key {reference['key']} in {kind} {place}")
    return value.decode("utf-8", "replace")


_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


def field_of(pod: Object, path: str) -> str:
    """Return what a ``fieldRef`` names; raises `ConfigError` for fields that cannot be named."""
    if found := _SUBSCRIPT.match(path):
        group = labels_of(pod) if found[1] == "labels" else annotations_of(pod)
        return group.get(found[2], "")
    spec, status = pod["spec"], pod.get("status") or {}
    addresses = [entry["ip"] for entry in status.get("podIPs") or ()]
    hosts = [entry["ip"] for entry in status.get("hostIPs") or ()]
    fields: dict[str, str] = {
        "metadata.name": name_of(pod),
        "metadata.namespace": namespace_of(pod),
        "metadata.uid": uid_of(pod),
        "metadata.labels": _lines(labels_of(pod)),
        "metadata.annotations": _lines(annotations_of(pod)),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": hosts[0] if hosts else "",
        "status.hostIPs": ",".join(hosts),
        "status.podIP": addresses[0] if addresses else "",
        "status.podIPs": ",".join(addresses),
    }
    if path not in fields:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return fields[path]


def _lines(pairs: Mapping[str, str]) -> str:
    """Write labels or annotations as a downward API file has them."""
    return "\n".join(f'{key}="{_escape(value)}"' for key, value in sorted(pairs.items()))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
