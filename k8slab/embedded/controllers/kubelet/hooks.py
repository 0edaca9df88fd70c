"""Lifecycle hooks: a command, a request or a pause, right after the start or before the end.

A hook may take for ever, so each is a task. It ends with its container, and a postStart hook
also when its pod is to go: the pod's actor, which waits for it, has to take the pod down then
(kubelet: ``podWorkers`` cancels the context of the pod's sync when it becomes terminating).
Source: core/v1 ``Lifecycle``, ``LifecycleHandler``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from k8slab.embedded.controllers.kubelet.probes import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.controllers.kubelet.probes import Prober
    from k8slab.embedded.controllers.kubelet.records import Record
    from k8slab.objects.meta import Object

Phase = Literal["postStart", "preStop"]

LONGEST = 3600
"""Seconds until a hook that nothing else ends counts as failed."""


class Hooks:
    """The hooks of one pod's containers."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._running: dict[asyncio.Task[str], tuple[str, Phase]] = {}

    async def run(self, record: Record, phase: Phase, addresses: Sequence[str]) -> str:
        """Run a container's hook, if it has one; return what went wrong, or an empty string.

        That it was ended early is not wrong: whoever ended the container knows why.
        """
        hook = (record.spec.get("lifecycle") or {}).get(phase)
        if not hook:
            return ""
        target = Target(address=addresses[0], container_id=record.id, container=record.spec)
        task = asyncio.get_running_loop().create_task(self._act(hook, target))
        self._running[task] = (record.id, phase)
        try:
            await asyncio.wait({task})
        finally:
            del self._running[task]
            task.cancel()  # we ourselves were cancelled: its command ends, too
        return "" if task.cancelled() else task.result()

    def end(self, container_id: str = "", phase: Phase | None = None) -> None:
        """End the hooks of a container that has ended, or all of one phase."""
        for task, (owner, kind) in self._running.items():
            if owner == container_id or kind == phase:
                task.cancel()

    async def _act(self, hook: Object, target: Target) -> str:
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"].get("seconds") or 0)
            return ""
        attempt = await self._prober.attempt({**hook, "timeoutSeconds": LONGEST}, target)
        return "" if attempt.passed else attempt.message
