"""Which objects of a list or watch are wanted: namespace, label selector, field selector.

Source of the field names: the ``SelectableFields`` functions of kube-apiserver's registries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.statuses import invalid
from k8slab.embedded.apiserver.validation.names import label_value, qualified_name
from k8slab.errors import UsageError
from k8slab.objects import selectors
from k8slab.objects.meta import labels_of, namespace_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        *(f"involvedObject.{field}" for field in _INVOLVED),
        *(f"regarding.{field}" for field in _INVOLVED),
        "reason",
        "reportingComponent",
        "reportingController",
        "source",
        "type",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicasets.apps": ("status.replicas",),
    "replicationcontrollers": ("status.replicas",),
    "jobs.batch": ("status.successful",),
}

_ALWAYS = ("metadata.name", "metadata.namespace")
"""What selects objects of every kind."""

_PATHS = {
    "source": ("source", "component"),
    "reportingController": ("reportingComponent",),
    "status.successful": ("status", "succeeded"),
}

_ZERO = {"spec.hostNetwork": "false", "spec.unschedulable": "false"}
"""How an absent field reads where it is not empty text."""

_TERM = re.compile(r"\s*([^=!,\s]+)\s*(==|=|!=)\s*(.*?)\s*\Z")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one field."""

    field: str
    equal: bool
    value: str

    def matches(self, obj: Object) -> bool:
        """Say whether the object fulfils this condition."""
        return (field_text(obj, self.field) == self.value) is self.equal


@dataclass(frozen=True, slots=True)
class Selection:
    """What a request selects."""

    namespace: str = ""
    labels: selectors.Selector = selectors.EVERYTHING
    terms: tuple[Term, ...] = ()

    @property
    def is_filtered(self) -> bool:
        """Say whether there is any selector besides the namespace."""
        return bool(self.labels.requirements or self.terms)

    def matches(self, obj: Object) -> bool:
        """Say whether the object is selected."""
        if self.namespace and namespace_of(obj) != self.namespace:
            return False
        if self.labels.requirements and not self.labels.matches(labels_of(obj)):
            return False
        return all(term.matches(obj) for term in self.terms)


def field_text(obj: Object, name: str) -> str:
    """Return a selectable field as text, as the server compares it."""
    if name.startswith("regarding."):
        name = name.replace("regarding", "involvedObject", 1)
    value: Any = obj
    for part in _PATHS.get(name, tuple(name.split("."))):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "0" if name in ("status.replicas", "status.successful") else _ZERO.get(name, "")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def selection_of(request: Request, kind: Kind, namespace: str, name: str = "") -> Selection:
    """Read ``labelSelector`` and ``fieldSelector``; 400 for what cannot be."""
    labels_text, fields_text = (
        request.parameter("labelSelector"),
        request.parameter("fieldSelector"),
    )
    if not (labels_text or fields_text or name):
        return Selection(namespace)
    try:
        labels = selectors.from_text(labels_text)
    except UsageError as error:
        raise statuses.bad_request(error.message) from error
    _check_labels(labels)
    terms = [Term("metadata.name", equal=True, value=name)] if name else []
    terms += [_term(part, fields_text, kind) for part in fields_text.split(",") if part.strip()]
    return Selection(namespace, labels, tuple(terms))


def _check_labels(wanted: selectors.Selector) -> None:
    """Refuse keys and values that no label can have."""
    for requirement in wanted.requirements:
        errors = [invalid("<nil>", requirement.key, why) for why in qualified_name(requirement.key)]
        for place, value in enumerate(requirement.values):
            path = f"values[{place}][{requirement.key}]"
            errors += [invalid(path, value, why) for why in label_value(value)]
        if errors:
            raise statuses.bad_request(f"unable to parse requirement: {errors[0]}")


def _term(part: str, whole: str, kind: Kind) -> Term:
    found = _TERM.match(part)
    if not found:
        raise statuses.bad_request(f"invalid selector: '{whole}'; can't understand '{part}'")
    name, operator, value = found.groups()
    known = kind.custom.selectable if kind.custom else _FIELDS.get(kind.storage, ())
    if name not in (*_ALWAYS, *known):
        raise statuses.bad_request(_unknown(name, kind))
    return Term(name, operator != "!=", value)


def _unknown(name: str, kind: Kind) -> str:
    """Say that a field selects nothing, as the conversion of the kind does."""
    if kind.kind == "Job":
        return f'field label "{name}" not supported for Job'
    if kind.custom or kind.storage in _FIELDS:
        return f"field label not supported: {name}"
    only = ", ".join(f'"{field}"' for field in _ALWAYS)
    return f'"{name}" is not a known field selector: only {only}'
