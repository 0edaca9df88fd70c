"""How far a learner is: counted from the journal, never stored."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab.course.points import earned
from k8slab.grading import Status
from k8slab.grading.schemas import described

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from k8slab.course.journal import Event, Journal
    from k8slab.course.lab import Lab, Prediction

PAUSE = 15 * 60
"""Seconds without an event that are no work: reading and solving one exercise take less."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """A prediction and what came of it; `decided` is empty where nothing was observed yet."""

    prediction: str
    question: str
    chosen: str
    confidence: int
    decided: str


@dataclass(frozen=True, slots=True)
class LabProgress:
    """One lab: points by exercise, predictions made, and what surprised."""

    lab: str
    title: str
    points: dict[str, float]
    max_points: dict[str, float]
    tries: dict[str, int]
    hints: dict[str, int]
    predicted: int
    predictions: int
    surprises: tuple[Foretold, ...]
    impossible: Mapping[str, str] = field(default_factory=dict)
    """Exercises that do not count, and what the cluster lacked when they were checked last."""
    former: Mapping[str, float] = field(default_factory=dict)
    """Points for exercises that this version of the course has no more; they do not count."""
    passed_over: tuple[str, ...] = ()
    """Exercises that `catch_up` left out, and that were not solved since."""
    saw_solution: tuple[str, ...] = ()
    """Exercises whose reference answer was shown."""
    stretch: tuple[str, ...] = ()
    """Exercises that go beyond the core."""
    minutes: float = 0
    """How long somebody worked on it: the time between events, pauses left out."""
    solved: tuple[str, ...] = ()
    """Exercises of which a check passed or gave points, if only after the solution was shown."""

    @property
    def total(self) -> float:
        """Return the points in all."""
        return sum(self.points.values())

    @property
    def max_total(self) -> float:
        """Return the points that the lab gives."""
        return sum(self.max_points.values())

    def text(self) -> str:
        """Return the progress for a terminal."""
        lines = [f"{self.lab}: {self.total:g} of {self.max_total:g} points{self._parts()}"]
        for name, most in self.max_points.items():
            sign = "+" if name in self.solved else "-"
            tries = _counted(self.tries[name], "check")
            hints = _counted(self.hints[name], "hint")
            over = ", passed over" if name in self.passed_over else ""
            saw = ", solution shown" if name in self.saw_solution else ""
            counts = f"{self.points[name]:g} of {most:g}"
            lines.append(f"  {sign} {name}: {counts}{tries}{hints}{saw}{over}")
        lines += [f"  . {name}: not counted ({lack})" for name, lack in self.impossible.items()]
        lines += [
            f"  . {name}: {points:g} points, no longer in this course"
            for name, points in self.former.items()
        ]
        lines.append(f"  predictions: {self.predicted} of {self.predictions}")
        if self.minutes >= 1:
            lines.append(f"  worked on for {self.minutes:.0f} minutes")
        lines += [f"  surprised by: {found.question}" for found in self.surprises]
        return "\n".join(lines)

    def _parts(self) -> str:
        """Say how much of the points is the core's, where there is something beyond it."""
        beyond = self.max_points.keys() & set(self.stretch)
        if not beyond or beyond == self.max_points.keys():
            return ""
        points = sum(self.points[name] for name in beyond)
        most = sum(self.max_points[name] for name in beyond)
        core = f"core {self.total - points:g} of {self.max_total - most:g}"
        return f" ({core}, stretch {points:g} of {most:g})"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, as `SCHEMA` describes them."""
        return asdict(self) | {"total": self.total, "max_total": self.max_total}


def _counted(number: int, what: str) -> str:
    return f", {number} {what}{'' if number == 1 else 's'}" if number else ""


def progress(lab: Lab, journal: Journal) -> LabProgress:
    """Count what the journal says about a lab; the best check of an exercise counts.

    An exercise that was called otherwise (`formerly`) keeps what was done for it, and points
    that were worth more or less then are worth the same part of those of today.
    """
    today = {old: one.id for one in lab.exercises.values() for old in (one.id, *one.formerly)}
    events = [
        replace(event, subject=today.get(event.subject, event.subject))
        for event in journal.events(lab.name)
    ]
    checks = [event for event in events if event.kind == "check"]
    done = {event.subject for event in checks if _solved(event)}
    impossible = _impossible(checks, done)
    most = {n: one.wishes.points for n, one in lab.exercises.items() if n not in impossible}
    best = {
        name: earned(lab.exercises[name], [one for one in events if one.subject == name])
        for name in most
    }
    former = dict[str, float]()
    for event in checks:
        name, points = event.subject, event.data.get("points", 0)
        if name not in lab.exercises and name not in impossible and points:
            former[name] = max(former.get(name, 0.0), points)
    over, shown = (
        {event.subject for event in events if event.kind == kind}
        for kind in ("catchup", "solution")
    )
    predictions = [one for one in lab.predictions.values() if not one.quiz]
    made = [found for p in predictions if (found := foretold(lab, journal, p))]
    return LabProgress(
        lab.name,
        lab.title,
        best,
        most,
        {name: sum(event.subject == name for event in checks) for name in most},
        {name: _hints(events, name) for name in most},
        len(made),
        len(predictions),
        tuple(found for found in made if found.decided not in ("", found.chosen)),
        impossible,
        former,
        tuple(name for name in best if name in over and name not in done),
        tuple(name for name in lab.exercises if name in shown),
        tuple(name for name in lab.exercises if lab.exercises[name] not in lab.core),
        _worked(events),
        tuple(name for name in best if name in done),
    )


def _worked(events: Sequence[Event]) -> float:
    """Return the minutes between events; where nothing came for long, somebody was away."""
    between = [after.time - before.time for before, after in itertools.pairwise(events)]
    return sum(seconds for seconds in between if 0 < seconds < PAUSE) / 60


def _hints(events: Iterable[Event], name: str) -> int:
    found = (event for event in events if event.kind == "hint" and event.subject == name)
    return len({event.data.get("step") for event in found})


def _solved(check: Event) -> bool:
    """Say whether a check passed, if only in part; after a shown solution that gives no points."""
    return bool(check.data.get("points")) or check.data.get("status") == Status.PASSED.value


def _impossible(checks: Iterable[Event], done: Collection[str]) -> dict[str, str]:
    """Return the exercises that the cluster could not do at the last check, and never solved."""
    lacks = {one.subject: ", ".join(one.data.get("missing") or ()) for one in checks}
    return {name: lack for name, lack in lacks.items() if lack and name not in done}


def foretold(lab: Lab, journal: Journal, prediction: Prediction) -> Foretold | None:
    """Return the newest prediction beside the newest observation, or ``None`` without one.

    A choice that another version of the course gave, and this one does not, is none.
    """
    event = journal.last(lab.name, "prediction", prediction.id)
    if event is None or event.data["choice"] not in prediction.choices:
        return None
    seen = journal.last(lab.name, "observation", prediction.id)
    decided = seen.data.get("decided", "") if seen else ""
    return Foretold(
        prediction.id,
        prediction.question,
        event.data["choice"],
        event.data.get("confidence", 0),
        decided if decided in prediction.choices else "",
    )


_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
_POINTS = {"type": "number", "minimum": 0}
_BY_EXERCISE = {"type": "object", "additionalProperties": _POINTS}
_FORETOLD = described(
    {
        "prediction": _TEXT,
        "question": _TEXT,
        "chosen": _TEXT,
        "confidence": {**_COUNT, "description": "1 to 5; 0 where none was said."},
        "decided": {"type": "string", "description": "What was observed."},
    }
)
SCHEMA: dict[str, Any] = described(
    {
        "lab": _TEXT,
        "title": _TEXT,
        "points": _BY_EXERCISE,
        "max_points": _BY_EXERCISE,
        "tries": {**_BY_EXERCISE, "description": "Checks."},
        "hints": {**_BY_EXERCISE, "description": "Steps of help that were shown."},
        "predicted": _COUNT,
        "predictions": _COUNT,
        "surprises": {
            "type": "array",
            "items": _FORETOLD,
            "description": "Predictions that came out otherwise.",
        },
        "impossible": {
            "type": "object",
            "additionalProperties": _TEXT,
            "description": "Exercises that do not count, and what the cluster lacked for them.",
        },
        "former": {**_BY_EXERCISE, "description": "Points for exercises that are no more."},
        "passed_over": {"type": "array", "items": _TEXT},
        "saw_solution": {
            "type": "array",
            "items": _TEXT,
            "description": "Exercises whose reference answer was shown.",
        },
        "stretch": {
            "type": "array",
            "items": _TEXT,
            "description": "Exercises that go beyond the core.",
        },
        "minutes": {"type": "number", "description": "Worked on it, pauses left out."},
        "total": _POINTS,
        "max_total": _POINTS,
    },
    later={
        "solved": {
            "type": "array",
            "items": _TEXT,
            "description": "Exercises that passed once, with points or without.",
        }
    },
)
