"""The one table of served kinds: discovery, routes, store, OpenAPI and printers derive from it.

Source of plurals, short names and categories: the registry strategies of kube-apiserver, as
``kubectl api-resources -o wide`` prints them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.custom.resource import Version

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE_ONLY = ("create",)
PROXY_VERBS = ("create", "delete", "get", "patch", "update")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subresource:
    """A path below an object; `kind` is what its body holds."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One served resource in one version."""

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str
    singular: str = ""
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    verbs: tuple[str, ...] = VERBS
    subresources: tuple[Subresource, ...] = ()
    stored_as: str = ""
    """The resource whose objects these are, where it is not this one (events.k8s.io)."""
    custom: Version | None = None
    """What a CustomResourceDefinition says of this version; ``None`` for built-in kinds."""

    @property
    def resource(self) -> str:
        """Return ``plural`` or ``plural.group``: the name in `Store` and `Api`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def storage(self) -> str:
        """Return the resource under which the objects are stored."""
        return self.stored_as or self.resource

    @property
    def api_version(self) -> str:
        """Return ``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def stored_api_version(self) -> str:
        """Return the ``apiVersion`` that stored objects carry."""
        if self.custom:
            return self.custom.stored_as
        group = self.stored_as.partition(".")[2] if self.stored_as else self.group
        return f"{group}/{self.version}" if group else self.version

    @property
    def singular_name(self) -> str:
        """Return the singular: the kind in lower case."""
        return self.singular or self.kind.lower()

    def subresource(self, name: str) -> Subresource | None:
        """Return the subresource of this name, or ``None``."""
        return next((sub for sub in self.subresources if sub.name == name), None)

    @property
    def has_status(self) -> bool:
        """Say whether status is written apart from the rest."""
        return self.subresource("status") is not None


def _status(kind: str) -> Subresource:
    return Subresource(name="status", kind=kind, verbs=("get", "patch", "update"))


_SCALE = Subresource(
    name="scale", kind="Scale", verbs=("get", "patch", "update"), group="autoscaling", version="v1"
)


def _core(plural: str, kind: str, *short: str, **more: object) -> Kind:
    return Kind(plural=plural, kind=kind, short=short, **more)  # type: ignore[arg-type]


def _of(group: str, plural: str, kind: str, *short: str, **more: object) -> Kind:
    return Kind(group=group, plural=plural, kind=kind, short=short, **more)  # type: ignore[arg-type]


_CORE = (
    _core("bindings", "Binding", verbs=CREATE_ONLY),
    _core("configmaps", "ConfigMap", "cm"),
    _core("endpoints", "Endpoints", "ep", singular="endpoints"),
    _core("events", "Event", "ev"),
    _core(
        "namespaces",
        "Namespace",
        "ns",
        namespaced=False,
        verbs=tuple(verb for verb in VERBS if verb != "deletecollection"),
        subresources=(
            Subresource(name="finalize", kind="Namespace", verbs=("update",)),
            _status("Namespace"),
        ),
    ),
    _core("nodes", "Node", "no", namespaced=False, subresources=(_status("Node"),)),
    _core(
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        "pvc",
        subresources=(_status("PersistentVolumeClaim"),),
    ),
    _core(
        "persistentvolumes",
        "PersistentVolume",
        "pv",
        namespaced=False,
        subresources=(_status("PersistentVolume"),),
    ),
    _core(
        "pods",
        "Pod",
        "po",
        categories=("all",),
        subresources=(
            Subresource(name="attach", kind="PodAttachOptions", verbs=("create", "get")),
            Subresource(name="binding", kind="Binding", verbs=("create",)),
            Subresource(name="ephemeralcontainers", kind="Pod", verbs=("get", "patch", "update")),
            Subresource(
                name="eviction", kind="Eviction", verbs=("create",), group="policy", version="v1"
            ),
            Subresource(name="exec", kind="PodExecOptions", verbs=("create", "get")),
            Subresource(name="log", kind="Pod", verbs=("get",)),
            Subresource(name="portforward", kind="PodPortForwardOptions", verbs=("create", "get")),
            Subresource(name="proxy", kind="PodProxyOptions", verbs=PROXY_VERBS),
            Subresource(name="resize", kind="Pod", verbs=("get", "patch", "update")),
            _status("Pod"),
        ),
    ),
    _core("podtemplates", "PodTemplate"),
    _core(
        "replicationcontrollers",
        "ReplicationController",
        "rc",
        categories=("all",),
        subresources=(_SCALE, _status("ReplicationController")),
    ),
    _core("secrets", "Secret"),
    _core(
        "serviceaccounts",
        "ServiceAccount",
        "sa",
        subresources=(
            Subresource(
                name="token",
                kind="TokenRequest",
                verbs=("create",),
                group="authentication.k8s.io",
                version="v1",
            ),
        ),
    ),
    _core(
        "services",
        "Service",
        "svc",
        categories=("all",),
        subresources=(
            Subresource(name="proxy", kind="ServiceProxyOptions", verbs=PROXY_VERBS),
            _status("Service"),
        ),
    ),
)

_APPS = (
    _of("apps", "controllerrevisions", "ControllerRevision"),
    _of(
        "apps",
        "daemonsets",
        "DaemonSet",
        "ds",
        categories=("all",),
        subresources=(_status("DaemonSet"),),
    ),
    *(
        _of(
            "apps",
            plural,
            kind,
            short,
            categories=("all",),
            subresources=(_SCALE, _status(kind)),
        )
        for plural, kind, short in (
            ("deployments", "Deployment", "deploy"),
            ("replicasets", "ReplicaSet", "rs"),
            ("statefulsets", "StatefulSet", "sts"),
        )
    ),
)

