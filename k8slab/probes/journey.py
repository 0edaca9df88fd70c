"""The packet's journey: one real packet followed to its destination and back, hop by hop.

A provider with the capability ``trace`` sends the packet and says what its kernel did with it.
Elsewhere no kernel can be asked: then the flow is only tried, the two ends are known, and the
journey says what is missing. Beside it stands what the policy engine predicts.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab import policy
from k8slab.clusters.inventory import inventory
from k8slab.errors import ApiStatusError, ManifestError, ProbeError, UsageError
from k8slab.policy.flow import WORKLOADS, Flow, Party
from k8slab.probes.observe import DEADLINE, observe
from k8slab.probes.outcome import Outcome
from k8slab.probes.pcapng import pcapng
from k8slab.probes.targets import Snapshot, expand, one_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.policy import Verdict

CAPABILITY = "trace"
POLICY_TABLE = "network-policy"
"""The table of the rules that policies became."""
_TRACES = "/apis/lab.k8slab.dev/v1/traces"
_ARROWS = {"there": "->", "back": "<-"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something happened; `kind` is ``pod``, ``node``, ``switch`` or ``world``."""

    kind: str
    name: str

    def __str__(self) -> str:
        if self.kind == "switch":
            return "switch between the nodes"
        return f"outside: {self.name}" if self.kind == "world" else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to the packet, or to its answer on the way back."""

    leg: str
    """``there`` or ``back``."""
    place: Place
    kind: str
    """``enters``, ``leaves``, ``service``, ``endpoint``, ``rewritten``, ``masquerade``, ``route``,
    ``asked``, ``policy``, ``established``, ``rule``, ``refused``, ``lost``."""
    text: str
    packet: str = ""
    """As it was then: ``10.244.1.5:40001 > 10.96.0.20:80 SYN``."""
    seconds: float | None = None
    """Since it was sent; rules have no clock."""
    rule: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arrow(self) -> str:
        """Return the leg as a sign."""
        return _ARROWS[self.leg]


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured packet, with its Ethernet header."""

    nanoseconds: int
    place: Place
    interface: str
    leaving: bool
    data: bytes


@dataclass(frozen=True)
class Journey:
    """What became of one packet."""

    flow: Flow
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0
    steps: tuple[Step, ...] = ()
    lost: Step | None = None
    """Where the packet, or its answer, was lost or sent back."""
    frames: tuple[Frame, ...] = ()
    note: str = ""
    """What could not be seen, and why."""
    sent_from: str = ""
    """The source's address; empty where nobody saw it."""
    address: str = ""
    """The address that was asked, for a name the one that it has."""
    predicted: Verdict | None = field(default=None, compare=False)
    unpredicted: str = ""
    """Why there is no prediction."""

    @property
    def ended(self) -> Step | None:
        """Return where it ended without reaching a program: where it was lost, or refused."""
        return self.lost or next((step for step in self.steps if step.kind == "refused"), None)

    def headline(self) -> str:
        """Return the outcome in one sentence."""
        head = f"{self.outcome.sign} {self.flow}: {self.outcome.value}"
        if self.lost:
            leg = "" if self.lost.leg == "there" else " on the way back"
            return f"{head}, lost at {self.lost.place}{leg}: {self.lost.text}"
        if self.outcome is Outcome.OPEN:
            return f"{head} after {1000 * self.seconds:.1f} ms"
        told = self.ended.text if self.ended else self.detail
        return f"{head} ({told})" if told else head

    def prediction(self) -> str:
        """Return what the policy engine says, and whether it fits what was seen."""
        if self.predicted is None:
            return f"no prediction: {self.unpredicted}" if self.unpredicted else ""
        reasons = (f"{r.direction}: {r.because}" for r in self.predicted.reasons)
        told = "; ".join(dict.fromkeys(reasons))  # the pods behind a Service have mostly the same
        head = f"predicted by policies: {self.predicted.action.value} ({told})"
        by_policy = bool(self.lost and self.lost.rule.get("table") == POLICY_TABLE)
        arrived = self.outcome is Outcome.OPEN
        if by_policy if self.predicted.allowed else arrived:
            return f"{head}; the kernel did otherwise"
        if self.predicted.allowed and self.steps and not arrived:
            return f"{head}; what stopped it is no policy"
        return head

    def rows(self) -> list[list[str]]:
        """Return the steps as rows: direction, place, microseconds, what happened, packet."""
        return [
            [
                step.arrow,
                str(step.place),
                "" if step.seconds is None else f"{1e6 * step.seconds:.0f}",
                f"LOST: {step.text}" if step.kind == "lost" else step.text,
                step.packet if step.kind in ("enters", "leaves") else "",
            ]
            for step in self.steps
        ]

    def text(self) -> str:
        """Return the journey as lines of text, the steps as a table."""
        rows = self.rows()
        if rows:
            rows.insert(0, ["", "WHERE", "US", "WHAT", "PACKET"])
        for later in range(len(rows) - 1, 1, -1):  # a place is named once for each stay
            if rows[later][:2] == rows[later - 1][:2]:
                rows[later][0] = rows[later][1] = ""
        widths = [max(len(row[n]) for row in rows) for n in range(5)] if rows else []
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        told = [self.headline(), self.prediction(), self.note]
        return "\n".join([*(line for line in told if line), "", *lines]).rstrip()

    def to_json(self) -> dict[str, Any]:
        """Return the journey as plain values, the captured packets in base64."""
        verdict = self.predicted
        return {
            "from": str(self.flow.source),
            "to": str(self.flow.destination),
            "port": self.flow.port,
            "protocol": self.flow.protocol,
            "outcome": self.outcome.value,
            "detail": self.detail,
            "seconds": self.seconds,
            "predicted": verdict.action.value if verdict else None,
            "reasons": [reason.because for reason in verdict.reasons] if verdict else [],
            "note": self.note or self.unpredicted,
            "lost": _plain(self.lost) if self.lost else None,
            "steps": [_plain(step) for step in self.steps],
            "frames": [
                {
                    "nanoseconds": frame.nanoseconds,
                    "place": str(frame.place),
                    "interface": frame.interface,
                    "leaving": frame.leaving,
                    "data": base64.b64encode(frame.data).decode(),
                }
                for frame in self.frames
            ],
        }

    def pcapng(self) -> bytes:
        """Return what was captured as a file for Wireshark."""
        return pcapng(self.frames)


