"""Compile the schemas of the served kinds from the models of the `kubernetes` package.

The daemon reads only tables, one line for each type; the models would cost it 87 MB.
``tools/generate.py`` writes ``schema_table.json``. ``text_table.json`` holds the API's own
documentation, which ``kubectl explain`` shows. It is not ours, so it is not part of this project:
`make setup` runs ``python -m k8slab.embedded.apiserver.schema_build``, which takes it from the
installed package. Without it everything works, and nothing is explained.

A type is ``{"f": {field: type}, "r": [required fields]}``, its texts are ``[description, {field:
description}]``. A field's type is a word (``string``, ``integer``, ``number``, ``boolean``,
``object`` for anything, ``time``, ``bytes``, ``quantity``, ``intstr``) or the name of a type, with
``[`` before it for a list and ``{`` for a map.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson

from k8slab.embedded.apiserver import cluster_policies
from k8slab.embedded.apiserver.kinds import KindTable

TABLE = Path(__file__).with_name("schema_table.json")
TEXTS = Path(__file__).with_name("text_table.json")

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
META_TYPES = frozenset(
    {
        "Condition",
        "DeleteOptions",
        "FieldSelectorRequirement",
        "LabelSelector",
        "LabelSelectorRequirement",
        "ListMeta",
        "ManagedFieldsEntry",
        "ObjectMeta",
        "OwnerReference",
        "Preconditions",
        "Status",
        "StatusCause",
        "StatusDetails",
    }
)

CORE_TYPES = frozenset({"TopologySelectorTerm", "TopologySelectorLabelRequirement"})
"""Types of core/v1 that only other groups refer to."""

EXTRA_ROOTS = (
    ("autoscaling", "v1", "Scale"),
    ("policy", "v1", "Eviction"),
    ("authentication.k8s.io", "v1", "TokenRequest"),
    ("", "v1", "DeleteOptions"),
    ("", "v1", "Status"),
)

WORDS = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "object": "object",
    "bytes": "bytes",
    "bytearray": "bytes",
    "datetime": "time",
    "date": "time",
}

QUANTITIES = frozenset(
    {
        "ResourceRequirements.limits",
        "ResourceRequirements.requests",
        "VolumeResourceRequirements.limits",
        "VolumeResourceRequirements.requests",
        "PodSpec.overhead",
        "PodStatus.allocatedResources",
        "ContainerStatus.allocatedResources",
        "NodeStatus.capacity",
        "NodeStatus.allocatable",
        "PersistentVolumeSpec.capacity",
        "PersistentVolumeClaimStatus.capacity",
        "PersistentVolumeClaimStatus.allocatedResources",
        "EmptyDirVolumeSource.sizeLimit",
        "ResourceFieldSelector.divisor",
    }
)
"""Fields of type ``resource.Quantity``, which the models show as text."""

INT_OR_STRING = frozenset(
    {
        "ServicePort.targetPort",
        "HTTPGetAction.port",
        "TCPSocketAction.port",
        "NetworkPolicyPort.port",
        "RollingUpdateDeployment.maxSurge",
        "RollingUpdateDeployment.maxUnavailable",
        "RollingUpdateDaemonSet.maxSurge",
        "RollingUpdateDaemonSet.maxUnavailable",
        "RollingUpdateStatefulSetStrategy.maxUnavailable",
        "PodDisruptionBudgetSpec.maxUnavailable",
        "PodDisruptionBudgetSpec.minAvailable",
    }
)
"""Fields of type ``intstr.IntOrString``, which the models show as anything."""

BYTES = frozenset({"Secret.data", "ConfigMap.binaryData"})
"""Maps of base64 text."""


def build() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the table for all served kinds and what their fields refer to, and its texts."""
    return split(_rows())


