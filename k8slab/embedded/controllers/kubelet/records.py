"""What a kubelet knows of one container: a record that the pod's worker keeps up to date."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from k8slab.embedded.controllers import times

if TYPE_CHECKING:
    from k8slab.embedded.runtime.spec import ContainerExit
    from k8slab.objects.meta import Object

Kind = Literal["init", "app", "ephemeral"]

START_ERROR = "StartError"
"""Why a container ended whose program could not be started."""

RUNTIME_NAME = "k8slab"
"""The scheme of container ids and the name of the runtime in a Node's nodeInfo."""

NO_PLUGIN = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)
"""What a kubelet says of a node whose runtime finds no network configuration (containerd's CRI)."""

FIRST_BACK_OFF = 10.0
LONGEST_BACK_OFF = 300.0
BACK_OFF_RESET = 600.0
"""Seconds: kubelet's crash-loop back-off (``MaxContainerBackOff``; reset after twice of it)."""


@dataclass(slots=True)
class BackOff:
    """The growing delay between attempts: 10 s, doubled to 5 min, forgotten after 10 min."""

    delay: float = 0.0
    since: float = 0.0

    def begin(self, now: float) -> None:
        """Note an attempt at `now`: the next one has to wait longer."""
        if not self.delay or now - self.since > BACK_OFF_RESET:
            self.delay = FIRST_BACK_OFF
        else:
            self.delay = min(self.delay * 2, LONGEST_BACK_OFF)
        self.since = now

    @property
    def until(self) -> float:
        """Return when the next attempt may be made, counted from the last."""
        return self.since + self.delay

    def left(self, ended: float, now: float) -> float:
        """Return the seconds to wait, counted from when the last instance ended."""
        if now - self.since > BACK_OFF_RESET:
            return 0.0
        return max(0.0, ended + self.delay - now)

    @property
    def words(self) -> str:
        """Return the delay as Go prints it: ``10s``, ``1m20s``."""
        minutes, seconds = divmod(int(self.delay), 60)
        return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


@dataclass(slots=True)
class Record:
    """One container of one pod."""

    spec: Object
    kind: Kind
    id: str = ""
    """Of the present or last instance; empty before the first."""
    running: bool = False
    started_at: float = 0.0
    exit: ContainerExit | None = None
    """How the last instance ended; ``None`` while it runs."""
    reason: str = ""
    """Why it waits, when it neither runs nor has ended for good."""
    message: str = ""
    restarts: int = 0
    last: Object | None = None
    """The ``terminated`` part of ``lastState``."""
    started: bool = False
    """The startup probe passed (or there is none)."""
    ready: bool = False
    killed: bool = False
    """The kubelet itself is stopping it (failed liveness probe)."""
    back_off: BackOff = field(default_factory=BackOff)
    image_back_off: BackOff = field(default_factory=BackOff)

    @property
    def name(self) -> str:
        """Return the container's name."""
        return str(self.spec["name"])

    @property
    def sidecar(self) -> bool:
        """Say whether this is an init container that goes on running (KEP-753)."""
        return self.kind == "init" and self.spec.get("restartPolicy") == "Always"

    @property
    def succeeded(self) -> bool:
        """Say whether the last instance ended with code 0."""
        return self.exit is not None and self.exit.code == 0

    def wait(self, reason: str, message: str = "") -> None:
        """Note why it does not run."""
        self.reason, self.message = reason, message

    def begin(self, container_id: str, started_at: float) -> None:
        """Note that an instance runs."""
        self.id, self.started_at = container_id, started_at
        self.running, self.exit = True, None
        self.reason = self.message = ""
        self.started = self.ready = self.killed = False

    def end(self, ended: ContainerExit) -> None:
        """Note that the instance ended."""
        self.running = self.started = self.ready = False
        self.exit = ended

    def retire(self) -> None:
        """Count a restart: the ended instance becomes ``lastState``."""
        self.last = self.terminated()
        self.restarts += 1

    def terminated(self) -> Object | None:
        """Return the ``terminated`` state of the last instance, if it ended."""
        if self.exit is None:
            return None
        state: Object = {
            "exitCode": self.exit.code,
            "reason": self.exit.reason or ("Completed" if self.exit.code == 0 else "Error"),
            "startedAt": self._started_at(),
            "finishedAt": times.text(self.exit.finished_at or None),
        }
        if self.exit.signal:
            state["signal"] = self.exit.signal
        if self.exit.message:
            state["message"] = self.exit.message
        if self.id:
            state["containerID"] = f"{RUNTIME_NAME}://{self.id}"
        return state

    def _started_at(self) -> str | None:
        if self.exit and self.exit.reason == START_ERROR:
            return "1970-01-01T00:00:00Z"  # what a runtime says of one that never started
        return times.text(self.started_at) if self.started_at else None
