"""Starting the containers of a pod: order, back-off, restart policy.

Sources: core/v1 ``RestartPolicy``; kubelet ``computePodActions``; KEP-753
(init containers that go on running).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers.kubelet.containers import container_spec
from k8slab.embedded.controllers.kubelet.environment import ConfigError
from k8slab.embedded.controllers.kubelet.records import START_ERROR
from k8slab.embedded.runtime.spec import (
    ContainerCannotRunError,
    ContainerExit,
    ImageNotFoundError,
)
from k8slab.objects.meta import Object, name_of, namespace_of

if TYPE_CHECKING:
    from k8slab.embedded.controllers.kubelet.records import Record
    from k8slab.embedded.controllers.kubelet.worker import PodWorker

CONFIG_RETRY = 10.0
"""Seconds until a container that lacks a ConfigMap or key is tried again without a change."""

SHOW_IMAGE_ERROR = 2.0
"""Seconds for which ErrImagePull is shown before it becomes ImagePullBackOff."""


class Starter:
    """Bring the containers of one pod up, and up again."""

    def __init__(self, worker: PodWorker) -> None:
        self._worker = worker

    async def advance(self) -> float | None:
        """Start what may run now; return the seconds until more may."""
        records = self._worker.records.values()
        delays = []
        for record in [r for r in records if r.kind == "init"]:
            if not record.running and not (record.succeeded and not record.sidecar):
                delays.append(await self._start(record))
            if not (record.started if record.sidecar else record.succeeded):
                return _earliest(delays)
        waiting = [r for r in records if r.kind != "init" and not r.running]
        delays.extend([await self._start(record) for record in waiting])
        return _earliest(delays)

    async def _start(self, record: Record) -> float | None:
        """Start a container unless policy or back-off forbids it, or the pod is to go by now."""
        if self._worker.leaving:
            return None
        now = clock.now()
        if record.exit is not None:
            if not _may_restart(self._worker.pod, record):
                return None
            wait = record.back_off.left(record.exit.finished_at, now)
            if wait > 0:
                self._back_off(record)
                return wait
        wait = record.image_back_off.until - now
        if wait > 0:
            return self._image_back_off(record, wait)
        if record.exit is not None:
            record.retire()
            record.back_off.begin(now)
        return await self._run(record)

    async def _run(self, record: Record) -> float | None:
        worker = self._worker
        runtime = worker.agent.context.runtime
        try:
            runtime.check_image(record.spec.get("image", ""))  # before what its settings lack
            spec = container_spec(
                record.spec,
                worker.pod_facts(),
                log_path=self._log_path(record),
                share_processes_with=self._target(record),
            )
            container = await runtime.start_container(worker.uid, spec)
        except ConfigError as error:
            record.wait("CreateContainerConfigError", str(error))
            self._tell_pulled(record)
            worker.container_event(record, "Failed", f"Error: {error}", warning=True)
            return CONFIG_RETRY
        except ImageNotFoundError as error:
            # One line: kubectl describe shows an Event's message in a table.
            return self._no_image(record, ". ".join(filter(None, (error.message, error.hint))))
        except ContainerCannotRunError as error:
            return self._cannot_run(record, str(error))
        record.begin(container.id, container.started_at)
        self._tell_created(record)
        worker.container_event(record, "Started", "Container started")
        worker.agent.exits.listen(container.id, worker.exited)
        # A container that is to be stopped is never ready: no probe of it begins.
        if record.running and await self._post_start(record) and not worker.leaving:
            worker.begin_monitoring(record)
        return None

    def _tell_pulled(self, record: Record) -> None:
        text = f'Container image "{record.spec.get("image", "")}" already present on machine'
        self._worker.container_event(record, "Pulled", text)

    def _tell_created(self, record: Record) -> None:
        self._tell_pulled(record)
        self._worker.container_event(record, "Created", "Container created")

    def _no_image(self, record: Record, message: str) -> float:
        tell, image = self._worker.container_event, record.spec.get("image", "")
        tell(record, "Pulling", f'Pulling image "{image}"')
        tell(record, "Failed", f'Failed to pull image "{image}": {message}', warning=True)
        tell(record, "Failed", "Error: ErrImagePull", warning=True)
        record.wait("ErrImagePull", message)
        record.image_back_off.begin(clock.now())
        return SHOW_IMAGE_ERROR

    def _image_back_off(self, record: Record, wait: float) -> float:
        """Show the back-off once the error itself has been shown for a while."""
        tell, image = self._worker.container_event, record.spec.get("image", "")
        shown = record.image_back_off.delay - wait
        if record.reason == "ErrImagePull" and shown < SHOW_IMAGE_ERROR:
            return SHOW_IMAGE_ERROR - shown
        if record.reason != "ImagePullBackOff":
            text = f'Back-off pulling image "{image}"'
            tell(record, "BackOff", text)
            tell(record, "Failed", "Error: ImagePullBackOff", warning=True)
            record.wait("ImagePullBackOff", f"{text}: ErrImagePull: {record.message}")
        return wait

    def _cannot_run(self, record: Record, message: str) -> float | None:
        self._tell_created(record)
        self._worker.container_event(record, "Failed", f"Error: {message}", warning=True)
        ended = ContainerExit(
            container_id=record.id,
            code=128,
            reason=START_ERROR,
            message=message,
            finished_at=clock.now(),
        )
        record.end(ended)
        if not _may_restart(self._worker.pod, record):
            return None
        record.wait("RunContainerError", message)
        return record.back_off.left(ended.finished_at, clock.now())

    def _back_off(self, record: Record) -> None:
        if record.reason == "CrashLoopBackOff":
            return
        pod = self._worker.pod
        place = f"{name_of(pod)}_{namespace_of(pod)}({self._worker.uid})"
        words = record.back_off.words
        record.wait(
            "CrashLoopBackOff",
            f"back-off {words} restarting failed container={record.name} pod={place}",
        )
        text = f"Back-off restarting failed container {record.name} in pod {place}"
        self._worker.container_event(record, "BackOff", text, warning=True)

    def _log_path(self, record: Record) -> str:
        """Return where the container writes; only the last two instances' logs are kept."""
        folder = self._worker.agent.log_folder(self._worker.pod) / record.name
        if record.restarts >= 2:
            (folder / f"{record.restarts - 2}.log").unlink(missing_ok=True)
        return str(folder / f"{record.restarts}.log")

    def _target(self, record: Record) -> str:
        """Return the id of the container whose processes an ephemeral one wants to see."""
        name = record.spec.get("targetContainerName")
        target = self._worker.records.get(name) if name else None
        return target.id if target and target.running else ""

    async def _post_start(self, record: Record) -> bool:
        """Run the hook of a container that has started; say whether the container is to stay."""
        worker = self._worker
        if worker.leaving:
            return False
        problem = await worker.hooks.run(record, "postStart", worker.addresses)
        if problem:
            worker.container_event(record, "FailedPostStartHook", problem, warning=True)
            grace = worker.pod["spec"].get("terminationGracePeriodSeconds", 30)
            worker.stop_soon(record, float(grace))
        return record.running and not problem


def _may_restart(pod: Object, record: Record) -> bool:
    """Say whether the restart policy lets an ended container run again."""
    if record.kind == "ephemeral":
        return False
    if record.sidecar:
        return True
    policy = pod["spec"].get("restartPolicy", "Always")
    if record.kind == "init" and policy == "Always":
        policy = "OnFailure"
    return policy == "Always" or (policy == "OnFailure" and not record.succeeded)


def _earliest(delays: list[float | None]) -> float | None:
    return min((delay for delay in delays if delay is not None), default=None)
