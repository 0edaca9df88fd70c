"""The probes of a pod's running containers: when they run, and what their verdicts do.

The first readiness attempt is made at once. While nobody listens on the port yet, it is
made again after a few milliseconds, for one period at most and without being counted:
an application that starts in 3 ms is ready after 5 ms and not after a whole period.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from k8slab.embedded.controllers.kubelet.probes import Attempt, Counter, Target

if TYPE_CHECKING:
    from k8slab.embedded.controllers.kubelet.records import Record
    from k8slab.embedded.controllers.kubelet.worker import PodWorker
    from k8slab.objects.meta import Object

FIRST_RETRY = 0.002
LONGEST_RETRY = 0.25
DEFAULT_PERIOD = 10


class Monitor:
    """Run the probes of one pod's containers, each in a task of its own."""

    def __init__(self, worker: PodWorker) -> None:
        self._worker = worker
        self._tasks: dict[str, set[asyncio.Task[None]]] = {}

    def start(self, record: Record) -> None:
        """Begin probing a container that has just started."""
        if record.spec.get("startupProbe"):
            self._spawn(record, "startup")
        else:
            self._is_started(record)

    def stop(self, record: Record) -> None:
        """Stop probing a container."""
        for task in self._tasks.pop(record.id, ()):
            task.cancel()

    def close(self) -> None:
        """Stop probing all."""
        for tasks in self._tasks.values():
            for task in tasks:
                task.cancel()
        self._tasks.clear()

    def _is_started(self, record: Record) -> None:
        record.started = True
        if record.spec.get("readinessProbe"):
            self._spawn(record, "readiness")
        else:
            record.ready = True
        if record.spec.get("livenessProbe"):
            self._spawn(record, "liveness")

    def _spawn(self, record: Record, kind: str) -> None:
        task = asyncio.get_running_loop().create_task(self._watch(record, kind))
        self._tasks.setdefault(record.id, set()).add(task)

    async def _watch(self, record: Record, kind: str) -> None:
        probe = record.spec[f"{kind}Probe"]
        target = Target(
            address=self._worker.addresses[0], container_id=record.id, container=record.spec
        )
        counter = Counter()
        if probe.get("initialDelaySeconds"):
            await asyncio.sleep(probe["initialDelaySeconds"])
        attempt = await self._first(probe, target, quick=kind != "liveness")
        while True:
            if not attempt.passed:
                text = f"{kind.capitalize()} probe failed: {attempt.message}"
                self._worker.container_event(record, "Unhealthy", text, warning=True)
            verdict = counter.count(attempt, probe)
            if verdict is not None and self._decide(record, kind, passed=verdict):
                return
            await asyncio.sleep(probe.get("periodSeconds") or DEFAULT_PERIOD)
            attempt = await self._attempt(probe, target)

    async def _first(self, probe: Object, target: Target, *, quick: bool) -> Attempt:
        """Make the first attempt, again and again while nobody listens yet."""
        clock = asyncio.get_running_loop()
        deadline = clock.time() + (probe.get("periodSeconds") or DEFAULT_PERIOD)
        pause = FIRST_RETRY
        while True:
            attempt = await self._attempt(probe, target)
            if attempt.listening or not quick or clock.time() + pause > deadline:
                return attempt
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_RETRY)

    async def _attempt(self, probe: Object, target: Target) -> Attempt:
        """Make one attempt; a kubelet that is stopped makes none, and forgets the one it made."""
        agent = self._worker.agent
        while True:
            await agent.works.wait()
            attempt = await agent.prober.attempt(probe, target)
            if not agent.stopped:
                return attempt

    def _decide(self, record: Record, kind: str, *, passed: bool) -> bool:
        """Act on a verdict; return whether this probe is over."""
        worker = self._worker
        if kind == "readiness":
            if record.ready != passed:
                record.ready = passed
                worker.show()
            return False
        if passed and kind == "startup":
            self._is_started(record)
            worker.show()
            worker.wake()
            return True
        if passed:
            return False
        text = f"Container {record.name} failed {kind} probe, will be restarted"
        worker.container_event(record, "Killing", text)
        record.killed = True
        worker.stop_soon(record, _grace(worker.pod, record, kind))
        return True


def _grace(pod: Object, record: Record, kind: str) -> float:
    """Return the grace of a container that failed a probe; the probe's own comes first."""
    own = record.spec[f"{kind}Probe"].get("terminationGracePeriodSeconds")
    return float(own if own is not None else pod["spec"].get("terminationGracePeriodSeconds", 30))
