"""One object of an audit, with the place that it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.audit.finding import Check, Finding
from k8slab.objects import meta

if TYPE_CHECKING:
    from k8slab.objects.manifests import Manifest
    from k8slab.objects.meta import Object

POLICIES = ("NetworkPolicy", "ClusterNetworkPolicy", "GlobalNetworkPolicy")
CALICO = "projectcalico.org"
"""The group of its policies, which has a NetworkPolicy too; "crd." may stand before it."""
CLUSTER_WIDE = ("Namespace", "Node", "ClusterNetworkPolicy", "GlobalNetworkPolicy")


@dataclass(frozen=True, slots=True)
class Source:
    """One object with its place; `subject` is how findings name it."""

    object: Object
    manifest: Manifest | None

    @classmethod
    def of(cls, item: Manifest | Object) -> Source:
        """Take an object as it came, from a file or from a cluster."""
        return cls(item, None) if isinstance(item, dict) else cls(item.object, item)

    @property
    def kind(self) -> str:
        """Return the object's kind."""
        return str(self.object.get("kind"))

    @property
    def label(self) -> str:
        """Return ``namespace/name``, or the name of what belongs to the whole cluster."""
        name = meta.name_of(self.object)
        if self.kind in CLUSTER_WIDE:
            return name
        return f"{meta.namespace_of(self.object) or 'default'}/{name}"

    @property
    def of_calico(self) -> bool:
        """Say whether it is one of Calico's own policies."""
        group, _, _ = str(self.object.get("apiVersion")).partition("/")
        return group.endswith(CALICO) and self.kind in POLICIES

    @property
    def subject(self) -> str:
        """Return kind and label, which is also the key of a policy in the estate."""
        if self.of_calico:
            return f"{self.kind}.{CALICO} {self.label}"
        return f"{self.kind} {self.label}"

    @property
    def named(self) -> bool:
        """Say whether the object has a name (one that is generated is none)."""
        return bool(meta.name_of(self.object))

    def finding(self, check: Check, message: str, path: str = "", remedy: str = "") -> Finding:
        """Say something about a field of this object."""
        return Finding(check, self.subject, message, path, remedy, self.manifest)