def journey(
    cluster: Any, flow: Flow, *, predict: bool = True, deadline: float = DEADLINE
) -> Journey:
    """Send one packet and follow it; a workload as the source is its first pod.

    `predict` also asks the policy engine, which reads everything that has to do with policies.
    Raises `ProbeError` when the flow cannot be sent, `UsageError` for a party that nobody knows.
    """
    source = one_pod(cluster, flow.source)
    (one, *_rest) = expand(cluster, [Flow(source, flow.destination, flow.port, flow.protocol)])
    if CAPABILITY in cluster.capabilities:
        found = _followed(cluster, one, deadline)
    else:
        found = _tried(cluster, one, deadline)
    return _predicted(cluster, found) if predict else found


def _followed(cluster: Any, flow: Flow, deadline: float) -> Journey:
    if flow.protocol == "SCTP":
        raise ProbeError("a journey is sent by TCP or UDP, not by SCTP")
    if flow.destination.kind in WORKLOADS:
        raise ProbeError(f"{flow.destination} has no pod")
    target = Snapshot(cluster).target(flow)
    asked = {
        "from": _origin(flow),
        "to": target.host,
        "port": target.port,
        "protocol": target.protocol,
    }
    body = {"flow": asked, "deadlineSeconds": deadline}
    try:
        answer = cluster.request("POST", _TRACES, body, deadline=30 + 2 * deadline)
    except ApiStatusError as error:
        if error.code != 400:
            raise
        raise ProbeError(error.message) from error
    return _read(flow, answer)


def _origin(flow: Flow) -> dict[str, str]:
    source = flow.source
    if source.kind == "pod":
        return {"namespace": source.namespace, "pod": source.name}
    if source.kind not in ("node", "world"):
        raise ProbeError(f"{source} cannot be the source of a packet")
    return {source.kind: source.name}


def _predicted(cluster: Any, found: Journey) -> Journey:
    """Add what the policy engine says about the addresses that the packet really had."""
    flow = found.flow
    if flow.source.kind == "world" and found.sent_from:
        flow = replace(flow, source=Party("ip", found.sent_from))
    if flow.destination.kind == "name" and found.address:
        flow = replace(flow, destination=Party("ip", found.address))
    try:
        verdict = policy.compile(inventory(cluster)).decide(flow)
    except (UsageError, ManifestError) as error:
        return replace(found, unpredicted=error.args[0])
    return replace(found, predicted=verdict)


def _tried(cluster: Any, flow: Flow, deadline: float) -> Journey:
    (seen,) = observe(cluster, [flow], deadline)
    note = (
        f"the provider {cluster.provider} cannot follow a packet through its kernel (capability"
        f" {CAPABILITY}): it was only tried, so hops and rules are missing here"
    )
    return Journey(flow, seen.outcome, seen.detail, seen.seconds, note=note, address=seen.address)


def _read(flow: Flow, answer: Mapping[str, Any]) -> Journey:
    missed = answer.get("missed") or 0
    note = f"{missed} messages of the kernel were missed: steps may be missing" if missed else ""
    steps = answer["steps"]
    first: Mapping[str, Any] = next((s["packet"] for s in steps if "packet" in s), {})
    return Journey(
        flow,
        Outcome(answer["outcome"]),
        answer["detail"],
        answer["seconds"],
        tuple(_step(step) for step in steps),
        _step(answer["lost"]) if answer["lost"] else None,
        tuple(_frame(frame) for frame in answer["frames"]),
        note,
        first.get("source", ""),
        answer["address"],
    )


def _step(found: Mapping[str, Any]) -> Step:
    return Step(
        found["leg"],
        Place(**found["place"]),
        found["kind"],
        found["text"],
        _packet(found["packet"]) if "packet" in found else "",
        found.get("seconds"),
        found.get("rule") or {},
        found.get("facts") or {},
    )


def _frame(found: Mapping[str, Any]) -> Frame:
    data = base64.b64decode(found["data"])
    place = Place(**found["place"])
    return Frame(found["nanoseconds"], place, found["interface"], found["leaving"], data)


def _packet(found: Mapping[str, Any]) -> str:
    source = _end(found["source"], found["sourcePort"])
    destination = _end(found["destination"], found["destinationPort"])
    word = found["flags"] if found["protocol"] == "TCP" else found["protocol"]
    return f"{source} > {destination} {word}"


def _end(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _plain(step: Step) -> dict[str, Any]:
    return {
        "leg": step.leg,
        "place": str(step.place),
        "kind": step.kind,
        "text": step.text,
        "packet": step.packet,
        "seconds": step.seconds,
        "rule": dict(step.rule),
        "facts": dict(step.facts),
    }
