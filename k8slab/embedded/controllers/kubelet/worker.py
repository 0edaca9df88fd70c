"""One pod on its node, from binding to removal: an actor that nobody else steps on.

Everything that can happen to the pod (the object changed, a container ended, a probe
decided, a source of a volume changed, time passed) only wakes the actor. Awake, it takes
the next step towards what the object wants: sandbox, network, init containers one after
the other, containers; or, when the pod is being deleted, the way down. After each step it
publishes the status that follows from its records.

The pod's isolation is in the kernel before its address is, and peers' rules know the
address before the first container runs: see `PodGate`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import times
from k8slab.embedded.controllers.kubelet import containers, files, volumes
from k8slab.embedded.controllers.kubelet.environment import ConfigError, Sources
from k8slab.embedded.controllers.kubelet.hooks import Hooks
from k8slab.embedded.controllers.kubelet.lifecycle import Starter
from k8slab.embedded.controllers.kubelet.monitor import Monitor
from k8slab.embedded.controllers.kubelet.records import NO_PLUGIN, Record
from k8slab.embedded.controllers.kubelet.recovery import recover
from k8slab.embedded.controllers.kubelet.status import FINISHED, Facts, phase_of, pod_status
from k8slab.embedded.runtime.spec import ContainerCannotRunError, ContainerExit, SandboxSpec
from k8slab.errors import ApiStatusError, KernelError, PodNetworkError
from k8slab.objects.meta import Object, is_deleting, key_of, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable

    from k8slab.embedded.controllers.context import Sandbox
    from k8slab.embedded.controllers.kubelet.node import NodeAgent

log = logging.getLogger(__name__)

SANDBOX_RETRY = 1.0
"""Seconds until a sandbox that could not be made is tried again."""

NETWORK_RETRY = 2.0
"""Seconds until a pod asks again for a network (kubelet, ``backOffPeriod`` is 10 s)."""

_NO_SANDBOX = (KernelError, PodNetworkError, ContainerCannotRunError)
"""Why there can be no sandbox: told by an event. Anything else is a fault of ours."""

SHOW_CREATING_AFTER = 0.05
"""A start that takes longer than this is shown as ContainerCreating meanwhile."""

ROTATE_AT = 0.8
"""Part of a token's life after which it is replaced (kubelet's token manager)."""

SHORTEST_GRACE = 2.0
"""Seconds that are left for TERM when the preStop hook used them up (kubelet)."""


class PodWorker:
    """The actor of one pod."""

    def __init__(self, pod: Object, agent: NodeAgent) -> None:
        self.pod = pod
        self.uid = uid_of(pod)
        self.agent = agent
        self.records: dict[str, Record] = {}
        self.sandbox: Sandbox | None = None
        self.addresses: list[str] = []
        self._volumes: dict[str, volumes.Content] = {}
        self._stale = False
        self._gone = False
        """The object is gone; what runs of it may still have to be taken down."""
        self._down = False
        self._finished = False
        self._final_phase = ""
        self._attached = False
        self._wake = asyncio.Event()
        self._started_at = (pod.get("status") or {}).get("startTime") or times.text()
        self._monitor = Monitor(self)
        self.hooks = Hooks(agent.prober)
        self._starter = Starter(self)
        self._stops: set[asyncio.Task[None]] = set()
        self._waits: dict[asyncio.Timeout, Record] = {}
        """Sidecars that are not told to stop yet, since a hook runs or it is not their turn."""
        self._deadline = float("inf")
        """When the grace of the way down is over (monotonic clock)."""
        self._tokens_until = float("inf")
        self._slow: asyncio.TimerHandle | None = None
        self._adopt_containers()
        self.task = asyncio.get_running_loop().create_task(self._run(), name=f"pod {key_of(pod)}")

    # --- what others tell the actor

    def changed(self, pod: Object) -> None:
        """Take over a newer form of the pod."""
        old, self.pod = self.pod, pod
        self._adopt_containers()
        if is_deleting(pod):
            self.hooks.end(phase="postStart")
        if is_deleting(old) and _grace(pod) < _grace(old):
            self._hasten(_grace(pod))
        if old["metadata"].get("labels") != pod["metadata"].get("labels") or old["metadata"].get(
            "annotations"
        ) != pod["metadata"].get("annotations"):
            self._stale = True
        self._wake.set()

    def removed(self) -> None:
        """Learn that the object is gone: end everything at once."""
        self._gone = True
        self.hooks.end(phase="postStart")
        self._hasten(0)
        self._wake.set()

    def exited(self, ended: ContainerExit) -> None:
        """Learn that a container ended."""
        for record in self.records.values():
            if record.id == ended.container_id and record.running:
                self._monitor.stop(record)
                self.hooks.end(record.id)
                record.end(ended)
                self._wake.set()

    def source_changed(self, resource: str, name: str) -> None:
        """Learn that a ConfigMap or Secret of the namespace changed."""
        if (resource, name) in volumes.references(self.pod):
            self._stale = True
            self._wake.set()
        elif any(r.reason == "CreateContainerConfigError" for r in self.records.values()):
            self._wake.set()

    @property
    def leaving(self) -> bool:
        """Tell whether nothing more is to be started."""
        return self._gone or is_deleting(self.pod)

    def wake(self) -> None:
        """Have the actor look at its records."""
        self._wake.set()

    async def close(self) -> None:
        """Stop the actor without touching the pod's processes."""
        self._monitor.close()
        if self._slow:
            self._slow.cancel()
        for task in (self.task, *self._stops):
            task.cancel()
        await asyncio.gather(self.task, *self._stops, return_exceptions=True)

    # --- the actor

    async def _run(self) -> None:
        recover(self.pod, self.records)
        self._finished = (self.pod.get("status") or {}).get("phase") in FINISHED
        if not self._finished and any(r.restarts or r.exit for r in self.records.values()):
            self.show()
        loop = asyncio.get_running_loop()
        self._slow = loop.call_later(SHOW_CREATING_AFTER, self.show)
        while True:
            self._wake.clear()
            if self.agent.stopped:
                await self._wake.wait()
                continue
            try:
                delay = await self._step()
                self._slow.cancel()
                self.publish()
            except Exception:
                log.exception("pod %s: a step failed; will be retried", key_of(self.pod))
                delay = SANDBOX_RETRY
            if self._down:
                return
            if delay is not None:
                timer = asyncio.get_running_loop().call_later(delay, self._wake.set)
                await self._wake.wait()
                timer.cancel()
            else:
                await self._wake.wait()

    async def _step(self) -> float | None:
        """Take the steps that are possible now; return when to look again."""
        if self.leaving:
            await self._take_down()
            return None
        if self._finished:
            return None
        if self._over():
            self._finished = True
            return None
        if self.sandbox is None:
            delay = await self._make_sandbox()
            if self.sandbox is None:
                return delay
        if self._stale or time.monotonic() > self._tokens_until:
            self._stale = False
            await self._refresh_volumes()
        delay = await self._starter.advance()
        rotation = self._tokens_until - time.monotonic()
        if delay is None or delay > rotation:
            return None if rotation == float("inf") else max(rotation, 0.0)
        return delay

    def _over(self) -> bool:
        """Say whether nothing runs and nothing may be started again."""
        if any(record.running for record in self.records.values()):
            return False
        return phase_of(self.pod, list(self.records.values())) in FINISHED

    # --- sandbox, network, volumes

    async def _make_sandbox(self) -> float | None:
        try:
            self._volumes = self._read_volumes()
        except ConfigError as error:
            self.event("FailedMount", str(error), warning=True)
            return None  # a change of the source wakes the actor
        if not (self.agent.plugged or self.pod["spec"].get("hostNetwork")):
            self.event("NetworkNotReady", f"network is not ready: {NO_PLUGIN}", warning=True)
            return NETWORK_RETRY
        try:
            sandbox = await self.agent.context.runtime.create_sandbox(self._sandbox_spec())
            self.addresses = await self._attach(sandbox)
        except Exception as error:
            await self._undo_sandbox()
            if not isinstance(error, _NO_SANDBOX):
                raise
            self.event("FailedCreatePodSandBox", self._no_sandbox(error), warning=True)
            return SANDBOX_RETRY
        self.sandbox = sandbox
        return None

    def _no_sandbox(self, error: Exception) -> str:
        """Say why there is no sandbox; what the CNI plugin says as containerd passes it on."""
        if isinstance(error, PodNetworkError):
            return (
                "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup"
                f' network for sandbox "{self.uid.replace("-", "")}": plugin type="calico"'
                f" failed (add): {error.message}"
            )
        return f"Failed to create pod sandbox: {error}"

    async def _undo_sandbox(self) -> None:
        """Leave nothing of a sandbox that could not be completed; the next attempt is a new one."""
        self.addresses = []
        await self._detach()
        await self.agent.context.runtime.remove_sandbox(self.uid)

    async def _detach(self) -> None:
        if self._attached:
            await self.agent.context.network.detach_pod(self.uid)
            self._attached = False
        self.agent.gate.detached(self.uid)

    def _sandbox_spec(self) -> SandboxSpec:
        spec = self.pod["spec"]
        on_host = bool(spec.get("hostNetwork"))
        return SandboxSpec(
            uid=self.uid,
            hostname=self.agent.name if on_host else files.hostname(self.pod),
            network=self.agent.netns() if on_host else None,
            share_processes=bool(spec.get("shareProcessNamespace")),
            cluster_processes=bool(spec.get("hostPID")),
            sysctls={
                s["name"]: str(s["value"])
                for s in (spec.get("securityContext") or {}).get("sysctls") or ()
            },
        )

    async def _attach(self, sandbox: Sandbox) -> list[str]:
        if self.pod["spec"].get("hostNetwork"):
            return list(self.agent.addresses)
        await self.agent.gate.admit(self.pod)
        addresses = await self.agent.context.network.attach_pod(
            node=self.agent.name,
            uid=self.uid,
            netns=sandbox.netns,
            host_ports=containers.host_ports(self.pod),
        )
        self._attached = True
        await self.agent.gate.attached(self.pod, addresses)
        return addresses

    def _read_volumes(self) -> dict[str, volumes.Content]:
        sources = self.sources()
        credentials = self.agent.context.credentials
        life = volumes.token_life(self.pod)
        if life is not None:
            self._tokens_until = time.monotonic() + life * ROTATE_AT
        found: dict[str, volumes.Content] = {}
        for volume in self.pod["spec"].get("volumes") or ():
            name = volume["name"]
            try:
                found[name] = volumes.contents(volume, sources, credentials)
            except ConfigError as error:
                text = f'MountVolume.SetUp failed for volume "{name}" : {error}'
                raise ConfigError(text) from error
        return found

    async def _refresh_volumes(self) -> None:
        try:
            now = self._read_volumes()
        except ConfigError as error:
            self.event("FailedMount", str(error), warning=True)
            return
        for name, content in now.items():
            if isinstance(content, dict) and content != self._volumes.get(name):
                await self.agent.context.runtime.update_volume(self.uid, name, content)
        self._volumes = now

    # --- the way down

    async def _take_down(self) -> None:
        """Stop the containers, free the sandbox, remove the object.

        A kubelet that is stopped meanwhile leaves off; started again, it takes the steps anew.
        """
        self._monitor.close()
        await self._leave()
        for step in (self._stop_all, self._tell_end, self._free):
            if self.agent.stopped:
                return
            await step()
            if any(record.running for record in self.records.values()):
                return  # the kubelet was stopped meanwhile, and is perhaps back: woken by that
        if self.agent.stopped:
            return
        if not self._gone:
            self._delete_object()
        self._gone = self._down = True
        self.agent.forget(self)
        await self.agent.drop_logs(self.pod)

    @property
    def _grace(self) -> float:
        return 0.0 if self._gone else _grace(self.pod)

    async def _leave(self) -> None:
        if self._grace > 0:
            await self.agent.gate.leaving(self.pod)

    async def _stop_all(self) -> None:
        """Stop the apps, and then the sidecars in the opposite order of their start.

        All have the same grace, and their hooks begin at once (kubelet, ``terminationOrdering``).
        """
        self._deadline = time.monotonic() + self._grace
        running = [record for record in self.records.values() if record.running]
        self._tell_killing(running)
        async with asyncio.TaskGroup() as group:
            earlier = [
                group.create_task(self._stop_in_turn(record))
                for record in running
                if not record.sidecar
            ]
            for record in reversed([record for record in running if record.sidecar]):
                stop = self._stop_in_turn(record, after=tuple(earlier))
                earlier.append(group.create_task(stop))

    def _tell_killing(self, records: Iterable[Record]) -> None:
        for record in records:
            self.container_event(record, "Killing", f"Stopping container {record.name}")

    async def _tell_end(self) -> None:
        """Publish how what has run of the pod ended."""
        has_run = any(record.id for record in self.records.values())
        if not self._gone and (has_run or self.pod["metadata"].get("finalizers")):
            self._final_phase = self._phase_at_last()
            self.publish()

    async def _free(self) -> None:
        """Give network and sandbox back."""
        await self._detach()
        if self.sandbox is not None:
            await self.agent.context.runtime.remove_sandbox(self.uid)
            self.sandbox = None

    def _phase_at_last(self) -> str:
        """Return the phase of a pod that is taken down and stays, since finalizers hold it.

        Whatever its restartPolicy, nothing of it will run again. Source: pkg/kubelet, getPhase.
        """
        if not self.pod["metadata"].get("finalizers"):
            return ""
        apps = [record for record in self.records.values() if record.kind == "app"]
        return "Succeeded" if apps and all(record.succeeded for record in apps) else "Failed"

    def _delete_object(self) -> None:
        try:
            self.agent.context.api.delete(
                "pods", name_of(self.pod), namespace_of(self.pod), grace=0, uid=self.uid
            )
        except ApiStatusError as error:
            # 404: somebody was faster; 409: another pod has the name by now.
            if error.code not in (404, 409):
                raise

    async def _stop_in_turn(
        self, record: Record, *, after: Collection[asyncio.Task[None]] = ()
    ) -> None:
        """Stop a container on the way down: TERM when others have ended or the grace is over."""
        grace = self._grace
        hooked = await self._pre_stop(record, grace)
        if after and grace > 0:
            with contextlib.suppress(TimeoutError):  # the grace is over: whoever still runs, go on
                async with self._bounded(record, self._deadline - time.monotonic()):
                    await asyncio.wait(after)
        if self.agent.stopped or not record.running:
            return
        if grace > 0 and (hooked or after):
            grace = max(self._deadline - time.monotonic(), SHORTEST_GRACE)
        await self.agent.context.runtime.stop_container(record.id, grace)

    async def _stop(self, record: Record, grace: float) -> None:
        """Stop a container as the kubelet does, its preStop hook first."""
        begun, container_id = time.monotonic(), record.id
        if await self._pre_stop(record, grace):
            grace = max(grace - (time.monotonic() - begun), SHORTEST_GRACE)
        await self.agent.context.runtime.stop_container(container_id, grace)

    async def _pre_stop(self, record: Record, grace: float) -> bool:
        """Run a container's preStop hook within the grace; say whether there was one to run."""
        if grace <= 0 or "preStop" not in (record.spec.get("lifecycle") or {}):
            return False
        try:
            async with self._bounded(record, grace):
                problem = await self.hooks.run(record, "preStop", self.addresses)
        except TimeoutError:
            problem = f"did not end within {grace:g} s"
        if problem:
            self.container_event(record, "FailedPreStopHook", problem, warning=True)
        return True

    @contextlib.asynccontextmanager
    async def _bounded(self, record: Record, seconds: float) -> AsyncIterator[None]:
        """Let a container that is to stop wait so long; for a sidecar `_hasten` can shorten it."""
        async with asyncio.timeout(seconds) as bound:
            if record.sidecar:
                self._waits[bound] = record
            try:
                yield
            finally:
                self._waits.pop(bound, None)

    def _hasten(self, grace: float) -> None:
        """Shorten the grace of a way down that has begun; sidecars keep their turn within it."""
        self._deadline = end = min(self._deadline, time.monotonic() + grace)
        waiting = {record.name for record in self._waits.values()} if grace > 0 else set()
        for bound in self._waits:
            if not bound.expired():
                bound.reschedule(min(bound.when() or end, end))
        stop = self.agent.context.runtime.stop_container
        for record in self.records.values():
            if record.running and record.name not in waiting:
                self._beside(partial(stop, record.id, grace))

    def stop_soon(self, record: Record, grace: float) -> None:
        """Stop a container while the actor goes on; its end wakes the actor."""
        self._beside(partial(self._stop, record, grace))

    def _beside(self, stop: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.get_running_loop().create_task(self._told(stop))
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    async def _told(self, stop: Callable[[], Awaitable[None]]) -> None:
        try:
            await stop()
        except KernelError:
            log.exception("pod %s: stopping a container failed", key_of(self.pod))

    # --- what the parts of the actor share

    def sources(self) -> Sources:
        """Return where environment and volumes take their values from."""
        api, namespace = self.agent.context.api, namespace_of(self.pod)
        addresses = [{"ip": a} for a in self.addresses]
        hosts = [{"ip": a} for a in self.agent.addresses]
        status = {**(self.pod.get("status") or {}), "podIPs": addresses, "hostIPs": hosts}
        services = api.list("services", namespace)
        if namespace != "default":
            kubernetes = api.get("services", "kubernetes", "default")
            services = [*services, *([kubernetes] if kubernetes else ())]
        return Sources(
            pod={**self.pod, "status": status},
            find=lambda resource, name: api.get(resource, name, namespace),
            services=tuple(services),
        )

    def pod_facts(self) -> containers.PodFacts:
        """Return what all containers of the pod share."""
        return containers.PodFacts(
            sources=self.sources(),
            addresses=self.addresses,
            cluster_dns=self.agent.cluster_dns,
            node_dns=self.agent.node_dns,
            volumes=self._volumes,
        )

    def publish(self) -> None:
        """Write the status that follows from the records, if it changed."""
        if self._gone or self.agent.stopped:
            return
        api = self.agent.context.api
        pod = api.get("pods", name_of(self.pod), namespace_of(self.pod))
        if pod is None or uid_of(pod) != self.uid:
            return
        if self._finished and (pod.get("status") or {}).get("phase") in FINISHED:
            return
        status = pod_status(pod, list(self.records.values()), self._facts())
        if status != pod.get("status"):
            api.update_status("pods", {**pod, "status": status})

    def show(self) -> None:
        """Publish beside the actor's steps; what fails is left to the actor, which tries again."""
        try:
            self.publish()
        except Exception:
            log.exception("pod %s: its status was not written; will be retried", key_of(self.pod))
            self._wake.set()

    def event(self, reason: str, message: str, *, warning: bool = False, field: str = "") -> None:
        """Record an Event about the pod."""
        self.agent.context.events.record(
            self.pod,
            reason,
            message,
            component="kubelet",
            host=self.agent.name,
            warning=warning,
            field=field,
        )

    def container_event(
        self, record: Record, reason: str, message: str, *, warning: bool = False
    ) -> None:
        """Record an Event about one container."""
        group = {"init": "initContainers", "app": "containers", "ephemeral": "ephemeralContainers"}
        field = f"spec.{group[record.kind]}{{{record.name}}}"
        self.event(reason, message, warning=warning, field=field)

    def begin_monitoring(self, record: Record) -> None:
        """Start the probes of a container that has just started."""
        self._monitor.start(record)

    def _facts(self) -> Facts:
        return Facts(
            started_at=self._started_at,
            addresses=self.addresses,
            host_addresses=self.agent.addresses,
            sandbox=self.sandbox is not None,
            phase=self._final_phase,
        )

    def _adopt_containers(self) -> None:
        """Have a record for each container of the pod; ephemeral ones come later."""
        spec = self.pod["spec"]
        for kind, entries in _groups(spec):
            for entry in entries:
                known = self.records.get(entry["name"])
                if known is None:
                    self.records[entry["name"]] = Record(entry, kind)
                else:
                    known.spec = entry


def _groups(spec: Object) -> Iterable[tuple]:
    yield "init", spec.get("initContainers") or ()
    yield "app", spec["containers"]
    yield "ephemeral", spec.get("ephemeralContainers") or ()


def _grace(pod: Object) -> float:
    seconds = pod["metadata"].get("deletionGracePeriodSeconds")
    return float("inf") if seconds is None else float(seconds)
