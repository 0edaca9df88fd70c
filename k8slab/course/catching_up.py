"""Go to an exercise without those before it: after a break, a day missed, in the middle of a room.

Each exercise owns its namespaces and each part of a notebook begins what it uses (a test holds
both), so there is nothing to make of the exercises before: catching up sets one exercise up,
and notes in the journal which ones were passed over. They give no points, and can be done
later like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8slab.course.session import Begun, Session


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """An exercise that is ready, and the ids of the unsolved ones before it."""

    begun: Begun
    passed_over: tuple[str, ...]

    @property
    def text(self) -> str:
        """Say what became of the exercises before."""
        if not self.passed_over:
            return "nothing before it is unsolved"
        return f"passed over, without points: {', '.join(self.passed_over)}"


def catch_up(session: Session, exercise: str) -> CaughtUp:
    """Set an exercise up, and note those before it that are not solved as passed over.

    An exercise that was begun before stays as it was left. Raises `UsageError` for an unknown
    one, naming those there are.
    """
    lab, journal = session.lab, session.journal
    wanted = lab.exercise(exercise).id
    names = list(lab.exercises)
    solved = session.progress().solved
    before = [name for name in names[: names.index(wanted)] if name not in solved]
    noted = {event.subject for event in journal.events(lab.name, "catchup")}
    begun = session.begin(wanted)
    for name in before:
        if name not in noted:
            journal.add(lab.name, "catchup", name, to=wanted)
    return CaughtUp(begun, tuple(before))
