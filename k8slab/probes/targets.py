"""From the parties of a flow to what a probe needs: pods that send, addresses that are asked.

A snapshot of the pods and Services involved is read once for all flows of one question, so
that the answer is about one moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab.clusters import shape
from k8slab.errors import ProbeError
from k8slab.objects import meta
from k8slab.policy.flow import WORKLOADS, Flow, Party

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.objects.meta import Object
    from k8slab.programs import Completed

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a flow really goes: an address or a name, and a port number."""

    host: str
    port: int
    protocol: str


@dataclass
class Snapshot:
    """The objects that flows speak of, read from the cluster on first use."""

    cluster: Any
    _lists: dict[tuple[str, str], dict[str, Object]] = field(default_factory=dict)
    _targets: dict[tuple[Party, int | str, str], Target] = field(default_factory=dict)

    def objects(self, resource: str, namespace: str) -> dict[str, Object]:
        """Return the objects of a namespace by name."""
        key = (resource, namespace)
        if key not in self._lists:
            listed = self.cluster.list(resource, namespace)
            self._lists[key] = {meta.name_of(obj): obj for obj in listed}
        return self._lists[key]

    def pod(self, party: Party) -> Object:
        """Return the pod of this name; raises `ProbeError` when there is none."""
        found = self.objects("pods", party.namespace).get(party.name)
        if found is None:
            raise ProbeError(f"there is no pod {party}")
        return found

    def expand(self, flow: Flow) -> list[Flow]:
        """Return the flow for every pod of the workloads that it names."""
        return [
            replace(flow, source=source, destination=destination)
            for source in self.parties(flow.source)
            for destination in self.parties(flow.destination)
        ]

    def target(self, flow: Flow) -> Target:
        """Say where to send; raises `ProbeError` when nobody can know."""
        key = (flow.destination, flow.port, flow.protocol)
        if key not in self._targets:
            self._targets[key] = self._find_target(flow)
        return self._targets[key]

    def _find_target(self, flow: Flow) -> Target:
        destination = flow.destination
        match destination.kind:
            case "pod":
                return self._pod_target(flow)
            case "svc":
                return self._service_target(flow)
            case "node":
                node = self.cluster.get("nodes", destination.name)
                host = _internal_address(node) if node else ""
            case "ip" | "name":
                host = destination.name
            case _:
                raise ProbeError(f"{destination} cannot be the destination of a probe")
        if not host:
            raise ProbeError(f"{destination} has no address")
        if not isinstance(flow.port, int):
            raise ProbeError(f"{destination} has no named ports; give a number")
        return Target(host, flow.port, flow.protocol)

    def parties(self, party: Party) -> list[Party]:
        """Return the pods of a workload; the party itself when it is none, or has no pod."""
        if party.kind == "node":
            name = shape.node_named(party.name, self.objects("nodes", ""))
            return [replace(party, name=name)]
        if party.kind not in WORKLOADS:
            return [party]
        pods = self.objects("pods", party.namespace).values()
        owned = [pod for pod in pods if self._belongs(pod, party) and not meta.is_deleting(pod)]
        if not owned:
            return [party]
        return [Party("pod", meta.name_of(pod), party.namespace) for pod in owned]

    def _belongs(self, pod: Object, party: Party) -> bool:
        owner = meta.controller_of(pod)
        while owner:
            if (owner["kind"].lower(), owner["name"]) == (party.kind, party.name):
                return True
            sets = self.objects("replicasets.apps", party.namespace)
            above = sets.get(owner["name"]) if owner["kind"] == "ReplicaSet" else None
            owner = meta.controller_of(above) if above else None
        return False

    def _pod_target(self, flow: Flow) -> Target:
        pod = self.pod(flow.destination)
        address = pod.get("status", {}).get("podIP")
        if not address:
            raise ProbeError(f"the pod {flow.destination} has no address yet")
        port = flow.port if isinstance(flow.port, int) else named_port(pod, flow)
        return Target(address, port, flow.protocol)

    def _service_target(self, flow: Flow) -> Target:
        party = flow.destination
        service = self.objects("services", party.namespace).get(party.name)
        if service is None:
            raise ProbeError(f"there is no Service {party.namespace}/{party.name}")
        spec = service.get("spec") or {}
        ports = spec.get("ports") or ()
        number = flow.port
        if not isinstance(number, int):
            wanted = (flow.port, flow.protocol)
            named = [(one.get("name"), one.get("protocol") or "TCP") for one in ports]
            if wanted not in named:
                told = f"{flow.port} ({flow.protocol})"
                raise ProbeError(f"the Service {party.name} has no port named {told}")
            number = ports[named.index(wanted)]["port"]
        address = spec.get("clusterIP")
        if address in (None, "", "None"):  # headless or ExternalName: only a name
            address = f"{party.name}.{party.namespace}.svc.cluster.local"
        return Target(address, number, flow.protocol)


def named_port(pod: Object, flow: Flow) -> int:
    """Return the number of a named container port; raises `ProbeError`."""
    for container in pod.get("spec", {}).get("containers") or ():
        for port in container.get("ports") or ():
            if (port.get("name"), port.get("protocol") or "TCP") == (flow.port, flow.protocol):
                return int(port["containerPort"])
    raise ProbeError(f"the pod {meta.key_of(pod)} has no port named {flow.port} ({flow.protocol})")


def expand(cluster: Any, flows: Iterable[Flow]) -> list[Flow]:
    """Replace workloads by their pods in all flows."""
    snapshot = Snapshot(cluster)
    return [one for flow in flows for one in snapshot.expand(flow)]


def one_pod(cluster: Any, party: Party) -> Party:
    """Return the party, or the first pod of a workload; raises `ProbeError` without any."""
    if party.kind not in WORKLOADS:
        return party
    found = expand(cluster, [Flow(party, party, 1)])[0].source
    if found.kind != "pod":
        raise ProbeError(f"{party} has no pod")
    return found


def run_in_pod(
    cluster: Any, pod: Party, argv: Sequence[str], *, container: str = "", **options: Any
) -> Completed:
    """Run a command in a pod; without a container in its default one, as kubectl does.

    That is the one named by the annotation, which may be a sidecar, else the first (kubectl's
    `FindOrDefaultContainerByName`); the API itself refuses to choose. Unlike kubectl it takes no
    ephemeral container: with that and an annotation anybody could put programs of their own into
    a pod that is asked. `options` are those of `Cluster.exec`: deadline, stdin.
    Raises `ProbeError` when there is no such pod.
    """
    if not container:
        found = cluster.get("pods", pod.name, pod.namespace)
        if found is None:
            raise ProbeError(f"there is no pod {pod}")
        spec = found["spec"]
        init = spec.get("initContainers") or ()
        names = [one["name"] for one in (*spec["containers"], *init)]
        named = meta.annotations_of(found).get(DEFAULT_CONTAINER)
        container = str(named if named in names else names[0])
    done: Completed = cluster.exec(pod.namespace, pod.name, argv, container=container, **options)
    return done


def _internal_address(node: Object) -> str:
    for entry in node.get("status", {}).get("addresses") or ():
        if entry.get("type") == "InternalIP":
            return str(entry["address"])
    return ""


def resolve(cluster: Any, parties: Iterable[Party]) -> list[Party]:
    """Replace workloads by their pods, and the short names of nodes by the full ones."""
    snapshot = Snapshot(cluster)
    return [found for party in parties for found in snapshot.parties(party)]
