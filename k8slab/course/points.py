"""The points of an exercise: its best check counts, and none adds any once its solution was shown.

Afterwards points come from the twin alone: the transfer that follows the exercise in its lab, which
asks for what the exercises before it taught, with the learner's own names. So an answer can be read
and tried, and pasting it earns nothing. A worked exercise keeps its points, since its answer is
part of the text.
Checks are noted with the points that they gave, so what was earned stays; a reset changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.course.journal import Event, Journal
    from k8slab.course.lab import Exercise, Lab


def earned(exercise: Exercise, events: Sequence[Event]) -> float:
    """Return the points that an exercise has, by all events about it."""
    most = exercise.wishes.points
    return max((_worth(one, most) for one in events if one.kind == "check"), default=0.0)


def shown(events: Sequence[Event]) -> bool:
    """Say whether the solution was shown, by all events about an exercise."""
    return any(event.kind == "solution" for event in events)


def limit(exercise: Exercise, events: Sequence[Event]) -> float | None:
    """Return the most that a check can give after the solution was shown.

    ``None`` where nothing limits it: not shown, a worked exercise, or all its points before.
    """
    if exercise.worked or not shown(events):
        return None
    had = earned(exercise, events)
    return had if had < exercise.wishes.points else None


def said(lab: Lab, exercise: Exercise, had: float, journal: Journal) -> str:
    """Say in a sentence what a shown solution means for the points, and which twin gives some."""
    to = f" to the {had:g} that it has" if had else ""
    line = f"now that its solution is shown, checks add no points any more{to}"
    other = twin(lab, exercise)
    if other is None or shown(journal.about(lab.name, "", other.ids)):
        return line
    return f"{line}; the transfer that follows gives some: {lab.name}/{other.id}"


def twin(lab: Lab, exercise: Exercise) -> Exercise | None:
    """Return the transfer that follows an exercise in its lab; a transfer has none itself."""
    if exercise.transfer:
        return None
    names = list(lab.exercises)
    after = names[names.index(exercise.id) + 1 :]
    return next((lab.exercises[name] for name in after if lab.exercises[name].transfer), None)


def _worth(check: Event, most: float) -> float:
    """Return the points of a check as today's exercise gives them."""
    points: float = check.data.get("points", 0)
    then: float = check.data.get("max_points") or most
    return min(most, points * most / then)