_RBAC = "rbac.authorization.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"

_OTHERS = (
    *(
        _of(
            "admissionregistration.k8s.io",
            kind.lower() + "s",
            kind,
            categories=("api-extensions",),
            namespaced=False,
        )
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    ),
    _of(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "crd",
        "crds",
        categories=("api-extensions",),
        namespaced=False,
        subresources=(_status("CustomResourceDefinition"),),
    ),
    _of(
        "batch",
        "cronjobs",
        "CronJob",
        "cj",
        categories=("all",),
        subresources=(_status("CronJob"),),
    ),
    _of("batch", "jobs", "Job", categories=("all",), subresources=(_status("Job"),)),
    _of("coordination.k8s.io", "leases", "Lease"),
    _of("discovery.k8s.io", "endpointslices", "EndpointSlice"),
    _of("events.k8s.io", "events", "Event", "ev", stored_as="events"),
    _of("networking.k8s.io", "ingressclasses", "IngressClass", namespaced=False),
    _of("networking.k8s.io", "ingresses", "Ingress", "ing", subresources=(_status("Ingress"),)),
    _of("networking.k8s.io", "networkpolicies", "NetworkPolicy", "netpol"),
    _of(
        "policy",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "pdb",
        subresources=(_status("PodDisruptionBudget"),),
    ),
    _of(
        "policy.networking.k8s.io",
        "clusternetworkpolicies",
        "ClusterNetworkPolicy",
        "cnp",
        version="v1alpha2",
        namespaced=False,
        subresources=(_status("ClusterNetworkPolicy"),),
    ),
    _of(_RBAC, "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    _of(_RBAC, "clusterroles", "ClusterRole", namespaced=False),
    _of(_RBAC, "rolebindings", "RoleBinding"),
    _of(_RBAC, "roles", "Role"),
    _of("scheduling.k8s.io", "priorityclasses", "PriorityClass", "pc", namespaced=False),
    _of("storage.k8s.io", "storageclasses", "StorageClass", "sc", namespaced=False),
    _of(
        _AUTHENTICATION,
        "selfsubjectreviews",
        "SelfSubjectReview",
        namespaced=False,
        verbs=CREATE_ONLY,
    ),
    _of(_AUTHENTICATION, "tokenreviews", "TokenReview", namespaced=False, verbs=CREATE_ONLY),
    _of(_AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=CREATE_ONLY),
    *(
        _of(_AUTHORIZATION, kind.lower() + "s", kind, namespaced=False, verbs=CREATE_ONLY)
        for kind in ("SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview")
    ),
)


_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?\Z")


def version_rank(name: str) -> tuple[int, int, int, int, str]:
    """Return a sort key: v2, v1, v2beta1, v1alpha1, then others by the alphabet.

    Source: apimachinery ``pkg/version`` (CompareKubeAwareVersionStrings).
    """
    match = _VERSION.match(name)
    if not match:
        return (1, 0, 0, 0, name)
    stage = {"": 0, "beta": 1, "alpha": 2}[match[2] or ""]
    return (0, stage, -int(match[1]), -int(match[3] or 0), "")


@dataclass(slots=True)
class KindTable:
    """The served kinds; a table, since CustomResourceDefinitions add rows at run time."""

    rows: dict[tuple[str, str, str], Kind] = field(default_factory=dict)
    _by_resource: dict[str, Kind] = field(default_factory=dict)
    _by_kind: dict[tuple[str, str], Kind] = field(default_factory=dict)
    listeners: list[Callable[[Kind], None]] = field(default_factory=list)
    """Called with each kind that is added while the server runs."""
    changes: int = 0
    """How often the table changed: what was made from it is old when this differs."""

    @classmethod
    def built_in(cls) -> KindTable:
        """Return a table of the kinds that every cluster serves."""
        table = cls()
        for kind in (*_CORE, *_APPS, *_OTHERS):
            table.add(kind)
        return table

    def add(self, kind: Kind, *, served: bool = True) -> None:
        """Serve one more kind; of several versions the last one stands for the resource.

        A version that is stored and not `served` has no path of its own.
        """
        if served:
            self.rows[kind.group, kind.version, kind.plural] = kind
        self._by_resource[kind.resource] = kind
        self._by_kind[kind.api_version, kind.kind] = kind
        self.changes += 1
        for listener in self.listeners:
            listener(kind)

    def remove(self, kind: Kind) -> None:
        """Serve a kind no longer."""
        self.rows.pop((kind.group, kind.version, kind.plural), None)
        self._by_resource.pop(kind.resource, None)
        self._by_kind.pop((kind.api_version, kind.kind), None)
        self.changes += 1

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """Return the kind behind a path, or ``None``."""
        return self.rows.get((group, version, plural))

    def of(self, resource: str) -> Kind:
        """Return the kind of a resource name; an unknown name is the caller's mistake."""
        return self._by_resource[resource]

    def of_object(self, api_version: str, kind: str) -> Kind | None:
        """Return the row for an object's ``apiVersion`` and ``kind``, or ``None``."""
        return self._by_kind.get((api_version, kind))

    def group_versions(self) -> dict[str, list[str]]:
        """Return the versions of each group, the core group (empty name) included."""
        found: dict[str, list[str]] = {}
        for kind in self.rows.values():
            versions = found.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        for versions in found.values():
            versions.sort(key=version_rank)
        return found

    def in_group(self, group: str, version: str) -> list[Kind]:
        """Return the kinds of one group and version, sorted by plural."""
        rows = [
            kind for kind in self.rows.values() if (kind.group, kind.version) == (group, version)
        ]
        return sorted(rows, key=lambda kind: kind.plural)
