"""From objects to the pods that policies decide about.

Pods that have finished are nobody. A workload without pods counts as one pod made of its
template, so that manifests can be judged before anything runs; one whose owner is there
(the Job of a CronJob, the ReplicaSet of a Deployment) is left to its owner. The owner of a
pod is followed upwards as far as objects are known; a Deployment whose ReplicaSets are
missing from a dump is found by the name that the Deployment controller gives them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from k8slab.errors import ManifestError, UsageError
from k8slab.objects import meta
from k8slab.policy import addresses, fields
from k8slab.policy.flow import Party
from k8slab.policy.model import Pod
from k8slab.policy.ports import WITH_PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from k8slab.objects.meta import Object

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that the API server puts on every namespace (KEP-2161)."""

FINISHED = ("Succeeded", "Failed")

TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where each kind of workload keeps the template of its pods."""


@dataclass
class Kinds:
    """All objects by kind, each with its place."""

    objects: dict[str, list[Object]] = field(default_factory=lambda: defaultdict(list))
    manifests: dict[int, Any] = field(default_factory=dict)
    """Of objects that came with a place: by ``id`` of the object, which is kept alive here."""

    @classmethod
    def sort(cls, objects: Iterable[Any]) -> Kinds:
        """Sort objects (or manifests, which have ``object`` and ``place``) by kind."""
        found = cls()
        for item in objects:
            obj = item if isinstance(item, dict) else item.object
            if obj is not item:
                found.manifests[id(obj)] = item
            found.objects[str(obj.get("kind", ""))].append(obj)
            if not _has_names(obj):
                raise ManifestError(
                    "metadata must be a mapping whose name and namespace are text",
                    place=found.where(obj),
                )
        return found

    def __getitem__(self, kind: str) -> list[Object]:
        return self.objects.get(kind, [])

    def manifest(self, obj: Object) -> Any:
        """Return what the object came in, which knows its place; ``None`` for a plain value."""
        return self.manifests.get(id(obj))

    def read(self, obj: Object, reader: Callable[[Object], Any]) -> Any:
        """Read an object; what is wrong with it is told with its place, kind and name."""
        try:
            return reader(obj)
        except UsageError as error:
            raise ManifestError(error.message, place=self.where(obj), hint=error.hint) from error
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            why = f"a field has a value of the wrong type ({error})"
            raise ManifestError(why, place=self.where(obj)) from error

    def where(self, obj: Object) -> str:
        """Return place, kind and name of an object, for messages."""
        name = meta.key_of(obj) if _has_names(obj) else "without a name"
        place = place_of(self.manifest(obj))
        return f"{place}: {obj.get('kind')} {name}" if place else f"{obj.get('kind')} {name}"


def _has_names(obj: Object) -> bool:
    metadata = obj.get("metadata")
    if metadata is None:
        return "metadata" not in obj
    return isinstance(metadata, dict) and all(
        metadata.get(field) is None or isinstance(metadata[field], str)
        for field in ("name", "namespace")
    )


def place_of(manifest: Any) -> str:
    """Return ``file:line`` of a manifest, which may have to look for it; empty for ``None``."""
    return "" if manifest is None else str(manifest.place)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Who there is."""

    namespaces: Mapping[str, Mapping[str, str]]
    nodes: Mapping[str, tuple[int, ...]]
    pods: Mapping[str, Pod]
    workloads: Mapping[Party, tuple[str, ...]]


