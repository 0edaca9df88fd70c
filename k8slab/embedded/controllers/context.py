"""What every controller is given, and what controllers need of the rooms below.

The protocols name only the methods that are called here, so that tests can give
small fakes; `network.Network` and `runtime.Runtime` fulfil them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.backends import Process
    from k8slab.embedded.config import ClusterConfig
    from k8slab.embedded.controllers.events import Recorder
    from k8slab.embedded.network.model import HostPort, PolicyDirection, ServicePort
    from k8slab.embedded.runtime.spec import ContainerExit, ContainerSpec, ExecSpec, SandboxSpec
    from k8slab.objects.meta import Object


class Network(Protocol):
    """The part of `network.Network` that controllers call."""

    async def add_node(self, name: str) -> list[str]:
        """Make a node's network namespace and return its addresses."""

    def node_netns(self, name: str) -> int:
        """Return the descriptor of a node's network namespace."""

    def pod_cidrs(self, name: str) -> list[str]:
        """Return the address blocks of a node's pods."""

    async def attach_pod(
        self, *, node: str, uid: str, netns: int, host_ports: Iterable[HostPort] = ()
    ) -> list[str]:
        """Connect a pod and return its addresses."""

    async def detach_pod(self, uid: str) -> None:
        """Disconnect a pod and free its addresses."""

    async def sync_services(self, ports: Mapping[tuple[str, str, str, str], ServicePort]) -> None:
        """Make the kernel serve exactly these Service ports."""

    async def pace_proxy(self, node: str, seconds: float) -> None:
        """Have a node's kube-proxy let this time pass between two writes."""

    async def sync_policies(self, directions: Iterable[PolicyDirection]) -> None:
        """Make the kernel enforce exactly these policies; return when it does."""

    async def announce_load_balancer(self, address: str, node: str | None) -> None:
        """Have `node` answer for a load-balancer address; ``None`` withdraws it."""


class Sandbox(Protocol):
    """What `Runtime.create_sandbox` returns."""

    @property
    def uid(self) -> str:
        """Return the pod's UID."""

    @property
    def netns(self) -> int:
        """Return the descriptor of the pod's network namespace."""


class Container(Protocol):
    """What `Runtime.start_container` returns."""

    @property
    def id(self) -> str:
        """Return the container's id, new for each start."""

    @property
    def started_at(self) -> float:
        """Return when it started, in seconds since the epoch."""


class Runtime(Protocol):
    """The part of `runtime.Runtime` that controllers call."""

    on_exit: Callable[[ContainerExit], None]

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """Make the namespaces that the containers of a pod share."""

    async def remove_sandbox(self, uid: str) -> None:
        """Kill what is left in a sandbox and remove it."""

    def check_image(self, image: str) -> None:
        """Raise `ImageNotFoundError` for an image that is not in the catalogue."""

    async def start_container(self, sandbox_uid: str, spec: ContainerSpec) -> Container:
        """Start a container."""

    async def stop_container(self, container_id: str, grace: float) -> None:
        """TERM, then after `grace` seconds KILL; return when it has ended."""

    async def update_volume(self, sandbox_uid: str, volume: str, files: dict[str, bytes]) -> None:
        """Rewrite the files of a volume."""

    async def exec(self, container_id: str, spec: ExecSpec) -> Process:
        """Start one more process in a container."""


class Credentials(Protocol):
    """What makes pods trust the API and be trusted by it."""

    @property
    def ca_certificate(self) -> str:
        """Return the cluster's CA certificate, PEM."""

    def pod_token(self, pod: Object, *, audience: str, seconds: int) -> str:
        """Sign a service-account token bound to `pod`."""

    def account_token(self, account: Object, secret: Object) -> str:
        """Sign a service-account token that `secret` will hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The rooms below, and the recorder of Events, as each controller sees them."""

    api: Api
    network: Network
    runtime: Runtime
    config: ClusterConfig
    credentials: Credentials
    events: Recorder