def split(rows: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part rows into what the daemon always needs and their texts."""
    table: dict[str, Any] = {}
    for name, row in rows.items():
        table[name] = {"f": {field: spelled for field, (spelled, _) in row["f"].items()}}
        if "r" in row:
            table[name]["r"] = row["r"]
    texts = {
        name: [row["d"], {field: said for field, (_, said) in row["f"].items() if said}]
        for name, row in rows.items()
    }
    return table, texts


def _rows() -> dict[str, Any]:
    """Return each type with its texts: ``{"d", "f": {field: [type, text]}, "r"}``."""
    from kubernetes.client import models  # noqa: PLC0415  a second, and only here

    roots = [(kind.group, kind.version, kind.kind) for kind in KindTable.built_in().rows.values()]
    table: dict[str, Any] = {}
    names: dict[str, str] = {}
    waiting: list[tuple[str, str]] = []
    table |= cluster_policies.types()
    for group, version, kind in (*EXTRA_ROOTS, *roots):
        if group == cluster_policies.GROUP:
            continue
        model = _root_model(models, group, version, kind)
        names.setdefault(model, _type_name(_package(group, version), kind))
        waiting.append((model, names[model]))
    while waiting:
        model, name = waiting.pop(0)
        if name in table:
            continue
        table[name] = _type(getattr(models, model), name, names, waiting)
    return dict(sorted(table.items()))


def _root_model(models: Any, group: str, version: str, kind: str) -> str:
    prefix = group.partition(".")[0].capitalize() or "Core"
    for candidate in (f"{prefix}{version.capitalize()}{kind}", f"{version.capitalize()}{kind}"):
        if hasattr(models, candidate):
            return candidate
    raise LookupError(f"the kubernetes package has no model of {kind} in {group}/{version}")


def _package(group: str, version: str) -> str:
    return f"io.k8s.api.{group.partition('.')[0] or 'core'}.{version}"


def _type_name(package: str, word: str) -> str:
    if word in META_TYPES:
        return f"{META}.{word}"
    return f"io.k8s.api.core.v1.{word}" if word in CORE_TYPES else f"{package}.{word}"


def _type(
    model: Any, name: str, names: dict[str, str], waiting: list[tuple[str, str]]
) -> dict[str, Any]:
    package, _, word = name.rpartition(".")
    fields: dict[str, list[str]] = {}
    required = []
    details = {info.serialization_alias or key: info for key, info in model.model_fields.items()}
    for attribute, declared in sorted(model.openapi_types.items()):
        field = model.attribute_map[attribute]
        spelled = _spell(declared, package, names, waiting)
        path = f"{word}.{field}"
        if path in QUANTITIES:
            spelled = spelled.replace("string", "quantity")
        elif path in INT_OR_STRING:
            spelled = "intstr"
        elif path in BYTES:
            spelled = "{bytes"
        info = details[field]
        fields[field] = [spelled, (info.description or "").strip()]
        if info.is_required():
            required.append(field)
    made: dict[str, Any] = {"d": _described(model), "f": fields}
    if required:
        made["r"] = sorted(required)
    return made


def _spell(
    declared: str, package: str, names: dict[str, str], waiting: list[tuple[str, str]]
) -> str:
    if found := re.fullmatch(r"List\[(.*)\]", declared):
        return "[" + _spell(found[1], package, names, waiting)
    if found := re.fullmatch(r"Dict\[str, (.*)\]", declared):
        return "{" + _spell(found[1], package, names, waiting)
    if declared in WORDS:
        return WORDS[declared]
    if declared not in names:
        word = re.sub(r"^([A-Z][a-z]+)?V\d+((alpha|beta)\d+)?(?=[A-Z])", "", declared)
        # A type that core refers to from another group belongs to core.
        names[declared] = _type_name(package if not package.startswith(META) else META, word)
        waiting.append((declared, names[declared]))
    return names[declared]


def _described(model: Any) -> str:
    text = (model.__doc__ or "").partition("Attributes:")[0]
    return " ".join(text.split())


def text(table: dict[str, Any]) -> bytes:
    """Return the file's content: one line for each type."""
    lines = [orjson.dumps(name) + b":" + orjson.dumps(row) for name, row in table.items()]
    return b"{\n" + b",\n".join(lines) + b"\n}\n"


if __name__ == "__main__":
    TEXTS.write_bytes(text(build()[1]))
