"""What a journey is made of: places, steps, captured frames, and the whole of it in words.

Whoever followed the packet, a kernel that told every rule (`journey`) or captures at some places
(`captured`), the story has this one form.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.probes.outcome import Outcome
from k8slab.probes.pcapng import pcapng

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.policy import Verdict
    from k8slab.policy.flow import Flow

POLICY_TABLE = "network-policy"
"""The table of the rules that policies became."""
ENDINGS = ("lost", "refused")
"""Kinds of the step with which a journey ends without reaching a program."""
LARGE = 1000
"""Bytes: a packet with more says how many it has."""
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


_KIND = re.compile(r"^(the |node |pod |outside: )+")


def is_place(said: str, place: str) -> bool:
    """Say whether a text means a place, given as ``str(Place)``: its name, or the name's end.

    ``worker2`` is ``node lab-worker2``, ``web`` is ``pod shop/web``, ``switch`` is the switch.
    """
    word, name = (_KIND.sub("", " ".join(text.lower().split())) for text in (said, place))
    if not word:
        return False
    ends = (f"-{word}", f"/{word}")
    return word == name or name.endswith(ends) or name == f"{word} between the nodes"


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
    """What the text tells, as values; ``after`` where a packet was lost behind this place."""

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
    """Where the packet, or its answer, was lost, or sent back before it arrived."""
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
        head = f"{self.flow}: {self.outcome.value}"
        if end := self.ended:
            leg = "" if end.leg == "there" else " on the way back"
            at = "somewhere after" if end.facts.get("after") else "at"
            lost = "" if self.ends_as == "refused" else ", lost"
            return f"{head}{lost} {at} {end.place}{leg}: {end.text}"
        if self.outcome is Outcome.OPEN:
            return f"{head} after {1000 * self.seconds:.1f} ms"
        return f"{head} ({self.detail})" if self.detail else head

    @property
    def ends_as(self) -> str:
        """Return ``refused`` where somebody answered with a refusal, else ``lost``.

        A rule that rejects answers too: what it stops is at the same place, but nothing is lost.
        """
        return "refused" if self.outcome is Outcome.REFUSED else "lost"

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
                f"{self.ends_as.upper()}: {step.text}" if step.kind in ENDINGS else step.text,
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
        told = [f"{self.outcome.sign} {self.headline()}", self.prediction(), self.note]
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


def packet_text(found: Mapping[str, Any]) -> str:
    """Return a packet as it is shown: ``10.244.1.5:40001 > 10.96.0.20:80 SYN``."""
    source = end_text(found["source"], found["sourcePort"])
    destination = end_text(found["destination"], found["destinationPort"])
    word = found["flags"] if found["protocol"] == "TCP" else found["protocol"]
    size = f", {found['size']} bytes" if found.get("size", 0) > LARGE else ""
    return f"{source} > {destination} {word}{size}"


def end_text(address: str, port: int) -> str:
    """Return an address with its port, if there is one."""
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