def take(kinds: Kinds) -> Inventory:
    """Read namespaces, nodes, pods and workloads; raises `ManifestError`."""
    namespaces: dict[str, Mapping[str, str]] = {}
    for obj in kinds["Namespace"]:
        name, labels = kinds.read(obj, lambda o: (meta.name_of(o), _labels(o)))
        namespaces[name] = {NAMESPACE_NAME: name, **labels}
    nodes = {meta.name_of(obj): kinds.read(obj, _node_addresses) for obj in kinds["Node"]}
    accounts = {space_and_name(obj): kinds.read(obj, _labels) for obj in kinds["ServiceAccount"]}
    reader = _PodReader(namespaces, accounts, _Owners(kinds))
    for obj in kinds["Pod"]:
        reader.add(kinds.read(obj, reader.pod))
    for kind, path in TEMPLATES.items():
        for obj in kinds[kind]:
            reader.add(kinds.read(obj, partial(reader.template, path=path)))
    workloads = {party: tuple(sorted(keys)) for party, keys in reader.workloads.items()}
    return Inventory(namespaces, nodes, reader.pods, workloads)


def space_and_name(obj: Object) -> str:
    """Return ``namespace/name``, with ``default`` where no namespace is written."""
    return f"{meta.namespace_of(obj) or 'default'}/{meta.name_of(obj)}"


def _labels(obj: Object) -> dict[str, str]:
    labels = meta.labels_of(obj)
    for key, value in labels.items():
        if not isinstance(value, str):
            raise UsageError(f"metadata.labels.{key}: must be text, not {value!r:.60}")
    return labels


def _node_addresses(obj: Object) -> tuple[int, ...]:
    found = (obj.get("status") or {}).get("addresses") or ()
    wanted = ("InternalIP", "ExternalIP")
    return tuple(addresses.point(e["address"]) for e in found if e.get("type") in wanted)


class _Owners:
    """Who owns whom, as far as objects are known."""

    def __init__(self, kinds: Kinds) -> None:
        self.known = {(k, space_and_name(obj)) for k in TEMPLATES for obj in kinds[k]}
        self.above: dict[tuple[str, str], Object | None] = {
            (kind, space_and_name(obj)): kinds.read(obj, meta.controller_of)
            for kind in ("ReplicaSet", "Job")
            for obj in kinds[kind]
        }

    def chain(self, obj: Object, namespace: str) -> Iterator[Party]:
        """Yield the workloads that own a pod or a workload, the nearest first."""
        owner = meta.controller_of(obj)
        template_hash = meta.labels_of(obj).get("pod-template-hash", "")
        while owner and owner["kind"] in TEMPLATES:
            kind, name = owner["kind"], owner["name"]
            yield Party(kind.lower(), name, namespace)
            place = (kind, f"{namespace}/{name}")
            if place in self.above:
                owner = self.above[place]
            else:
                owner = self._deployment(kind, f"{namespace}/{name}", template_hash)

    def _deployment(self, kind: str, key: str, template_hash: str) -> Object | None:
        name = key.removesuffix(f"-{template_hash}")
        if kind == "ReplicaSet" and name != key and ("Deployment", name) in self.known:
            return {"kind": "Deployment", "name": name.rpartition("/")[2]}
        return None

    def has_known_owner(self, obj: Object, namespace: str) -> bool:
        owner = meta.controller_of(obj)
        return owner is not None and (owner["kind"], f"{namespace}/{owner['name']}") in self.known


