"""Where a learner was: the lab, the notebook and the cell of what the journal tells last.

An event names an exercise, a prediction or a question. The cell that asked for it is the one
with the call that writes such events, ``lab.observe("id")`` for an observation; where that has
been edited away, the cell that begins the exercise.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.course.release import NOTEBOOKS, notebook_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.course.journal import Event, Journal
    from k8slab.course.lab import Lab

_CALLS = {
    "prediction": "predict",
    "observation": "observe",
    "reason": "explain",
    "answer": "answer",
    "check": "check",
    "solution": "check",
}
"""The method of `lab` that writes an event; the others belong where an exercise begins."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a lab; `cell` is the id of a notebook's cell, or empty."""

    lab: Lab
    exercise: str
    """Empty where the last thing belongs to none, as a question of a quiz."""
    notebook: str
    """The file's name in the lab's directory."""
    cell: str = ""

    @property
    def title(self) -> str:
        """Say where that is, in words."""
        found = self.lab.exercises.get(self.exercise)
        return f"{self.lab.title}: {found.title}" if found else self.lab.title


def last_position(labs: Iterable[Lab], journal: Journal) -> Position | None:
    """Return where the learner was in one of the labs; ``None`` where nothing was done yet."""
    known = {lab.name: lab for lab in labs}
    for event in reversed(journal.events()):
        if event.lab in known and event.kind != "catchup":  # it tells what was left out
            return _position(known[event.lab], event)
    return None


def _position(lab: Lab, event: Event) -> Position:
    exercise = exercise_of(lab, event.subject)
    wanted = [
        (_CALLS.get(event.kind, "begin"), event.subject),
        ("begin", exercise),
    ]
    cells = list(_cells(lab))
    for method, subject in wanted:
        call = re.compile(rf'\blab\.{method}\(\s*[\'"]{re.escape(subject)}[\'"]')
        for notebook, cell, source in cells:
            if subject and call.search(source):
                return Position(lab, exercise, notebook, cell)
    return Position(lab, exercise, notebook_file(lab.name))


def exercise_of(lab: Lab, subject: str) -> str:
    """Return the exercise that an event's subject belongs to; empty where there is none."""
    for found in lab.exercises.values():
        if subject in (found.id, *found.formerly, *found.questions):
            return found.id
    prediction = lab.predictions.get(subject)
    if prediction is None:
        return ""
    spaces = (one.id for one in lab.exercises.values() if one.namespace == prediction.namespace)
    return next(spaces, "")


def _cells(lab: Lab) -> Iterator[tuple[str, str, str]]:
    """Yield notebook, id and source of each code cell; what cannot be read is passed over."""
    for name in NOTEBOOKS:
        file = lab.directory / notebook_file(lab.name, name)
        try:
            cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
            found = [(one.get("id", ""), "".join(one["source"])) for one in cells]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # the learner's own file: JupyterLab will say what is wrong with it
        yield from ((file.name, cell, source) for cell, source in found)
