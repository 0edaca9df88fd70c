"""A cluster of plain Python, for tests of everything that works on top of one.

It holds objects in a dictionary, runs every pod at once, and answers probes by the policy
engine and by which ports the pods' containers declare. It is no imitation of Kubernetes:
what a test says about real behaviour is said on the real cluster.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab import policy
from k8slab.errors import ApiStatusError, ClusterNotReadyError, UsageError
from k8slab.objects import meta, selectors
from k8slab.objects.slices import SERVICE_NAME, SLICES
from k8slab.policy import Flow, Party
from k8slab.programs import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Object = dict[str, Any]
Objects = list[Object]

PLURALS = {
    "Namespace": "namespaces",
    "Node": "nodes",
    "Event": "events",
    "Pod": "pods",
    "Service": "services",
    "ConfigMap": "configmaps",
    "Deployment": "deployments.apps",
    "ReplicaSet": "replicasets.apps",
    "StatefulSet": "statefulsets.apps",
    "DaemonSet": "daemonsets.apps",
    "NetworkPolicy": "networkpolicies.networking.k8s.io",
    "EndpointSlice": "endpointslices.discovery.k8s.io",
}
GLOBAL = frozenset({"namespaces", "nodes"})
NODES = ("fake-control-plane", "fake-worker", "fake-worker2")


@dataclass
class FakeCluster:
    """The part of `clusters.Cluster` that the rooms above it use."""

    name: str = "fake"
    provider: str = "fake"
    kubeconfig: Path = Path("/nonexistent/kubeconfig")
    kubectl: Sequence[str] = ("kubectl",)
    capabilities: frozenset[str] = frozenset({"probe"})
    enforces: bool = True
    """Whether policies are enforced at all."""
    reports_denials: bool = False
    dead: set[str] = field(default_factory=set)
    """Pods (namespace/name) in which nothing listens."""
    unprotected: set[str] = field(default_factory=set)
    """Pods (namespace/name) that packets reach although policies deny them: a faulty kernel."""
    walled: set[str] = field(default_factory=set)
    """Pods (namespace/name) that no packet of others reaches, whatever policies say."""
    slices: bool = True
    """Whether every Service has its slice at once; else those alone that a test applies."""
    deadlines: list[float] = field(default_factory=list)
    """How long each probe request would have waited for silence."""
    on_exec: Callable[[str, str, list[str]], Completed] | None = None
    written: dict[str, str] = field(default_factory=dict)
    """What the programs of a pod (namespace/name) wrote to its log."""
    probes: int = 0
    """How many probe requests were answered."""
    _objects: dict[str, dict[tuple[str, str], Object]] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        for number, name in enumerate(NODES):
            address = {"type": "InternalIP", "address": f"172.18.0.{number + 2}"}
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
            self._put({**node, "status": {"addresses": [address]}})

    # What the real handle has.

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        """Return one object or ``None``."""
        plural = PLURALS.get(resource, resource)
        space = "" if plural in GLOBAL else namespace or "default"
        return self._objects.get(plural, {}).get((space, name))

    def list(self, resource: str, namespace: str = "", *, selector: str = "") -> Objects:
        """Return the objects of a namespace, or all."""
        wanted = selectors.from_text(selector)
        found = [*self._objects.get(resource, {}).values()]
        if resource == SLICES and self.slices:
            found += map(self._slice_of, self._objects.get("services", {}).values())
        return [
            obj
            for obj in found
            if (resource in GLOBAL or not namespace or meta.namespace_of(obj) == namespace)
            and wanted.matches(meta.labels_of(obj))
        ]

    def apply(self, objects: Sequence[Object], *, namespace: str = "") -> Objects:
        """Put objects; pods run at once, Deployments get their pods."""
        return [self._apply(copy.deepcopy(obj), namespace) for obj in objects]

    def delete(
        self, resource: str, name: str, namespace: str = "", *, grace: int | None = None
    ) -> None:
        """Remove one object; a namespace takes its contents with it."""
        del grace
        space = "" if resource in GLOBAL else namespace or "default"
        self._objects.get(resource, {}).pop((space, name), None)
        if resource == "namespaces":
            for found in self._objects.values():
                for key in [key for key in found if key[0] == name]:
                    del found[key]

    def wait(
        self, resource: str, name: str = "", namespace: str = "", *, until: str = "ready",
        deadline: float = 60.0,
    ) -> Objects:  # fmt: skip
        """Return at once: what is there is ready."""
        found = self.get(resource, name, namespace)
        if until == "delete":
            return []
        if found is None:
            raise ClusterNotReadyError(f"{resource} {name}: not {until} after {deadline:g} s")
        return [found]

    def exec(
        self, namespace: str, pod: str, argv: Sequence[str], *, container: str = "",
        stdin: bytes = b"", deadline: float = 30.0,
    ) -> Completed:  # fmt: skip
        """Answer with what the test gave as `on_exec`."""
        del container, stdin, deadline
        if self.on_exec is None:
            raise ApiStatusError("exec is not served", code=501, reason="NotImplemented")
        return self.on_exec(namespace, pod, list(argv))

    def logs(
        self, namespace: str, pod: str, *, container: str = "", tail: int | None = None,
        timestamps: bool = False,
    ) -> str:  # fmt: skip
        """Return what the test gave as `written`."""
        del container, tail, timestamps
        return self.written.get(f"{namespace}/{pod}", "")

    def node_run(self, node: str, argv: Sequence[str], *, deadline: float = 30.0) -> Completed:
        """Echo the command."""
        del deadline
        return Completed(tuple(argv), 0, f"{node}: {' '.join(argv)}\n")

    def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "",
        deadline: float = 30.0,
    ) -> Any:  # fmt: skip
        """Answer the probes of the lab's API group, and merge annotations into a namespace."""
        del content_type, deadline
        if method == "PATCH" and path.startswith("/api/v1/namespaces/"):
            return self._annotate(path.rpartition("/")[2], body["metadata"]["annotations"])
        if (method, path) != ("POST", "/apis/lab.k8slab.dev/v1/probes"):
            raise ApiStatusError(f"no {path} here", code=404, reason="NotFound")
        self.probes += 1
        self.deadlines.append(body["deadlineSeconds"])
        estate = policy.compile([obj for found in self._objects.values() for obj in found.values()])
        return {"results": [self._probe(estate, flow) for flow in body["flows"]]}

    # How it answers.

    def _annotate(self, name: str, annotations: dict[str, str | None]) -> Object:
        space = self.get("namespaces", name)
        if space is None:
            raise ApiStatusError(f"no namespace {name}", code=404, reason="NotFound")
        merged = {**meta.annotations_of(space), **annotations}
        kept = {key: value for key, value in merged.items() if value is not None}
        return self._put({**space, "metadata": {**space["metadata"], "annotations": kept}})

    def _apply(self, obj: Object, namespace: str) -> Object:
        resource = PLURALS[obj["kind"]]
        metadata = obj.setdefault("metadata", {})
        if resource not in GLOBAL:
            metadata["namespace"] = metadata.get("namespace") or namespace or "default"
        if obj["kind"] == "Pod":
            self._run(obj)
        if obj["kind"] == "Deployment":
            self._roll_out(obj)
        return self._put(obj)

    def _put(self, obj: Object) -> Object:
        self._count += 1
        found = self._objects.setdefault(PLURALS[obj["kind"]], {})
        key = (meta.namespace_of(obj), meta.name_of(obj))
        before = found.get(key)
        same = (
            before is not None and {**before["metadata"], **obj["metadata"]} == before["metadata"]
        )
        if before is not None and same and _without_meta(before) == _without_meta(obj):
            return before
        uid = before["metadata"]["uid"] if before else f"{self.name}-{self._count}"
        obj["metadata"].setdefault("uid", uid)
        obj["metadata"]["resourceVersion"] = str(self._count)
        found[key] = obj
        return obj

    def _run(self, pod: Object) -> None:
        before = self.get("pods", meta.name_of(pod), meta.namespace_of(pod))
        if before is not None:
            pod["spec"].setdefault("nodeName", before["spec"]["nodeName"])
            pod["status"] = before["status"]
            return
        wanted = (pod["spec"].get("nodeSelector") or {}).get("kubernetes.io/hostname")
        pod["spec"].setdefault("nodeName", wanted or NODES[1 + self._count % 2])
        ready = {"type": "Ready", "status": "True"}
        address = f"10.244.{self._count // 250}.{self._count % 250 + 1}"
        pod["status"] = {"phase": "Running", "podIP": address, "conditions": [ready]}

    def _roll_out(self, deployment: Object) -> None:
        spec, name = deployment["spec"], meta.name_of(deployment)
        space, number = meta.namespace_of(deployment), spec.get("replicas", 1)
        owner = {"kind": "Deployment", "name": name, "controller": True}
        replica_set = {"name": f"{name}-1", "namespace": space, "ownerReferences": [owner]}
        self._put({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": replica_set})
        owner = {"kind": "ReplicaSet", "name": f"{name}-1", "controller": True}
        template = spec["template"]
        for index in range(number):
            metadata = {**template["metadata"], "name": f"{name}-1-{index}", "namespace": space}
            metadata["ownerReferences"] = [owner]
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
            self._apply({**pod, "spec": copy.deepcopy(template["spec"])}, space)
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), number)
        deployment["status"] = counts

    def _probe(self, estate: policy.Estate, question: Object) -> Object:
        origin, port, protocol = question["from"], question["port"], question["protocol"]
        if "pod" not in origin:
            source = Party("node", origin["node"]) if "node" in origin else None
        else:
            source = Party("pod", origin["pod"], origin["namespace"])
        found = self._resolve(question["to"], source)
        if found is None or source is None:
            return {"outcome": "unresolved", "detail": "no such name"}
        pod, address = found
        flow = Flow(source, Party("ip", address), port, protocol)
        try:
            allowed = estate.decide(flow).allowed or not self.enforces
        except UsageError as error:
            return {"outcome": "failed", "detail": str(error)}
        name = meta.key_of(pod) if pod else ""
        if name in self.walled and name != str(source):
            return {"outcome": "silent", "address": address}
        if not allowed and name not in self.unprotected:
            denial = "a policy" if self.reports_denials else ""
            return {"outcome": "silent", "address": address, "denial": denial}
        listening = pod is not None and meta.key_of(pod) not in self.dead and port in _ports(pod)
        return {"outcome": "open" if listening else "refused", "address": address}

    def _resolve(self, to: str, source: Party | None) -> tuple[Object | None, str] | None:
        """Return the pod (if any) and the address behind an address or a Service's name."""
        pods = self.list("pods")
        if to[0].isdigit():
            services = self.list("services")
            service = next((s for s in services if s["spec"].get("clusterIP") == to), None)
            if service is None:
                return next((p for p in pods if p["status"]["podIP"] == to), None), to
        else:
            name, _, rest = to.partition(".")
            space = rest.partition(".")[0] or (source.namespace if source else "")
            service = self.get("services", name, space)
            if service is None:
                return None
        behind = self._behind(service)
        return (behind[0], behind[0]["status"]["podIP"]) if behind else (None, "10.96.0.99")

    def _behind(self, service: Object) -> Objects:
        """Return the pods that a Service selects."""
        selector = selectors.from_labels(service["spec"].get("selector") or {})
        pods = self.list("pods", meta.namespace_of(service))
        return [pod for pod in pods if selector.matches(meta.labels_of(pod))]

    def _slice_of(self, service: Object) -> Object:
        """Return what a controller would have written about a Service: it never lags behind."""
        name = meta.name_of(service)
        owner = {"kind": "Service", "name": name, "controller": True}
        metadata = {
            "name": f"{name}-fake",
            "namespace": meta.namespace_of(service),
            "labels": {SERVICE_NAME: name},
            "ownerReferences": [owner],
        }
        behind = self._behind(service) if service["spec"].get("selector") else []
        ends = [
            {
                "addresses": [pod["status"]["podIP"]],
                "targetRef": {"kind": "Pod", "name": meta.name_of(pod)},
            }
            for pod in behind
        ]
        body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
        return {**body, "metadata": metadata, "addressType": "IPv4", "endpoints": ends}


def _without_meta(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key != "metadata"}


def _ports(pod: Object) -> set[int]:
    return {
        port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
    }
