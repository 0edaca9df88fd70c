"""What came of every challenge that was begun: counted from the journal, never stored.

The fault is told only where its name gives nothing away any more: all points were made, or the
answer has been shown. A challenge that was merely stopped can be begun again with its seed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from k8slab.challenges import catalogue
from k8slab.challenges.challenge import JOURNAL
from k8slab.challenges.score import TOTAL
from k8slab.challenges.standing import is_gone
from k8slab.course.sealing import unseal
from k8slab.grading.schemas import described

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.course.journal import Event, Journal

INTERRUPTED, UNDER_WAY, SOLVED = "interrupted", "under way", "solved"
GIVEN_UP, STOPPED = "given up", "stopped"
STATES = (INTERRUPTED, UNDER_WAY, SOLVED, GIVEN_UP, STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One challenge from its begin to its end, or to now."""

    seed: int
    state: str
    """One of `STATES`; the start of an interrupted one was not completed."""
    points: int
    """Of the best check."""
    max_points: int
    checks: int
    diagnoses: int
    minutes: float | None
    """From when it was ready to its best check; ``None`` before the first check."""
    limit: float
    """Minutes after which nothing counts any more; 0 for no limit."""
    fault: str = ""
    """Its id, where it may be told."""
    told: str = ""
    """What was broken, where it may be told."""

    def text(self) -> str:
        """Return it as one line."""
        sign = "+" if self.state == SOLVED else "-"
        within = f" of {self.limit:g}" if self.limit else ""
        took = f", {self.minutes:.0f}{within} min" if self.points and self.minutes else ""
        fault = f" ({self.fault}: {self.told})" if self.fault else ""
        points = f"{self.points} of {self.max_points}"
        return f"{sign} challenge {self.seed}: {points}, {self.state}{took}{fault}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def attempts(journal: Journal) -> list[Attempt]:
    """Return all challenges that were begun, in order."""
    return [_attempt(run) for run in runs(journal)]


def runs(journal: Journal, seed: int | None = None) -> list[list[Event]]:
    """Return the events of all challenges that were begun, or of one seed's, each from its begin.

    An event belongs to the newest challenge of its seed on its cluster: a seed may be under way on
    several clusters at once.
    """
    runs: list[list[Event]] = []
    newest: dict[tuple[str, str], list[Event]] = {}
    for event in journal.events(JOURNAL, subject="" if seed is None else str(seed)):
        # Where an older journal names no cluster, the newest challenge of this seed is meant.
        place = (event.subject, event.data.get("cluster", ""))
        if event.kind == "begin":
            runs.append([])
            newest[place] = newest[event.subject, ""] = runs[-1]
        if place in newest:
            newest[place].append(event)
    return runs


def summary(found: Sequence[Attempt]) -> str:
    """Return how many there are and what they gave, for the line above them."""
    solved = sum(one.state == SOLVED for one in found)
    points, most = (sum(getattr(one, name) for one in found) for name in ("points", "max_points"))
    return f"challenges: {solved} of {len(found)} solved, {points} of {most} points"


def _attempt(run: Sequence[Event]) -> Attempt:
    begun = run[0]
    ready = next((event for event in run if event.kind == "setup"), None)
    checks = [event for event in run if event.kind == "check"]
    best = max(checks, key=lambda event: event.data.get("points", 0), default=None)
    most = best.data.get("max_points", TOTAL) if best else TOTAL
    points = best.data.get("points", 0) if best else 0
    kinds = {event.kind for event in run}
    fault = told = ""
    if points == most or "solution" in kinds:
        fault = unseal(begun.data["sealed"], "the journal")["fault"]
        known = catalogue.entries().get(fault)  # of an older course it may be gone
        told = known.fault if known else "no longer in this course"
    return Attempt(
        seed=int(begun.subject),
        state=_state(kinds, solved=points == most, ended="reset" in kinds or is_gone(begun)),
        points=points,
        max_points=most,
        checks=len(checks),
        diagnoses=sum(event.kind == "diagnosis" for event in run),
        minutes=_minutes(ready, best) if best and ready else None,
        limit=begun.data.get("minutes", 0),
        fault=fault,
        told=told,
    )


def _minutes(ready: Event, best: Event) -> float:
    """Return the minutes between two events; none where the clock was set back meanwhile."""
    return round(max(0.0, best.time - ready.time) / 60, 1)


def _state(kinds: set[str], *, solved: bool, ended: bool) -> str:
    if "setup" not in kinds:
        return INTERRUPTED
    if solved:
        return SOLVED
    if "solution" in kinds:
        return GIVEN_UP
    return STOPPED if ended else UNDER_WAY


_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
SCHEMA: dict[str, Any] = described(
    {
        "seed": _COUNT,
        "state": {"enum": [*STATES]},
        "points": {**_COUNT, "description": "Of the best check."},
        "max_points": _COUNT,
        "checks": _COUNT,
        "diagnoses": {**_COUNT, "description": "Guesses at the cause or the hop."},
        "minutes": {
            "type": ["number", "null"],
            "description": "From when it was ready to its best check; null before the first.",
        },
        "limit": {"type": "number", "description": "Minutes that were given; 0 for no limit."},
        "fault": {
            "type": "string",
            "description": "Its id; empty until all points are made or the answer is shown.",
        },
        "told": _TEXT,
    }
)
