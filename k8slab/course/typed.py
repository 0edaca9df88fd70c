"""What a learner typed in answer to questions: noted with what it stands for, and read again.

Addresses last no longer than their pods: a cluster that was stopped and started gives others,
and so does the second look of a check. So what is noted is the text and, where it is one that
only this cluster could give, the field that tells it (`symbols`). Later the field decides: a
right answer stays right, and the address of another pod stays that other pod's.

Answers count for the cluster on which they were typed, since its set-up. The order is that of
the journal, whatever the machine's clock says.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.course import start, symbols
from k8slab.errors import K8slabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.course.journal import Event
    from k8slab.course.start import Attempt
    from k8slab.course.symbols import Symbol

LONGEST = 2000
"""Characters of an answer: so many a bundle takes."""


@dataclass(frozen=True, slots=True)
class Typed:
    """One answer: the text, and where the cluster tells the same; ``None`` for a plain text."""

    text: str
    stands_for: Symbol | None = None


def note(attempt: Attempt, question: str, text: str) -> None:
    """Write an answer to the journal; `UsageError` for one that nobody could hand in."""
    if len(text) > LONGEST:
        raise UsageError(
            f"the answer to {question!r} has {len(text)} characters: it was not noted",
            hint=f"an answer that is handed in has at most {LONGEST}",
        )
    found: dict[str, Any] = {"value": text, "cluster": attempt.cluster.name}
    # Where the cluster does not answer, what the text stands for is looked for when it is read.
    with suppress(K8slabError):
        found["stands_for"] = symbols.translate(attempt.context, attempt.exercise, question, text)
    attempt.journal.add(attempt.lab, "answer", question, **found)


def since_set_up(attempt: Attempt) -> dict[str, Typed]:
    """Return the newest answers, by question, of those typed since the set-up that stands."""
    begun = start.last(attempt)
    events = (attempt.newest("answer", question) for question in attempt.exercise.questions)
    return {
        event.subject: _read(attempt, event)
        for event in events
        if event is not None and (begun is None or event.id > begun.id)
    }


def today(attempt: Attempt, typed: Mapping[str, Typed]) -> dict[str, str]:
    """Return answers, by question, as one would type them now: in the addresses of today.

    What is asked about the start is compared with what was told then, as it was typed.
    """
    return {
        question: one.text
        if one.stands_for is None or _about_start(attempt, question)
        else symbols.here(attempt.context, attempt.exercise, one.text, one.stands_for)
        for question, one in typed.items()
    }


def _read(attempt: Attempt, event: Event) -> Typed:
    """Return an answer with what it stands for: what is right now, else what was noted.

    Where a pod was at the start it may no longer be: there only the note counts.
    """
    context, exercise = attempt.context, attempt.exercise
    question, text = event.subject, event.data["value"]
    if "stands_for" not in event.data:
        return Typed(text, symbols.translate(context, exercise, question, text))
    noted = event.data["stands_for"]
    if _about_start(attempt, question):
        return Typed(text, noted)
    return Typed(text, symbols.right(context, exercise, question, text) or noted)


def _about_start(attempt: Attempt, question: str) -> bool:
    checks = attempt.exercise.wishes.checks
    return any(spec.get("at_start") for spec in checks if spec.get("id") == question)
