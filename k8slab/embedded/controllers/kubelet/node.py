"""The kubelet of one node: it gives each pod bound to the node a worker.

Everything runs in the daemon's event loop; a node is a network namespace, an address and
this object.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Protocol

from k8slab.embedded.controllers.kubelet.probes import Prober
from k8slab.embedded.controllers.kubelet.worker import PodWorker
from k8slab.objects.meta import Object, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from k8slab.embedded.controllers.context import Context
    from k8slab.embedded.runtime.spec import ContainerExit


class PodGate(Protocol):
    """How a pod waits for the policies and Services that concern it."""

    async def admit(self, pod: Object) -> None:
        """Return when the policies that select `pod` are in the kernel."""

    async def attached(self, pod: Object, addresses: Sequence[str]) -> None:
        """Learn a pod's addresses; return when the rules of its peers know them."""

    async def leaving(self, pod: Object) -> None:
        """Return when the Services that led to a pod that is being deleted no longer do."""

    def detached(self, uid: str) -> None:
        """Forget a pod's addresses."""


class Exits:
    """Who is told when a container ends.

    A container can end before the call that started it has returned; such an end is kept
    until somebody asks for it.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, Callable[[ContainerExit], None]] = {}
        self._early: dict[str, ContainerExit] = {}

    def ended(self, exit_: ContainerExit) -> None:
        """Tell of the end of a container."""
        listener = self._listeners.pop(exit_.container_id, None)
        if listener is None:
            self._early[exit_.container_id] = exit_
        else:
            listener(exit_)

    def listen(self, container_id: str, listener: Callable[[ContainerExit], None]) -> None:
        """Call `listener` when this container ends; at once if it has ended."""
        ended = self._early.pop(container_id, None)
        if ended is None:
            self._listeners[container_id] = listener
        else:
            listener(ended)

    def forget(self, container_id: str) -> None:
        """Tell nobody."""
        self._listeners.pop(container_id, None)
        self._early.pop(container_id, None)


class NodeAgent:
    """One node's kubelet."""

    def __init__(
        self,
        context: Context,
        gate: PodGate,
        exits: Exits,
        *,
        name: str,
        addresses: Sequence[str],
        logs: Path,
        cluster_dns: Sequence[str],
        node_dns: Sequence[str],
    ) -> None:
        self.context = context
        self.gate = gate
        self.exits = exits
        self.name = name
        self.addresses = list(addresses)
        self.cluster_dns = cluster_dns
        self.node_dns = node_dns
        self.prober = Prober(context.runtime, self.netns)
        self.workers: dict[str, PodWorker] = {}
        self.works = asyncio.Event()
        """Not set: the kubelet is stopped, hears and says nothing; its containers run on."""
        self.works.set()
        self.plugged = True
        """Without a configuration of the network plugin no pod gets a network of its own."""
        self._logs = logs

    @property
    def stopped(self) -> bool:
        """Tell whether the kubelet is stopped."""
        return not self.works.is_set()

    def stop(self) -> None:
        """Stop it, until `resume`."""
        self.works.clear()

    def netns(self) -> int:
        """Return the descriptor of the node's network namespace."""
        return self.context.network.node_netns(self.name)

    def pod_changed(self, pod: Object) -> None:
        """Take over a pod that is bound to this node, or a newer form of it."""
        if self.stopped:
            return
        worker = self.workers.get(uid_of(pod))
        if worker is None:
            self.workers[uid_of(pod)] = PodWorker(pod, self)
        else:
            worker.changed(pod)

    def pod_removed(self, uid: str) -> None:
        """Learn that a pod's object is gone."""
        worker = self.workers.get(uid)
        if worker is not None and not self.stopped:
            worker.removed()

    def resume(self, pods: Iterable[Object]) -> None:
        """Start again: look at the node's pods as they are now."""
        self.works.set()
        found = {uid_of(pod): pod for pod in pods}
        for uid, worker in tuple(self.workers.items()):
            if uid not in found:
                worker.removed()
        for pod in found.values():
            self.pod_changed(pod)

    def source_changed(self, resource: str, source: Object) -> None:
        """Learn that a ConfigMap or Secret changed."""
        for worker in self.workers.values():
            if namespace_of(worker.pod) == namespace_of(source):
                worker.source_changed(resource, name_of(source))

    def forget(self, worker: PodWorker) -> None:
        """Drop a pod that is gone."""
        self.workers.pop(worker.uid, None)
        for record in worker.records.values():
            self.exits.forget(record.id)

    async def drop_logs(self, pod: Object) -> None:
        """Remove the logs of a pod that is gone; a disk may be slow, so not on the event loop."""
        await asyncio.to_thread(shutil.rmtree, self.log_folder(pod), ignore_errors=True)

    def log_folder(self, pod: Object) -> Path:
        """Return where the logs of a pod are, named as on a real node."""
        return self._logs / f"{namespace_of(pod)}_{name_of(pod)}_{uid_of(pod)}"

    async def close(self) -> None:
        """Stop all workers; the runtime ends the processes."""
        for worker in tuple(self.workers.values()):
            await worker.close()
