"""Places where packets are captured, on a cluster whose kernel tells nothing.

A pod whose own image has python3, and whose container may open packet sockets (NET_RAW, which
containers have unless somebody took it away), is watched by exec and left as it was. With an
image for debugging two more things are possible: an ephemeral container in a pod that cannot
watch (it stays in the pod's spec until the pod goes: the API knows no way to remove one), and a
pod on a node's own network, which is deleted afterwards.
"""

from __future__ import annotations

import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.clusters.media import STRATEGIC
from k8slab.errors import K8slabError, ProbeError
from k8slab.objects import meta
from k8slab.policy import Party
from k8slab.probes.services import slices_of
from k8slab.probes.targets import run_in_pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

Found = dict[str, Any]
"""What `hopwatch` prints."""

LONGEST = 300
"""Seconds after which a helper ends by itself, should nobody end it."""

_CAN_WATCH = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"
_NO_PYTHON = "its image has no python3"
_NO_IMAGE = "that takes an image for a pod of our own there"


@dataclass(frozen=True, slots=True)
class Watcher:
    """One place that is watched: the pod, or the node whose network the helper has."""

    kind: str
    """``pod`` or ``node``."""
    name: str
    pod: Party
    """Where the program runs."""
    container: str = ""


@dataclass
class Post:
    """Watches places while something is sent; `unseen` says of each other place why not."""

    cluster: Any
    ports: Sequence[int]
    image: str = ""
    unseen: dict[str, str] = field(default_factory=dict)

    def run(self, watcher: Watcher, words: Iterable[object], **options: Any) -> Found:
        """Run the program at a place and return what it found; raises `ProbeError`."""
        ports = ",".join(map(str, self.ports))
        role, *rest = map(str, words)
        argv = ["python3", "-c", program(), role, ports, *rest]
        done = run_in_pod(self.cluster, watcher.pod, argv, container=watcher.container, **options)
        *_, last = done.stdout.strip().splitlines() or [""]
        try:
            found: Found = json.loads(last)
        except ValueError as error:
            said = (done.stderr or done.stdout).strip().rpartition("\n")[2][-200:]
            raise ProbeError(said or f"exit code {done.code}") from error
        return found

    def watch(
        self, watchers: Sequence[Watcher], send: Callable[[], Found]
    ) -> tuple[Found, dict[Watcher, Found]]:
        """Send when all places are watched; return what the sender and each watcher found."""
        done = threading.Event()
        ready = {watcher: threading.Event() for watcher in watchers}

        def until_sent(watcher: Watcher) -> bytes:
            ready[watcher].set()
            done.wait(LONGEST)
            return b"\n"

        def one(watcher: Watcher) -> Found:
            try:
                options = {"stdin": lambda: until_sent(watcher), "deadline": LONGEST}
                return self.run(watcher, ["watch"], **options)
            finally:
                ready[watcher].set()

        with ThreadPoolExecutor(max(1, len(watchers))) as pool:
            running = {watcher: pool.submit(one, watcher) for watcher in watchers}
            try:
                for event in ready.values():
                    event.wait()
                sent = send()
            finally:
                done.set()
            wait(running.values())
        return sent, dict(self._results(running))

    def _results(self, running: Mapping[Watcher, Future[Found]]) -> Iterator[tuple[Watcher, Found]]:
        for watcher, future in running.items():
            try:
                yield watcher, future.result()
            except K8slabError as error:
                self.unseen[f"{watcher.kind} {watcher.name}"] = error.message

    @contextmanager
    def places(self, pods: Sequence[Party], nodes: Sequence[str]) -> Iterator[list[Watcher]]:
        """Give watchers for pods and nodes, as far as there can be any; helpers go afterwards."""
        with ExitStack() as stack:
            found = [one for pod in pods if (one := self._in_pod(pod))]
            for node in nodes:
                if not self.image:
                    self.unseen[f"node {node}"] = _NO_IMAGE
                elif one := self._on_node(node, pods[0].namespace, stack):
                    found.append(one)
            yield found

    def _in_pod(self, pod: Party) -> Watcher | None:
        watcher = Watcher("pod", str(pod), pod)
        try:
            done = run_in_pod(self.cluster, pod, ["python3", "-c", _CAN_WATCH])
            why = done.stderr.strip().rpartition("\n")[2] if done.code else ""
        except K8slabError as error:
            why = _NO_PYTHON if "executable file not found" in error.message else error.message
        if not why:
            return watcher
        if not self.image:
            self.unseen[f"pod {pod}"] = why
            return None
        try:
            return replace(watcher, container=self._debug(pod))
        except K8slabError as error:
            self.unseen[f"pod {pod}"] = error.message
            return None

    def _debug(self, pod: Party) -> str:
        """Add an ephemeral container to a pod and return its name, when it runs."""
        name = f"k8slab-watch-{secrets.token_hex(3)}"
        container = {"name": name, "image": self.image, "command": ["sleep", str(LONGEST)]}
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/ephemeralcontainers"
        body = {"spec": {"ephemeralContainers": [container]}}
        self.cluster.request("PATCH", path, body, content_type=STRATEGIC)

        def runs(found: Mapping[str, Any]) -> bool:
            states = found.get("status", {}).get("ephemeralContainerStatuses") or ()
            return any("running" in one["state"] for one in states if one["name"] == name)

        self.cluster.wait("pods", pod.name, pod.namespace, until=runs)
        return name

    def _on_node(self, node: str, namespace: str, stack: ExitStack) -> Watcher | None:
        name = f"k8slab-watch-{secrets.token_hex(3)}"
        spec = {
            "nodeName": node,
            "hostNetwork": True,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LONGEST,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {"name": "watch", "image": self.image, "command": ["sleep", str(LONGEST)]}
            ],
        }
        metadata = {"name": name, "labels": {"app.kubernetes.io/managed-by": "k8slab"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        try:
            self.cluster.apply([pod], namespace=namespace)
            stack.callback(self.cluster.delete, "pods", name, namespace, grace=0)
            self.cluster.wait("pods", name, namespace, until="ready")
        except K8slabError as error:
            self.unseen[f"node {node}"] = error.message
            return None
        return Watcher("node", node, Party("pod", name, namespace))


@cache
def program() -> str:
    """Return the text of the program that watches."""
    return Path(__file__).with_name("hopwatch.py").read_text(encoding="utf-8")


def node_of(cluster: Any, pod: Party) -> str:
    """Return the name of the node that runs a pod; empty where none does."""
    found = cluster.get("pods", pod.name, pod.namespace) or {}
    return str((found.get("spec") or {}).get("nodeName") or "")


@dataclass(frozen=True, slots=True)
class Behind:
    """Who stands behind an address, as the objects say."""

    service: str = ""
    """NAMESPACE/NAME of the Service whose address it is; empty for a pod's own."""
    pods: tuple[Party, ...] = ()
    ports: frozenset[int] = frozenset()
    """The pods' own ports, where a Service leads to them."""


def behind(cluster: Any, address: str) -> Behind:
    """Say who stands behind an address; nobody for one that is none of the cluster's."""
    for pod in cluster.list("pods"):
        status, spec = pod.get("status") or {}, pod.get("spec") or {}
        own = {one.get("ip") for one in status.get("podIPs") or ()} | {status.get("podIP")}
        if address in own and not spec.get("hostNetwork"):
            return Behind(pods=(Party("pod", meta.name_of(pod), meta.namespace_of(pod)),))
    for service in cluster.list("services"):
        spec = service["spec"]
        if address in (spec.get("clusterIPs") or [spec.get("clusterIP")]):
            return _behind_service(cluster, meta.name_of(service), meta.namespace_of(service))
    return Behind()


def _behind_service(cluster: Any, name: str, space: str) -> Behind:
    slices = slices_of(cluster, name, space)
    references = [
        endpoint["targetRef"]
        for one in slices
        for endpoint in one.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True) and "targetRef" in endpoint
    ]
    pods = dict.fromkeys(Party("pod", r["name"], r.get("namespace") or space) for r in references)
    ports = {port["port"] for one in slices for port in one.get("ports") or () if "port" in port}
    return Behind(f"{space}/{name}", tuple(pods), frozenset(ports))
