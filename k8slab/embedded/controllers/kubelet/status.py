"""A pod's status, computed from what its kubelet knows; pure.

Sources: kubelet ``getPhase``, ``GeneratePodReadyCondition`` and its neighbours; the concept
page "Pod Lifecycle".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.qos import quality_of_service
from k8slab.embedded.controllers import conditions, times
from k8slab.embedded.controllers.conditions import word
from k8slab.embedded.controllers.kubelet.records import RUNTIME_NAME, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.objects.meta import Object

FINISHED = ("Succeeded", "Failed")
ORDER = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
"""The conditions that are the kubelet's, in the order in which it writes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a status tells beside its containers."""

    started_at: str
    addresses: Sequence[str]
    host_addresses: Sequence[str]
    sandbox: bool
    """The sandbox stands and has its network."""
    phase: str = ""
    """A phase that is decided otherwise (a pod that failed as a whole)."""


def pod_status(pod: Object, records: Sequence[Record], facts: Facts) -> Object:
    """Return the whole ``status`` of a pod.

    A pod that has ended stays so, whatever its containers did meanwhile: the control plane says it
    of pods whose node is gone. Source: ``generateAPIPodStatus``.
    """
    old = pod.get("status") or {}
    ended = old if old.get("phase") in FINISHED else {}
    phase = ended.get("phase") or facts.phase or phase_of(pod, records)
    status: Object = {
        "observedGeneration": pod["metadata"].get("generation", 1),
        "phase": phase,
        "conditions": _conditions(pod, records, facts, phase),
    }
    status.update({field: ended[field] for field in ("message", "reason") if field in ended})
    if facts.host_addresses:
        status["hostIP"] = facts.host_addresses[0]
        status["hostIPs"] = [{"ip": address} for address in facts.host_addresses]
    if facts.addresses:
        status["podIP"] = facts.addresses[0]
        status["podIPs"] = [{"ip": address} for address in facts.addresses]
    status["startTime"] = facts.started_at
    for field, kind in (
        ("initContainerStatuses", "init"),
        ("containerStatuses", "app"),
        ("ephemeralContainerStatuses", "ephemeral"),
    ):
        found = [
            container_status(r, initialised=_initialised(records))
            for r in records
            if r.kind == kind
        ]
        if found:
            status[field] = found
    status["qosClass"] = old.get("qosClass") or quality_of_service(pod["spec"])
    return status


def phase_of(pod: Object, records: Sequence[Record]) -> str:
    """Return the phase that the containers' states amount to."""
    policy = pod["spec"].get("restartPolicy", "Always")
    for record in records:
        if record.kind == "init" and not record.sidecar and not record.succeeded:
            failed = record.exit is not None and policy == "Never" and not record.reason
            return "Failed" if failed else "Pending"
    apps = [record for record in records if record.kind == "app"]
    if any(r.exit is None and not r.running and r.last is None for r in apps):
        return "Pending"
    ended = [r for r in apps if not r.running and not r.reason]
    if len(ended) < len(apps) or policy == "Always":
        return "Running"
    if all(r.succeeded for r in ended):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def container_status(record: Record, *, initialised: bool) -> Object:
    """Return one entry of ``containerStatuses``."""
    image = record.spec.get("image", "")
    status: Object = {
        "name": record.name,
        "state": _state(record, initialised=initialised),
        "lastState": {"terminated": record.last} if record.last else {},
        "ready": record.ready or (record.kind == "init" and record.succeeded),
        "restartCount": record.restarts,
        "image": image,
        "imageID": f"{RUNTIME_NAME}://{image}" if record.id else "",
        "started": record.started,
    }
    if record.id:
        status["containerID"] = f"{RUNTIME_NAME}://{record.id}"
        # Nothing is enforced here, so what is asked for is given at once (KEP-1287).
        status["resources"] = record.spec.get("resources") or {}
        if requests := status["resources"].get("requests"):
            status["allocatedResources"] = requests
    return status


def _state(record: Record, *, initialised: bool) -> Object:
    if record.running:
        return {"running": {"startedAt": times.text(record.started_at)}}
    if record.reason:
        waiting = {"reason": record.reason}
        if record.message:
            waiting["message"] = record.message
        return {"waiting": waiting}
    ended = record.terminated()
    if ended is not None:
        return {"terminated": ended}
    blocked = record.kind == "app" and not initialised
    return {"waiting": {"reason": "PodInitializing" if blocked else "ContainerCreating"}}


def _initialised(records: Sequence[Record]) -> bool:
    return all(
        record.started if record.sidecar else record.succeeded
        for record in records
        if record.kind == "init"
    )


def _conditions(pod: Object, records: Sequence[Record], facts: Facts, phase: str) -> list[Object]:
    generation = pod["metadata"].get("generation", 1)
    found: list[Object] = (pod.get("status") or {}).get("conditions") or []
    for new in (
        {"type": "PodReadyToStartContainers", "status": word(facts.sandbox)},
        _initialized(records, phase),
        _ready(pod, records, phase),
        _containers_ready("ContainersReady", records, phase),
        {"type": "PodScheduled", "status": "True"},
    ):
        entry = {"lastProbeTime": None, "observedGeneration": generation, **new}
        found = conditions.put(found, entry)
    # Others' conditions come first, then the kubelet's own (mergePodStatus); clients print them so.
    return sorted(found, key=lambda c: ORDER.index(c["type"]) if c["type"] in ORDER else -1)


def _initialized(records: Sequence[Record], phase: str) -> Object:
    if phase == "Succeeded":
        return {"type": "Initialized", "status": "True", "reason": "PodCompleted"}
    missing = [
        r.name
        for r in records
        if r.kind == "init" and not (r.started if r.sidecar else r.succeeded)
    ]
    if not missing:
        return {"type": "Initialized", "status": "True"}
    return {
        "type": "Initialized",
        "status": "False",
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{' '.join(missing)}]",
    }


def _containers_ready(kind: str, records: Sequence[Record], phase: str) -> Object:
    if phase == "Succeeded":
        return {"type": kind, "status": "False", "reason": "PodCompleted"}
    if phase == "Failed":
        return {"type": kind, "status": "False", "reason": "PodFailed"}
    apps = [r for r in records if r.kind == "app" or r.sidecar]
    missing = [r.name for r in apps if not r.ready]
    if not missing:
        return {"type": kind, "status": "True"}
    return {
        "type": kind,
        "status": "False",
        "reason": "ContainersNotReady",
        "message": f"containers with unready status: [{' '.join(missing)}]",
    }


def _ready(pod: Object, records: Sequence[Record], phase: str) -> Object:
    condition = _containers_ready("Ready", records, phase)
    if condition["status"] != "True":
        return condition
    found = (pod.get("status") or {}).get("conditions")
    for gate in pod["spec"].get("readinessGates") or ():
        name = gate["conditionType"]
        if not conditions.is_true(found, name):
            known = conditions.find(found, name)
            text = (
                f'has status "{known["status"]}", instead of "True"' if known else "does not exist"
            )
            return {
                "type": "Ready",
                "status": "False",
                "reason": "ReadinessGatesNotReady",
                "message": f'the status of pod readiness gate "{name}" {text}',
            }
    return condition
