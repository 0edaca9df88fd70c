"""How long a lab takes, computed from what is in it; what learners took is in their journals.

The rates are guesses with a reason, the same for all labs, so that labs can be compared and a
lesson planned. They know nothing about who learns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.course import Lab

WORDS_PER_MINUTE = 120
"""Half of what adults read of plain non-fiction in silence (238, Brysbaert 2019): it is technical,
often in a second language, and code is looked up beside it."""
CELL = 0.5
"""Minutes to run a code cell and read what came out."""
PREDICTION = 1.5
"""Minutes to choose, to compare with what is seen, and to choose a reason."""
QUESTION = 0.5
"""Minutes for a question of a quiz."""
EXERCISE = {"Worked:": 2.0, "To complete:": 4.0, "Independent:": 6.0, "Transfer:": 5.0}
"""Minutes of own work besides reading and running, by the first word of the title."""
OTHER = 5.0
CHALLENGE = 12.0
"""Minutes to find and mend a fault: half of what a room is given for one."""

_CHALLENGE = "lab.challenge("
_CALL = r'lab\.{method}\("([^"]+)"'


@dataclass(frozen=True, slots=True)
class Estimate:
    """Minutes for one notebook, and what they are made of."""

    reading: float
    running: float
    predicting: float
    solving: float

    @property
    def minutes(self) -> int:
        """All of it, to five minutes: more exact than that it is not."""
        whole = self.reading + self.running + self.predicting + self.solving
        return max(5, 5 * round(whole / 5))

    def told(self) -> str:
        """Say how it is made up."""
        return (
            f"reading {self.reading:.0f}, running cells {self.running:.0f}, predictions "
            f"{self.predicting:.0f}, exercises {self.solving:.0f}"
        )


def estimate(cells: Sequence[Any], lab: Lab) -> Estimate:
    """Compute the minutes for the cells of a released notebook."""
    text = [cell["source"] for cell in cells if cell["cell_type"] == "markdown"]
    code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    quizzes = called(code, "quiz")
    asked = [one for one in lab.predictions.values() if one.quiz and one.quiz in quizzes]
    solved = [lab.exercises[one] for one in called(code, "check") if one in lab.exercises]
    words = sum(len(one.split()) for one in text)
    words += sum(len(one.statement.split()) for one in solved)
    return Estimate(
        words / WORDS_PER_MINUTE,
        CELL * len(code),
        PREDICTION * len(called(code, "predict")) + QUESTION * len(asked),
        sum(_solving(one.title) for one in solved) + CHALLENGE * "\n".join(code).count(_CHALLENGE),
    )


def called(code: Sequence[str], method: str) -> list[str]:
    """Return the first arguments of a method of `lab`, in order and without repetition."""
    found = re.findall(_CALL.format(method=method), "\n".join(code))
    return list(dict.fromkeys(found))


def _solving(title: str) -> float:
    return next((one for word, one in EXERCISE.items() if title.startswith(word)), OTHER)
