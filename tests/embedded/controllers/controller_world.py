"""A network and a runtime that only remember; the API and its store are the real ones."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from k8slab.embedded import clock
from k8slab.embedded.apiserver.api import Api
from k8slab.embedded.apiserver.store import Store
from k8slab.embedded.config import ClusterConfig
from k8slab.embedded.controllers import start as assembly
from k8slab.embedded.controllers.kubelet.probes import Attempt
from k8slab.embedded.runtime.spec import (
    ContainerExit,
    ContainerSpec,
    ExecSpec,
    ImageNotFoundError,
    SandboxSpec,
)
from k8slab.errors import ApiStatusError
from k8slab.objects.meta import is_deleting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


async def eventually(check: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """Return what `check` gives once it is true; time, too, can make it true."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"not in {seconds} s"
        await asyncio.sleep(0.001)
    return found


class FakeNetwork:
    """Give out addresses, remember what it was told."""

    def __init__(self) -> None:
        self.numbers = itertools.count(2)
        self.pod_numbers = itertools.count(5)
        self.pods: dict[str, list[str]] = {}
        self.services: dict[tuple, Any] = {}
        self.policies: list[Any] = []
        self.announced: dict[str, str | None] = {}
        self.log: list[tuple[str, Any]] = []
        self.attach_failures = 0

    async def add_node(self, name: str) -> list[str]:
        return [f"172.18.0.{next(self.numbers)}"]

    def node_netns(self, name: str) -> int:
        return 0

    def pod_cidrs(self, name: str) -> list[str]:
        return ["10.244.0.0/26"]

    async def attach_pod(
        self, *, node: str, uid: str, netns: int, host_ports: Iterable = ()
    ) -> list[str]:
        await asyncio.sleep(0)
        number = next(self.pod_numbers)
        self.pods[uid] = [f"10.244.{number // 250}.{number % 250}"]
        self.log.append(("attach", uid))
        return self.pods[uid]

    async def detach_pod(self, uid: str) -> None:
        self.pods.pop(uid, None)
        self.log.append(("detach", uid))

    async def sync_services(self, ports: Mapping) -> None:
        await asyncio.sleep(0)
        self.services = dict(ports)

    async def sync_policies(self, directions: Iterable) -> None:
        found = list(directions)
        await asyncio.sleep(0)
        self.policies = found
        self.log.append(("policies", found))

    async def announce_load_balancer(self, address: str, node: str | None) -> None:
        self.announced[address] = node


@dataclass
class FakeContainer:
    """One started container."""

    id: str
    spec: ContainerSpec
    sandbox: str
    started_at: float = field(default_factory=clock.now)
    graces: list[float] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class FakeRuntime:
    """Start nothing, but tell it as the real one does."""

    def __init__(self) -> None:
        self.on_exit: Callable[[ContainerExit], None] = lambda _: None
        self.sandboxes: dict[str, SandboxSpec] = {}
        self.containers: dict[str, FakeContainer] = {}
        self.history: list[str] = []
        self.volumes: dict[tuple[str, str], dict[str, bytes]] = {}
        self.numbers = itertools.count()
        self.unknown_images = {"nowhere"}
        self.exec_codes: dict[tuple[str, ...], int] = {}
        self.ends_at_once: dict[str, int] = {}
        self.ignores_term = False

    async def create_sandbox(self, spec: SandboxSpec) -> Any:
        await asyncio.sleep(0)
        self.sandboxes[spec.uid] = spec
        return SimpleNamespace(uid=spec.uid, netns=0)

    async def remove_sandbox(self, uid: str) -> None:
        self.sandboxes.pop(uid, None)
        for container in [c for c in self.containers.values() if c.sandbox == uid]:
            self.exit(container.id, 137)

    def check_image(self, image: str) -> None:
        if image in self.unknown_images:
            raise ImageNotFoundError(f"image {image!r} is not in the catalogue", hint="look there")

    async def start_container(self, sandbox_uid: str, spec: ContainerSpec) -> FakeContainer:
        await asyncio.sleep(0)
        self.check_image(spec.image)
        container = FakeContainer(f"c{next(self.numbers)}", spec, sandbox_uid)
        self.containers[container.id] = container
        Path(spec.log_path).parent.mkdir(parents=True, exist_ok=True)
        self.history.append(f"start {spec.name}")
        if spec.image in self.ends_at_once:
            self.exit(container.id, self.ends_at_once[spec.image])
        return container

    async def stop_container(self, container_id: str, grace: float) -> None:
        container = self.containers.get(container_id)
        if container is None:
            return
        container.graces.append(grace)
        if not self.ignores_term or grace == 0:
            self.exit(container_id, 143)
        await container.ended.wait()

    async def update_volume(self, sandbox_uid: str, volume: str, files: dict[str, bytes]) -> None:
        self.volumes[sandbox_uid, volume] = files

    async def exec(self, container_id: str, spec: ExecSpec) -> Any:
        """Run a command that says nothing and ends with what `exec_codes` has for it, else 0."""
        code = self.exec_codes.get(spec.argv, 0)
        self.history.append(f"exec {' '.join(spec.argv)}")

        async def wait() -> int:
            await asyncio.sleep(0)
            return code

        return SimpleNamespace(stdin=None, stdout=None, stderr=None, wait=wait, kill=lambda: None)

    def exit(self, container_id: str, code: int) -> None:
        container = self.containers.pop(container_id)
        container.ended.set()
        self.history.append(f"end {container.spec.name}")
        self.on_exit(ContainerExit(container_id, code, finished_at=clock.now()))

    def of(self, pod: dict) -> list[FakeContainer]:
        return [c for c in self.containers.values() if c.sandbox == pod["metadata"]["uid"]]


