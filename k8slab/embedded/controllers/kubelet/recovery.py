"""What a kubelet makes of a pod that ran before it was started.

All processes went with the cluster. The pod keeps its identity and gets a new sandbox and
address; what ran counts as ended by an unknown cause, so that the restart policy decides:
a restart is counted, and a pod that may not restart has failed. Init containers run again,
since the pod's volumes are new (kubelet: a new sandbox runs all init containers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers import times
from k8slab.embedded.runtime.spec import ContainerExit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.embedded.controllers.kubelet.records import Record
    from k8slab.objects.meta import Object

LOST_CODE = 137
LOST_REASON = "ContainerStatusUnknown"
LOST_MESSAGE = "The container could not be located when the pod was terminated"


def recover(pod: Object, records: Mapping[str, Record]) -> None:
    """Fill fresh records from the status that an earlier kubelet wrote."""
    status = pod.get("status") or {}
    again = pod["spec"].get("restartPolicy", "Always") != "Never"
    for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for known in status.get(field) or ():
            record = records.get(known["name"])
            if record is not None:
                _recover(record, known, again=again)


def _recover(record: Record, known: Object, *, again: bool) -> None:
    record.restarts = known.get("restartCount") or 0
    record.last = (known.get("lastState") or {}).get("terminated")
    record.id = (known.get("containerID") or "").partition("://")[2]
    state = known.get("state") or {}
    if ended := state.get("terminated"):
        record.started_at = times.seconds(ended.get("startedAt"))
        record.exit = _exit(record, ended)
        if record.kind == "init" and again:
            record.exit = None
    elif running := state.get("running"):
        record.started_at = times.seconds(running.get("startedAt"))
        record.exit = ContainerExit(
            container_id=record.id,
            code=LOST_CODE,
            reason=LOST_REASON,
            message=LOST_MESSAGE,
            finished_at=clock.now(),
        )


def _exit(record: Record, ended: Object) -> ContainerExit:
    return ContainerExit(
        container_id=record.id,
        code=ended.get("exitCode") or 0,
        signal=ended.get("signal") or 0,
        reason=ended.get("reason") or "",
        message=ended.get("message") or "",
        finished_at=times.seconds(ended.get("finishedAt")),
    )
