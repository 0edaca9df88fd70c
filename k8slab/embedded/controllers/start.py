"""Assemble the controllers: what is made in which order, and what the daemon holds of them.

Order matters twice. Policies and Services are in the kernel before the first pod starts;
and what a fresh cluster has (`bootstrap`) is there before the loops that expect it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from k8slab.embedded.config import INSIDE
from k8slab.embedded.controllers import bootstrap, pods
from k8slab.embedded.controllers.api_service import ApiService
from k8slab.embedded.controllers.cluster_roles import ClusterRoles
from k8slab.embedded.controllers.context import Context
from k8slab.embedded.controllers.credentials import PodCredentials
from k8slab.embedded.controllers.deployments import Deployments
from k8slab.embedded.controllers.endpoint_slices import EndpointSlices
from k8slab.embedded.controllers.endpoints import Endpoints, Mirroring
from k8slab.embedded.controllers.event_expiry import EventExpiry
from k8slab.embedded.controllers.events import Recorder
from k8slab.embedded.controllers.garbage import Garbage
from k8slab.embedded.controllers.gate import Gate
from k8slab.embedded.controllers.kubelet.kubelets import Kubelets, NodeDns
from k8slab.embedded.controllers.load_balancers import LoadBalancers
from k8slab.embedded.controllers.namespaces import Namespaces
from k8slab.embedded.controllers.node_lifecycle import NodeLifecycle
from k8slab.embedded.controllers.nodes import Nodes
from k8slab.embedded.controllers.policies import Policies
from k8slab.embedded.controllers.proxy import Proxy
from k8slab.embedded.controllers.replicasets import ReplicaSets
from k8slab.embedded.controllers.scheduler import Scheduler
from k8slab.embedded.controllers.seldom import Seldom
from k8slab.embedded.controllers.taint_eviction import TaintEviction
from k8slab.embedded.controllers.token_secrets import TokenSecrets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.config import ClusterConfig
    from k8slab.embedded.controllers.context import Credentials, Network, Runtime


class Controller(Protocol):
    """Whatever `Controllers` has to close."""

    async def close(self) -> None:
        """Stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controllers:
    """All controllers of a running cluster."""

    api: Api
    nodes: Nodes
    kubelets: Kubelets
    policies: Policies
    proxy: Proxy
    events: Recorder
    lifecycle: NodeLifecycle
    evictions: TaintEviction
    others: tuple[Controller, ...]

    async def close(self) -> None:
        """Stop everything, in the opposite order of its start; processes are left alone."""
        for controller in (*reversed(self.others), self.kubelets, self.proxy, self.policies):
            await controller.close()
        await self.lifecycle.close()
        await self.evictions.close()
        await self.nodes.close()
        await self.events.close()

    def stop_agent(self, node: str) -> None:
        """Stop a node's kubelet: the lease is not renewed, nobody looks after its pods."""
        self.kubelets.stop(node)
        self.nodes.stop_agent(node)

    def start_agent(self, node: str) -> None:
        """Start a node's kubelet again."""
        self.kubelets.resume(node)
        self.nodes.start_agent(node)

    def plug(self, node: str, *, there: bool) -> None:
        """Give a node a configuration of the network plugin, or take it away."""
        self.kubelets.plug(node, there=there)
        self.nodes.plug(node, there=there)

    async def pods_ready(
        self, namespace: str, labels: dict[str, str], *, at_least: int = 1, deadline: float = 30.0
    ) -> bool:
        """Return when so many pods with these labels are Ready; False when time is up.

        What the store says of a pod that has no sandbox yet is from before a restart.
        """
        changed = asyncio.Event()

        def look(_: Event) -> None:
            changed.set()

        unsubscribe = self.api.subscribe("pods", look)
        try:
            async with asyncio.timeout(deadline):
                while self._ready(namespace, labels) < at_least:
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            return False
        finally:
            unsubscribe()
        return True

    def _ready(self, namespace: str, labels: dict[str, str]) -> int:
        return sum(
            1
            for pod in self.api.list("pods", namespace)
            if labels.items() <= (pod["metadata"].get("labels") or {}).items()
            and pods.is_ready(pod)
            and self.kubelets.pod_netns(pod) is not None
        )


async def start(
    api: Api,
    network: Network,
    runtime: Runtime,
    config: ClusterConfig,
    *,
    inside: Path = INSIDE,
    node_dns: Sequence[str] = (),
    credentials: Credentials | None = None,
    before_pods: Callable[[], Awaitable[None]] | None = None,
) -> Controllers:
    """Start every controller; return when the nodes are Ready.

    `network` and `runtime` have been started. `inside` has ``pki/`` and gets ``logs/``;
    `node_dns` are the name servers that a node's own resolv.conf names. `before_pods` is
    awaited once the nodes are there and before any pod is, so that the API answers when the
    first pod asks it.
    """
    events = Recorder(api)
    context = Context(
        api=api,
        network=network,
        runtime=runtime,
        config=config,
        credentials=credentials or PodCredentials(api, inside / "pki"),
        events=events,
    )
    bootstrap.furnish(api, config)
    namespaces = Namespaces(context)
    garbage = Garbage(context)
    nodes = Nodes(context)
    await nodes.start()
    api_service = ApiService(api, config, nodes.addresses[config.node_names[0]][0])
    policies = Policies(context)
    slices = EndpointSlices(context)
    proxy = Proxy(context, slices)
    await policies.start()
    await proxy.start()
    if before_pods is not None:
        await before_pods()
    kubelets = Kubelets(
        context,
        Gate(api, policies=policies, slices=slices, proxy=proxy),
        nodes=nodes.addresses,
        logs=inside / "logs" / "pods",
        dns=NodeDns(cluster=bootstrap.dns_addresses(config), node=node_dns),
    )
    return Controllers(
        api=api,
        nodes=nodes,
        kubelets=kubelets,
        policies=policies,
        proxy=proxy,
        events=events,
        lifecycle=NodeLifecycle(context),
        evictions=TaintEviction(context),
        others=(
            namespaces,
            garbage,
            api_service,
            slices,
            Endpoints(context),
            Mirroring(context, proxy),
            ClusterRoles(context),
            Scheduler(context),
            ReplicaSets(context),
            Deployments(context),
            LoadBalancers(context),
            EventExpiry(context),
            TokenSecrets(context),
            Seldom(context),
        ),
    )