class FakeProber:
    """Answer probes as told: by container name, else passed."""

    def __init__(self) -> None:
        self.answers: dict[str, Attempt] = {}
        self.count = 0

    async def attempt(self, probe: dict, target: Any) -> Attempt:
        self.count += 1
        await asyncio.sleep(0)
        return self.answers.get(target.container["name"], Attempt(passed=True))


class FakeCredentials:
    ca_certificate = "CERTIFICATE"
    number = 1

    def pod_token(self, pod: dict, *, audience: str, seconds: int) -> str:
        return f"token {self.number} of {pod['metadata']['name']}"

    def account_token(self, account: dict, secret: dict) -> str:
        return f"token of {account['metadata']['name']} in {secret['metadata']['name']}"


@dataclass
class World:
    """A cluster without processes and packets."""

    api: Api
    network: FakeNetwork
    runtime: FakeRuntime
    controllers: assembly.Controllers
    prober: FakeProber

    def at_third_pod(self, act: Callable[[], Any]) -> list[Any]:
        """Have `act` done when others have their turn after the third pod; return those made."""
        added: list[Any] = []

        def seen(event: Any) -> None:
            if event.type == "ADDED":
                added.append(event.object)
                if len(added) == 3:
                    asyncio.get_running_loop().call_soon(act)

        self.api.subscribe("pods", seen)
        return added

    async def until(self, check: Callable[[], Any], *, seconds: float = 30.0) -> Any:
        """Return what `check` gives once it is true."""
        return await eventually(check, seconds=seconds)

    def pods(self, namespace: str = "default", **labels: str) -> list[dict]:
        found = self.api.list("pods", namespace)
        return [p for p in found if labels.items() <= (p["metadata"].get("labels") or {}).items()]

    def names(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods()]

    def pod(self, name: str, namespace: str = "default") -> dict | None:
        return self.api.get("pods", name, namespace)

    def ready(self, namespace: str = "default", **labels: str) -> list[dict]:
        return [p for p in self.pods(namespace, **labels) if is_ready(p)]

    def count_deletions(self, number: int, then: Callable[[], Any]) -> list[str]:
        """Return a growing list of pods that are deleted; after so many of them, call `then`."""
        gone: list[str] = []

        def seen(event: Any) -> None:
            begins = is_deleting(event.object) and not is_deleting(event.old or {"metadata": {}})
            if event.type == "MODIFIED" and begins:
                gone.append(event.object["metadata"]["name"])
                if len(gone) == number:
                    asyncio.get_running_loop().call_soon(then)

        self.api.subscribe("pods", seen)
        return gone

    def controller(self, kind: str) -> Any:
        """Return the one controller of this class, one that starts with its first object too."""
        others = self.controllers.others
        (found,) = (
            one
            for one in (*others, *(c for o in others for c in getattr(o, "running", ())))
            if type(one).__name__ == kind
        )
        return found

    def refuse_first_deletion(self) -> list[str]:
        """Refuse to delete the first pod whose deletion is asked for; return its name in a list."""
        delete, kept = self.api.delete, []

        def refusing(resource: str, name: str, *args: Any, **more: Any) -> dict:
            if resource == "pods" and not kept:
                kept.append(name)
            if resource == "pods" and name in kept:
                raise ApiStatusError("no", code=403, reason="Forbidden")
            return delete(resource, name, *args, **more)

        self.api.delete = refusing  # type: ignore[method-assign]
        return kept


def is_ready(pod: dict) -> bool:
    found = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found)


def pod_object(name: str, *, image: str = "web", labels: dict | None = None, **spec: Any) -> dict:
    containers = spec.pop("containers", [{"name": "main", "image": image}])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {"containers": containers, **spec},
    }


def deployment(name: str, replicas: int, *, image: str = "web", **spec: Any) -> dict:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
            **spec,
        },
    }


@asynccontextmanager
async def world(folder: Path, *, dns: bool = False, nodes: int = 3):
    """Run the controllers over the real API; without CoreDNS unless asked for."""
    config = ClusterConfig(nodes=nodes)
    store = Store(folder / "store.sqlite")
    api = Api(store, config)
    network, runtime, prober = FakeNetwork(), FakeRuntime(), FakeProber()
    controllers = await assembly.start(
        api, network, runtime, config, inside=folder, credentials=FakeCredentials()
    )
    for agent in controllers.kubelets.agents.values():
        agent.prober = prober
    made = World(api, network, runtime, controllers, prober)
    if not dns and api.get("deployments.apps", "coredns", "kube-system"):
        api.delete("deployments.apps", "coredns", "kube-system")
        for owner in api.list("replicasets.apps", "kube-system"):
            api.delete("replicasets.apps", owner["metadata"]["name"], "kube-system")
    try:
        yield made
    finally:
        await controllers.close()
        store.close()
