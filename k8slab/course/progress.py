"""How far a learner is: counted from the journal, never stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from k8slab.course.journal import Event, Journal
    from k8slab.course.lab import Lab, Prediction


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
        lines = [f"{self.lab}: {self.total:g} of {self.max_total:g} points"]
        for name, most in self.max_points.items():
            sign = "+" if self.points[name] else "-"
            tries = f", {self.tries[name]} checks" if self.tries[name] else ""
            hints = f", {self.hints[name]} hints" if self.hints[name] else ""
            lines.append(f"  {sign} {name}: {self.points[name]:g} of {most:g}{tries}{hints}")
        lines += [f"  . {name}: not counted ({lack})" for name, lack in self.impossible.items()]
        lines.append(f"  predictions: {self.predicted} of {self.predictions}")
        lines += [f"  surprised by: {found.question}" for found in self.surprises]
        return "\n".join(lines)


def progress(lab: Lab, journal: Journal) -> LabProgress:
    """Count what the journal says about a lab; the best check of an exercise counts."""
    checks = journal.events(lab.name, "check")
    impossible = _impossible(checks)
    names = [name for name in lab.exercises if name not in impossible]
    best = dict.fromkeys(names, 0.0)
    for event in checks:
        if event.subject in best:
            best[event.subject] = max(best[event.subject], event.data.get("points", 0))
    tries = {name: sum(event.subject == name for event in checks) for name in names}
    taken = {name: journal.events(lab.name, "hint", name) for name in names}
    predictions = [one for one in lab.predictions.values() if not one.quiz]
    made = [found for p in predictions if (found := foretold(lab, journal, p))]
    return LabProgress(
        lab.name,
        lab.title,
        best,
        {name: lab.exercises[name].wishes.points for name in names},
        tries,
        {name: len({event.data.get("step") for event in taken[name]}) for name in names},
        len(made),
        len(predictions),
        tuple(found for found in made if found.decided not in ("", found.chosen)),
        impossible,
    )


def _impossible(checks: Iterable[Event]) -> dict[str, str]:
    """Return the exercises that the cluster could not do at the last check, and never solved."""
    lacks: dict[str, str] = {}
    solved = set()
    for event in checks:
        lacks[event.subject] = ", ".join(event.data.get("missing") or ())
        if event.data.get("points"):
            solved.add(event.subject)
    return {name: lack for name, lack in lacks.items() if lack and name not in solved}


def foretold(lab: Lab, journal: Journal, prediction: Prediction) -> Foretold | None:
    """Return the newest prediction beside the newest observation, or ``None`` without one."""
    event = journal.last(lab.name, "prediction", prediction.id)
    if event is None:
        return None
    seen = journal.last(lab.name, "observation", prediction.id)
    return Foretold(
        prediction.id,
        prediction.question,
        event.data["choice"],
        event.data.get("confidence", 0),
        seen.data.get("decided", "") if seen else "",
    )
