"""All kubelets of the cluster: they share one subscription and one door for the daemon."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import conditions
from k8slab.embedded.controllers.index import node_name
from k8slab.embedded.controllers.kubelet.node import Exits, NodeAgent
from k8slab.objects.meta import Object, name_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context
    from k8slab.embedded.controllers.kubelet.node import PodGate
    from k8slab.embedded.controllers.kubelet.worker import PodWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInfo:
    """One container as the daemon's pod backend needs it."""

    id: str
    """Of the present or last instance; empty when it never started."""
    running: bool
    restarts: int
    waiting: str
    """Why it does not run (``ContainerCreating``, ``ImagePullBackOff``, ...), or empty."""
    log: Path
    """Of the present or last instance."""
    previous_log: Path | None
    """Of the instance before that; ``None`` when there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDns:
    """Name servers for pods: the cluster's, and those of the nodes."""

    cluster: Sequence[str]
    node: Sequence[str]


class Kubelets:
    """The kubelets, by node."""

    def __init__(
        self,
        context: Context,
        gate: PodGate,
        *,
        nodes: Mapping[str, Sequence[str]],
        logs: Path,
        dns: NodeDns,
    ) -> None:
        exits = Exits()
        context.runtime.on_exit = exits.ended
        self.agents = {
            name: NodeAgent(
                context,
                gate,
                exits,
                name=name,
                addresses=addresses,
                logs=logs,
                cluster_dns=dns.cluster,
                node_dns=dns.node,
            )
            for name, addresses in nodes.items()
        }
        api = self._api = context.api
        self._unsubscribe: list[Callable[[], None]] = [
            api.subscribe("pods", self._pod_event),
            api.subscribe("nodes", self._node_event),
            *(
                api.subscribe(resource, partial(self._source_event, resource))
                for resource in ("configmaps", "secrets")
            ),
        ]
        present = api.list("pods")
        for pod in present:
            self._offer(pod)
        lost = _lost_logs(logs, present)  # looked up before a new pod can have any
        self._sweeping = asyncio.ensure_future(asyncio.to_thread(_remove, lost))

    async def close(self) -> None:
        """Stop all workers; the runtime ends the processes."""
        await self._sweeping
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        for agent in self.agents.values():
            await agent.close()

    def stop(self, node: str) -> None:
        """Stop one node's kubelet; its containers run on."""
        self.agents[node].stop()

    def resume(self, node: str) -> None:
        """Start it again."""
        self.agents[node].resume(p for p in self._api.list("pods") if node in node_name(p))

    def plug(self, node: str, *, there: bool) -> None:
        """Give a node a configuration of the network plugin, or take it away."""
        agent = self.agents[node]
        agent.plugged = there
        for worker in agent.workers.values():
            worker.wake()

    def _node_event(self, event: Event) -> None:
        """Say again how the pods are when their node was taken for dead and is not."""
        agent = self.agents.get(name_of(event.object))
        forms = (event.old, event.object)
        before, now = (
            form is not None
            and conditions.is_true((form.get("status") or {}).get("conditions"), "Ready")
            for form in forms
        )
        if agent is not None and now and not before:
            for worker in agent.workers.values():
                worker.wake()

    def container(self, pod: Object, name: str) -> ContainerInfo | None:
        """Return what is known of a container, ``None`` for an unknown pod or container."""
        worker = self._worker(pod)
        record = worker.records.get(name) if worker else None
        if worker is None or record is None:
            return None
        folder = worker.agent.log_folder(worker.pod) / name
        last = record.restarts
        return ContainerInfo(
            id=record.id,
            running=record.running,
            restarts=last,
            waiting=record.reason,
            log=folder / f"{last}.log",
            previous_log=folder / f"{last - 1}.log" if last else None,
        )

    def pod_netns(self, pod: Object) -> int | None:
        """Return the descriptor of a pod's network namespace, ``None`` when it has none."""
        worker = self._worker(pod)
        return worker.sandbox.netns if worker and worker.sandbox else None

    def _worker(self, pod: Object) -> PodWorker | None:
        agent = self.agents.get(pod["spec"].get("nodeName", ""))
        return agent.workers.get(uid_of(pod)) if agent else None

    def _offer(self, pod: Object) -> None:
        agent = self.agents.get(pod["spec"].get("nodeName", ""))
        if agent is not None:
            agent.pod_changed(pod)

    def _pod_event(self, event: Event) -> None:
        if event.type != "DELETED":
            self._offer(event.object)
            return
        agent = self.agents.get(event.object["spec"].get("nodeName", ""))
        if agent is not None:
            agent.pod_removed(uid_of(event.object))

    def _source_event(self, resource: str, event: Event) -> None:
        for agent in self.agents.values():
            agent.source_changed(resource, event.object)


def _lost_logs(logs: Path, pods: Sequence[Object]) -> list[Path]:
    """Return the logs of pods that went when nobody removed them: the cluster was killed then."""
    present = set(map(uid_of, pods))
    folders = logs.iterdir() if logs.is_dir() else ()
    return [folder for folder in folders if folder.name.rpartition("_")[2] not in present]


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
