"""The status of a Deployment: counts, and the conditions Available and Progressing; pure.

Source: ``pkg/controller/deployment`` (calculateStatus, syncRolloutStatus,
DeploymentProgressing, DeploymentTimedOut).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers import conditions, rollout, times
from k8slab.objects.meta import Object, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_DEADLINE = 600
NO_DEADLINE = 2**31 - 1
"""``progressDeadlineSeconds`` of this size means none."""

Counts = dict[str, int]


def deployment_status(
    deployment: Object, new: Object | None, owned: Sequence[Object], now: float | None = None
) -> tuple[Object, float | None]:
    """Return the status, and the seconds until the progress deadline has to be judged."""
    moment = clock.now() if now is None else now
    before = deployment.get("status") or {}
    counts = _counts(deployment, new, owned)
    status: Object = {"observedGeneration": deployment["metadata"].get("generation", 1)}
    status.update({k: v for k, v in counts.items() if v or k == "terminatingReplicas"})
    if "collisionCount" in before:
        status["collisionCount"] = before["collisionCount"]
    found = _available(deployment, counts, before.get("conditions") or [], moment)
    found, wait = _progressing(deployment, new, counts, found, moment)
    status["conditions"] = found
    return status, wait


def _counts(deployment: Object, new: Object | None, owned: Sequence[Object]) -> Counts:
    def total(field: str) -> int:
        return sum((s.get("status") or {}).get(field, 0) for s in owned)

    wanted = sum(s["spec"].get("replicas", 0) for s in owned)
    available = total("availableReplicas")
    replicas = deployment["spec"].get("replicas", 1)
    return {
        "replicas": total("replicas"),
        "updatedReplicas": ((new or {}).get("status") or {}).get("replicas", 0),
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(wanted, replicas) - available),
        "terminatingReplicas": total("terminatingReplicas"),
    }


def _available(deployment: Object, counts: Counts, found: list[Object], now: float) -> list[Object]:
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    replicas = deployment["spec"].get("replicas", 1)
    unavailable = rolling.get("maxUnavailable", "25%") if rolling else 0
    # Recreate promises nothing less than all replicas.
    allowed = rollout.limits(replicas, rolling.get("maxSurge", "25%"), unavailable)
    enough = counts["availableReplicas"] >= (allowed.fewest if rolling else replicas)
    return _put(
        found,
        {
            "type": "Available",
            "status": conditions.word(enough),
            "reason": f"MinimumReplicas{'Available' if enough else 'Unavailable'}",
            "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        },
        now,
    )


def _progressing(
    deployment: Object, new: Object | None, counts: Counts, found: list[Object], now: float
) -> tuple[list[Object], float | None]:
    deadline = deployment["spec"].get("progressDeadlineSeconds", DEFAULT_DEADLINE)
    current = conditions.find(found, "Progressing")
    if deployment["spec"].get("paused"):
        return _put(
            found, _condition("Unknown", "DeploymentPaused", "Deployment is paused"), now
        ), None
    if deadline == NO_DEADLINE:
        return conditions.drop(found, "Progressing"), None
    name = f'ReplicaSet "{name_of(new)}"' if new else f'Deployment "{name_of(deployment)}"'
    replicas = deployment["spec"].get("replicas", 1)
    complete = (
        new is not None
        and counts["updatedReplicas"] == counts["replicas"] == replicas
        and counts["availableReplicas"] == replicas
    )
    if complete:
        text = f"{name} has successfully progressed."
        return _put(found, _condition("True", "NewReplicaSetAvailable", text), now), None
    if _progressed(deployment.get("status") or {}, counts) or current is None:
        if current is None and new is not None:
            text = f'Created new replica set "{name_of(new)}"'
            condition = _condition("True", "NewReplicaSetCreated", text)
        else:
            condition = _condition("True", "ReplicaSetUpdated", f"{name} is progressing.")
        return _put(found, condition, now, fresh=True), float(deadline)
    if current["reason"] == "ProgressDeadlineExceeded":
        return found, None
    if current["reason"] in ("NewReplicaSetAvailable", "DeploymentPaused"):
        condition = _condition("True", "ReplicaSetUpdated", f"{name} is progressing.")
        return _put(found, condition, now, fresh=True), float(deadline)
    left = times.seconds(current.get("lastUpdateTime")) + deadline - now
    if left > 0:
        return found, left
    text = f"{name} has timed out progressing."
    return _put(found, _condition("False", "ProgressDeadlineExceeded", text), now), None


def _progressed(before: Object, counts: Counts) -> bool:
    def old(field: str) -> int:
        return int(before.get(field, 0))

    return (
        counts["updatedReplicas"] > old("updatedReplicas")
        or counts["readyReplicas"] > old("readyReplicas")
        or counts["availableReplicas"] > old("availableReplicas")
        or counts["replicas"] - counts["updatedReplicas"] < old("replicas") - old("updatedReplicas")
    )


def _condition(status: str, reason: str, message: str) -> Object:
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}


def _put(found: list[Object], new: Object, now: float, *, fresh: bool = False) -> list[Object]:
    """Put a condition with ``lastUpdateTime``, which changes with status and reason."""
    old = conditions.find(found, new["type"])
    same = old is not None and (old["status"], old["reason"]) == (new["status"], new["reason"])
    if same and old is not None and not fresh:
        return conditions.put(found, {**new, "lastUpdateTime": old.get("lastUpdateTime")})
    moment = times.text(now)
    return conditions.put(found, {**new, "lastUpdateTime": moment, "lastTransitionTime": moment})