class _PodReader:
    def __init__(
        self,
        namespaces: Mapping[str, Mapping[str, str]],
        accounts: Mapping[str, Mapping[str, str]],
        owners: _Owners,
    ) -> None:
        self.namespaces = namespaces
        self.accounts = accounts
        self.owners = owners
        self.chains: dict[tuple[str, str, str], tuple[Party, ...]] = {}
        self.pods: dict[str, Pod] = {}
        self.workloads: dict[Party, list[str]] = defaultdict(list)

    def add(self, found: tuple[Pod, tuple[Party, ...]] | None) -> None:
        """Take in a pod with all its owners."""
        if found is not None:
            pod, owners = found
            self.pods[pod.key] = pod
            for party in owners:
                self.workloads[party].append(pod.key)

    def pod(self, obj: Object) -> tuple[Pod, tuple[Party, ...]] | None:
        """Return a pod and its owners, the nearest first; ``None`` for one that has finished."""
        status = obj.get("status") or {}
        if status.get("phase") in FINISHED:
            return None
        namespace, name = meta.namespace_of(obj) or "default", meta.name_of(obj)
        owners = self._owners_of(obj, namespace) or (Party("pod", name, namespace),)
        key, ready = f"{namespace}/{name}", _is_ready(obj, status)
        found = _addresses(status)
        return self._pod(obj, key, owners[-1], addresses=found, ready=ready), owners

    def _owners_of(self, obj: Object, namespace: str) -> tuple[Party, ...]:
        owner = meta.controller_of(obj)
        if owner is None:
            return ()
        place = (namespace, owner["kind"], owner["name"])
        if place not in self.chains:  # replicas have the same owners
            self.chains[place] = tuple(self.owners.chain(obj, namespace))
        return self.chains[place]

    def template(self, obj: Object, path: tuple[str, ...]) -> tuple[Pod, tuple[Party, ...]] | None:
        """Return the pod of a workload's template.

        ``None`` for a workload that has pods or is done, and for one that is left to its owner.
        """
        namespace = meta.namespace_of(obj) or "default"
        party = Party(obj["kind"].lower(), meta.name_of(obj), namespace)
        if party in self.workloads or self.owners.has_known_owner(obj, namespace):
            return None
        if _has_finished(obj):
            return None
        found: Any = obj
        for step in path:
            found = found.get(step) or {}
        return self._pod(found, str(party), party, template=True), (party,)

    def _pod(self, obj: Object, key: str, workload: Party, **known: Any) -> Pod:
        spec, namespace = obj.get("spec") or {}, workload.namespace
        account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        node = spec.get("nodeName") or ""
        if not isinstance(account, str) or not isinstance(node, str):
            raise UsageError("spec: serviceAccountName and nodeName must be text")
        ports, listens = _ports(spec)
        return Pod(
            key=key,
            namespace=namespace,
            labels=_labels(obj),
            namespace_labels=self.namespaces.get(namespace) or {NAMESPACE_NAME: namespace},
            node=node,
            host_network=bool(spec.get("hostNetwork")),
            ports=ports,
            listens=listens,
            account=account,
            account_labels=self.accounts.get(f"{namespace}/{account}") or {},
            workload=workload,
            **known,
        )


def _addresses(status: Object) -> tuple[int, ...]:
    entries = status.get("podIPs")
    texts = [entry.get("ip") for entry in entries] if entries else [status.get("podIP")]
    return tuple([addresses.point(text) for text in texts if text])


def _ports(spec: Object) -> tuple[dict[tuple[str, str], int], tuple[tuple[str, int], ...]]:
    """Return named ports and all ports; init containers that keep running count (KEP-753)."""
    names: dict[tuple[str, str], int] = {}
    listens: list[tuple[str, int]] = []
    inits = spec.get("initContainers")
    sidecars = [c for c in inits if c.get("restartPolicy") == "Always"] if inits else []
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            protocol, name = port.get("protocol") or "TCP", port.get("name")
            if protocol not in WITH_PORTS or not isinstance(name, str | None):
                raise UsageError(f"spec.containers: cannot read the port {port!r:.60}")
            number = fields.port_number(port.get("containerPort"), "spec.containers.ports")
            listens.append((protocol, number))
            if name:
                names[protocol, name] = number
    return names, tuple(listens)


def _is_ready(obj: Object, status: Object) -> bool:
    """Say whether a Service sends to the pod; without a status (a manifest) it counts as ready."""
    if meta.is_deleting(obj):
        return False
    if not status:
        return True
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready":
            return bool(condition.get("status") == "True")
    return False


def _has_finished(obj: Object) -> bool:
    """Say whether a Job is done."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ended = ("Complete", "Failed")
    return obj["kind"] == "Job" and any(
        c.get("type") in ended and c.get("status") == "True" for c in conditions
    )
