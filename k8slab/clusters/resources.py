"""Where an API server keeps each kind: from ``pods``, ``deploy`` or ``Service`` to a path.

The kinds of Kubernetes itself stand in a table; any other (a CustomResourceDefinition's)
is looked up by discovery and remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.errors import ApiStatusError, UsageError

if TYPE_CHECKING:
    from k8slab.clusters.rest import Rest
    from k8slab.objects.meta import Object


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as the API serves it."""

    version: str
    """``v1`` or ``group/version``, as in `apiVersion`."""
    plural: str
    kind: str
    namespaced: bool = True
    short: str = ""
    verbs: tuple[str, ...] = ()
    """What discovery says can be done; empty for what stands in the table."""

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, of one object, or of a part of it."""
        root = f"/api/{self.version}" if "/" not in self.version else f"/apis/{self.version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, name, subresource]
        return "/".join(part for part in parts if part)

    @property
    def group(self) -> str:
        """Return the API group; empty for the core."""
        return self.version.partition("/")[0] if "/" in self.version else ""


def _table() -> list[Resource]:
    core = [
        ("pods", "Pod", "po"),
        ("services", "Service", "svc"),
        ("endpoints", "Endpoints", "ep"),
        ("configmaps", "ConfigMap", "cm"),
        ("secrets", "Secret", ""),
        ("serviceaccounts", "ServiceAccount", "sa"),
        ("replicationcontrollers", "ReplicationController", "rc"),
        ("persistentvolumeclaims", "PersistentVolumeClaim", "pvc"),
        ("limitranges", "LimitRange", "limits"),
        ("resourcequotas", "ResourceQuota", "quota"),
        ("events", "Event", "ev"),
    ]
    grouped = [
        ("apps/v1", "deployments", "Deployment", "deploy"),
        ("apps/v1", "replicasets", "ReplicaSet", "rs"),
        ("apps/v1", "statefulsets", "StatefulSet", "sts"),
        ("apps/v1", "daemonsets", "DaemonSet", "ds"),
        ("batch/v1", "jobs", "Job", ""),
        ("batch/v1", "cronjobs", "CronJob", "cj"),
        ("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", ""),
        ("coordination.k8s.io/v1", "leases", "Lease", ""),
        ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", "netpol"),
        ("networking.k8s.io/v1", "ingresses", "Ingress", "ing"),
        ("rbac.authorization.k8s.io/v1", "roles", "Role", ""),
        ("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", ""),
    ]
    global_ones = [
        ("v1", "namespaces", "Namespace", "ns"),
        ("v1", "nodes", "Node", "no"),
        (
            "policy.networking.k8s.io/v1alpha2",
            "clusternetworkpolicies",
            "ClusterNetworkPolicy",
            "cnp",
        ),
        *(
            ("admissionregistration.k8s.io/v1", f"{kind.lower()}s", kind, "")
            for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        ),
        ("networking.k8s.io/v1", "ingressclasses", "IngressClass", ""),
        ("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", ""),
        ("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding", ""),
        ("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", "crd"),
    ]
    return [
        *(Resource("v1", plural, kind, short=short) for plural, kind, short in core),
        *(Resource(version, plural, kind, short=short) for version, plural, kind, short in grouped),
        *(
            Resource(version, plural, kind, namespaced=False, short=short)
            for version, plural, kind, short in global_ones
        ),
    ]


_KNOWN: dict[str, Resource] = {
    word: resource
    for resource in _table()
    for word in (
        resource.plural,
        resource.kind.lower(),
        resource.short,
        f"{resource.plural}.{resource.group}",
    )
    if word
}


class Resources:
    """Finds resources by what people and manifests call them."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._found: dict[tuple[str, str], Resource] = {}
        self._all: list[Resource] | None = None

    def named(self, word: str) -> Resource:
        """Return the resource behind ``plural.group``, a plural, a kind or a short name."""
        key = word.lower()
        if resource := _KNOWN.get(key):
            return resource
        known_before = self._all is not None
        if found := self._search(key):
            return found
        if known_before:
            self._all = None  # somebody may have defined it since
            if found := self._search(key):
                return found
        raise UsageError(
            f"the cluster has no resource {word!r}", hint="`kubectl api-resources` lists them"
        )

    def _search(self, key: str) -> Resource | None:
        plural, _, group = key.partition(".")
        for resource in self._discovered():
            names = (resource.plural, resource.kind.lower(), resource.short)
            if plural in names and resource.group.startswith(group):
                return resource
        return None

    def of(self, obj: Object) -> Resource:
        """Return the resource of a manifest's `apiVersion` and `kind`."""
        version, kind = obj["apiVersion"], obj["kind"]
        known = _KNOWN.get(kind.lower())
        if known and known.version == version:
            return known
        if (version, kind) not in self._found:
            for resource in self._of_version(version):
                self._found[version, resource.kind] = resource
        if found := self._found.get((version, kind)):
            return found
        raise UsageError(
            f"the cluster does not serve {kind} in {version}",
            hint="`kubectl api-resources` lists what it serves",
        )

    def makeable(self) -> list[Resource]:
        """Return every kind in a namespace of which objects can be made and listed, once each."""
        return [
            found
            for found in self._discovered()
            if found.namespaced and {"create", "list"} <= set(found.verbs)
        ]

    def _of_version(self, version: str) -> list[Resource]:
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        try:
            listed = self._rest.get(root)["resources"]
        except ApiStatusError as error:
            if error.code == 404:
                return []
            raise
        return [
            Resource(
                version,
                entry["name"],
                entry["kind"],
                entry["namespaced"],
                next(iter(entry.get("shortNames") or ()), ""),
                tuple(entry.get("verbs") or ()),
            )
            for entry in listed
            if "/" not in entry["name"]
        ]

    def _discovered(self) -> list[Resource]:
        if self._all is None:
            groups = self._rest.get("/apis")["groups"]
            versions = ["v1", *(group["preferredVersion"]["groupVersion"] for group in groups)]
            self._all = [found for version in versions for found in self._of_version(version)]
        return self._all
