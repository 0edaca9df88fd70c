"""Nodes: their network namespaces, their objects, and the lease that says they live.

A node's object is written by its kubelet; here one process is the kubelet of all nodes.
The control plane carries the label and the taint that kubeadm gives it.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_DNS, uuid5

from k8slab.embedded.config import KUBERNETES_MINOR
from k8slab.embedded.controllers import conditions, times
from k8slab.embedded.controllers.kubelet import resources
from k8slab.embedded.controllers.kubelet.records import NO_PLUGIN, RUNTIME_NAME
from k8slab.embedded.controllers.loop import Loop
from k8slab.objects.meta import name_of
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context
    from k8slab.objects.meta import Object

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
RENEW_SECONDS = 10
"""kubelet's ``nodeLeaseDurationSeconds`` and the quarter of it after which it renews."""

KUBELET_VERSION = f"v1.{KUBERNETES_MINOR}.0"


class Nodes:
    """Make the nodes of the configuration, keep their leases."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.addresses: dict[str, list[str]] = {}
        self._stopped: set[str] = set()
        self._unplugged: set[str] = set()
        """Nodes without a configuration of the network plugin."""
        self.loop = Loop("nodes", self._renew)
        self._unsubscribe = context.api.subscribe("nodes", self._node_event)

    async def start(self) -> None:
        """Make every node; return when all are Ready."""
        config = self._context.config
        for name in config.node_names:
            self.addresses[name] = await self._context.network.add_node(name)
            self._register(name)
            self.loop.add(name)

    async def close(self) -> None:
        """Stop renewing the leases."""
        self._unsubscribe()
        await self.loop.close()

    def stop_agent(self, name: str) -> None:
        """Be silent for a node, as when its kubelet has stopped."""
        self._stopped.add(name)

    def start_agent(self, name: str) -> None:
        """Speak for a node again, as a kubelet does that starts: it registers a missing node."""
        self._stopped.discard(name)
        self._register(name)
        self.loop.add(name)

    def silent(self, name: str) -> bool:
        """Say whether a node's kubelet has stopped."""
        return name in self._stopped

    def plugged(self, name: str) -> bool:
        """Say whether a node has a configuration of the network plugin."""
        return name not in self._unplugged

    def plug(self, name: str, *, there: bool) -> None:
        """Give a node a configuration of the network plugin, or take it away; report that."""
        (self._unplugged.discard if there else self._unplugged.add)(name)
        if name not in self._stopped:
            self._register(name)

    def _node_event(self, event: Event) -> None:
        # A node that somebody deleted and made anew belongs to the kubelet that is still there.
        if event.type == "ADDED" and name_of(event.object) in self.addresses:
            self.loop.add(name_of(event.object))

    def _register(self, name: str) -> None:
        api, config = self._context.api, self._context.config
        cidrs = self._context.network.pod_cidrs(name)
        old = api.get("nodes", name)
        if old is None:
            first = name == config.node_names[0]
            made = node_object(name, cidrs, control_plane=first, alone=config.nodes == 1)
            old = api.create("nodes", made)
        elif cidrs and not old["spec"].get("podCIDRs"):
            spec = {**old["spec"], "podCIDR": cidrs[0], "podCIDRs": list(cidrs)}
            old = api.update("nodes", {**old, "spec": spec})
        limit = self._context.config.max_pods
        status = node_status(old, self.addresses[name], max_pods=limit, plugged=self.plugged(name))
        api.update_status("nodes", {**old, "status": status})

    def _renew(self, name: str) -> float:
        api = self._context.api
        if name in self._stopped:
            return RENEW_SECONDS
        now = times.micro()
        lease = api.get("leases.coordination.k8s.io", name, LEASE_NAMESPACE)
        node = api.get("nodes", name)
        if node is None:
            return RENEW_SECONDS
        if not conditions.is_true((node.get("status") or {}).get("conditions"), "Ready"):
            self._register(name)
        if lease is None:
            api.create("leases.coordination.k8s.io", _lease(node, now))
        else:
            spec = {**lease["spec"], "renewTime": now}
            api.update("leases.coordination.k8s.io", {**lease, "spec": spec})
        return RENEW_SECONDS


def node_object(
    name: str, pod_cidrs: Sequence[str], *, control_plane: bool, alone: bool = False
) -> Object:
    """Return a new Node; the control plane of a cluster of one is `alone` and takes all pods."""
    machine = _architecture()
    labels = {
        "beta.kubernetes.io/arch": machine,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    spec: Object = {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)} if pod_cidrs else {}
    if control_plane:
        labels[CONTROL_PLANE] = ""
    if control_plane and not alone:  # kind, too, removes both from the only node
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
        spec["taints"] = [{"key": CONTROL_PLANE, "effect": "NoSchedule"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {
            "node.alpha.kubernetes.io/ttl": "0",
            "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        }},
        "spec": spec,
    }  # fmt: skip


def node_status(
    node: Object, addresses: Sequence[str], *, max_pods: int, plugged: bool = True
) -> Object:
    """Return the status of a healthy node, or of one that has no network plugin."""
    name = node["metadata"]["name"]
    found: list[Object] = (node.get("status") or {}).get("conditions") or []
    now = times.text()
    for kind, value, reason, message in (
        ("MemoryPressure", "False", "HasSufficientMemory", "has sufficient memory available"),
        ("DiskPressure", "False", "HasNoDiskPressure", "has no disk pressure"),
        ("PIDPressure", "False", "HasSufficientPID", "has sufficient PID available"),
        ("Ready", "True", "Ready", "is posting ready status"),
    ):
        words = {"reason": f"Kubelet{reason}", "message": f"kubelet {message}"}
        condition = {"type": kind, "status": value, **words}
        if kind == "Ready" and not plugged:
            condition |= {"status": "False", "reason": "KubeletNotReady", "message": NO_PLUGIN}
        found = conditions.put(found, {**condition, "lastHeartbeatTime": now})
    amounts = _capacity(max_pods)
    return {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in addresses),
            {"type": "Hostname", "address": name},
        ],
        "allocatable": amounts,
        "capacity": amounts,
        "conditions": found,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": _info(name),
    }


def _architecture() -> str:
    """Return the machine's architecture by Go's name."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _capacity(max_pods: int) -> dict[str, str]:
    return {**resources.machine(), "pods": str(max_pods)}


def _info(name: str) -> Object:
    identity = uuid5(NAMESPACE_DNS, name)
    boot = Path("/proc/sys/kernel/random/boot_id")
    release = Path("/etc/os-release")
    system = ""
    if release.exists():
        for line in release.read_text(encoding="utf-8").splitlines():
            if line.startswith("PRETTY_NAME="):
                system = line.partition("=")[2].strip('"')
    return {
        "architecture": _architecture(),
        "bootID": boot.read_text(encoding="ascii").strip() if boot.exists() else "",
        "containerRuntimeVersion": f"{RUNTIME_NAME}://{__version__}",
        "kernelVersion": platform.release(),
        "kubeProxyVersion": "",
        "kubeletVersion": KUBELET_VERSION,
        "machineID": identity.hex,
        "operatingSystem": "linux",
        "osImage": system or "Linux",
        "systemUUID": str(identity),
    }  # fmt: skip


def _lease(node: Object, now: str) -> Object:
    name = node["metadata"]["name"]
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": LEASE_NAMESPACE,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
            ],
        },
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now,
        },
    }
