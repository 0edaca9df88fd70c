"""Check where a container's variables come from, and which fields of its pod it may be told.

Source: ``validateEnvVarValueFrom``, ``ValidateEnvFrom``, ``validateObjectFieldSelector`` and
``validateContainerResourceFieldSelector`` of ``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    each,
    invalid,
    not_supported,
    required,
)
from k8slab.embedded.apiserver.validation import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.objects.meta import Object

OF_VARIABLES = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
"""The fields of a pod that a variable may have."""

OF_FILES = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
"""The fields of a pod that a file may have."""

_KNOWN = frozenset(
    {*OF_VARIABLES, *OF_FILES, "spec.restartPolicy", "spec.schedulerName", "status.phase"}
)
"""Those that have a name for this at all (ConvertDownwardAPIFieldLabel)."""

AMOUNTS = tuple(
    f"{part}.{name}"
    for part in ("limits", "requests")
    for name in ("cpu", "ephemeral-storage", "memory")
)
PAGES = ("limits.hugepages-", "requests.hugepages-")

_NAME = re.compile(r"[ -<>-~]+\Z")
_NAME_MESSAGE = (
    "a valid environment variable name must consist only of printable ASCII characters other "
    "than '='"
)
_SUBSCRIPT = re.compile(r"(metadata\.(?:annotations|labels))\['(.*)'\]\Z", re.DOTALL)
_KINDS = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def env_errors(variables: list[Object], path: str) -> list[FieldError]:
    """Return what is wrong with a container's ``env``."""
    errors: list[FieldError] = []
    for number, variable in each(variables, errors):
        where = f"{path}[{number}]"
        name = variable.get("name") or ""
        if not name:
            errors.append(required(f"{where}.name"))
        elif not _NAME.match(name):
            errors.append(invalid(f"{where}.name", name, _NAME_MESSAGE))
        if (source := variable.get("valueFrom")) is not None:
            errors += _value_errors(variable, source, f"{where}.valueFrom")
    return errors


def _value_errors(variable: Object, source: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if (reference := source.get(kind)) is not None:
            errors += _key_errors(reference, f"{path}.{kind}")
    if (chosen := source.get("fieldRef")) is not None:
        errors += field_errors(chosen, OF_VARIABLES, f"{path}.fieldRef")
    if (chosen := source.get("resourceFieldRef")) is not None:
        errors += amount_errors(chosen, f"{path}.resourceFieldRef", of_file=False)
    given = [kind for kind in _KINDS if source.get(kind) is not None]
    if not given:
        kinds = ", ".join(f"`{kind}`" for kind in _KINDS[:-1])
        why = f"must specify one of: {kinds} or `{_KINDS[-1]}`"
        errors.append(invalid(path, "", why))
    elif variable.get("value"):
        why = "may not be specified when `value` is not empty"
        errors.append(invalid(path, "", why))
    elif len(given) > 1:
        why = "may not have more than one field specified at a time"
        errors.append(invalid(path, "", why))
    return errors


def _key_errors(reference: Object, path: str) -> list[FieldError]:
    name, key = reference.get("name") or "", reference.get("key") or ""
    errors = [invalid(f"{path}.name", name, why) for why in names.dns_subdomain(name)]
    if not key:
        return [*errors, required(f"{path}.key")]
    return errors + [invalid(f"{path}.key", key, why) for why in names.config_key(key)]


def env_from_errors(sources: list[Object], path: str) -> list[FieldError]:
    """Return what is wrong with a container's ``envFrom``."""
    errors: list[FieldError] = []
    for number, source in each(sources, errors):
        where = f"{path}[{number}]"
        prefix = source.get("prefix") or ""
        if prefix and not _NAME.match(prefix):
            errors.append(invalid(f"{where}.prefix", prefix, _NAME_MESSAGE))
        given = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        for kind in given:
            name = source[kind].get("name") or ""
            if not name:
                errors.append(required(f"{where}.{kind}.name"))
            else:
                wrong = names.dns_subdomain(name)
                errors += [invalid(f"{where}.{kind}.name", name, why) for why in wrong]
        if not given:
            why = "must specify one of: `configMapRef` or `secretRef`"
            errors.append(invalid(path, "", why))
        elif len(given) > 1:
            why = "may not have more than one field specified at a time"
            errors.append(invalid(path, "", why))
    return errors


def field_errors(chosen: Object, supported: Sequence[str], path: str) -> list[FieldError]:
    """Return what is wrong with a ``fieldRef``."""
    name = chosen.get("fieldPath") or ""
    where = f"{path}.fieldPath"
    if not name:
        return [required(where)]
    if found := _SUBSCRIPT.match(name):
        key = found[2].lower() if found[1].endswith("annotations") else found[2]
        return [invalid(path, key, why) for why in names.qualified_name(key)]
    if name not in _KNOWN:
        why = f"error converting fieldPath: field label not supported: {name}"
        return [invalid(where, name, why)]
    return [] if name in supported else [not_supported(where, name, supported)]


def amount_errors(chosen: Object, path: str, *, of_file: bool) -> list[FieldError]:
    """Return what is wrong with a ``resourceFieldRef``; one of a file names its container."""
    name = chosen.get("resource") or ""
    if of_file and not chosen.get("containerName"):
        return [required(f"{path}.containerName")]
    if not name:
        return [required(f"{path}.resource")]
    if name in AMOUNTS or name.startswith(PAGES):
        return []
    return [not_supported(f"{path}.resource", name, AMOUNTS)]
