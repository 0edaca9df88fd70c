"""The row of a pod: its status is a word computed from all of its containers.

Source: ``printPod`` in ``pkg/printers/internalversion/printers.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.printtexts import NONE, age, since

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

COLUMNS = (
    "Ready",
    "Status",
    "Restarts",
    "Age",
    "+IP",
    "+Node",
    "+Nominated Node",
    "+Readiness Gates",
)


def cells(pod: Object) -> list[Any]:
    """Return all columns but the name."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    statuses = status.get("containerStatuses") or []
    sidecars = {
        c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"
    }
    ready = sum(1 for entry in statuses if entry.get("ready"))
    ready += sum(
        1
        for entry in status.get("initContainerStatuses") or ()
        if entry.get("name") in sidecars and entry.get("ready")
    )
    total = len(spec.get("containers") or ()) + len(sidecars)
    addresses = status.get("podIPs") or []
    return [
        f"{ready}/{total}",
        status_word(pod, sidecars),
        _restarts(statuses),
        age(pod),
        addresses[0].get("ip", "") if addresses else status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(spec, status),
    ]


def status_word(pod: Object, sidecars: set[str]) -> str:
    """Return what the STATUS column says."""
    status = pod.get("status") or {}
    word = status.get("reason") or status.get("phase") or "Unknown"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            word = "SchedulingGated"
    word = _initial_word(pod, sidecars) or _container_word(status, word)
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(word)


def _initial_word(pod: Object, sidecars: set[str]) -> str:
    """Return ``Init:...`` while an init container is not done."""
    status = pod.get("status") or {}
    total = len((pod.get("spec") or {}).get("initContainers") or ())
    for number, entry in enumerate(status.get("initContainerStatuses") or ()):
        state = entry.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended and ended.get("exitCode") == 0:
            continue
        if entry.get("name") in sidecars and entry.get("started"):
            continue
        if ended:
            if ended.get("reason"):
                return f"Init:{ended['reason']}"
            if ended.get("signal"):
                return f"Init:Signal:{ended['signal']}"
            return f"Init:ExitCode:{ended.get('exitCode', 0)}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{number}/{total}"
    return ""


def _container_word(status: Object, word: str) -> str:
    has_running = False
    for entry in reversed(status.get("containerStatuses") or []):
        state = entry.get("state") or {}
        waiting, ended = state.get("waiting"), state.get("terminated")
        if waiting and waiting.get("reason"):
            word = waiting["reason"]
        elif ended and ended.get("reason"):
            word = ended["reason"]
        elif ended:
            signal = ended.get("signal")
            word = f"Signal:{signal}" if signal else f"ExitCode:{ended.get('exitCode', 0)}"
        elif entry.get("ready") and "running" in state:
            has_running = True
    if word == "Completed" and has_running:
        conditions = status.get("conditions") or ()
        ready = any(
            one.get("type") == "Ready" and one.get("status") == "True" for one in conditions
        )
        word = "Running" if ready else "NotReady"
    return word


def _restarts(statuses: list[Object]) -> str:
    count = sum(entry.get("restartCount", 0) for entry in statuses)
    ends = [
        ended["finishedAt"]
        for entry in statuses
        if (ended := (entry.get("lastState") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    return f"{count} ({since(max(ends))} ago)" if count and ends else str(count)


def _gates(spec: Object, status: Object) -> str:
    gates = [gate["conditionType"] for gate in spec.get("readinessGates") or ()]
    if not gates:
        return NONE
    true = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
    return f"{sum(1 for gate in gates if gate in true)}/{len(gates)}"
