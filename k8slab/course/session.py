"""A learner at work on a lab: one lab, one cluster, one journal.

The faces (notebook, command line) call these methods and show what they return. Nothing
here depends on a prediction being right, and every step can be repeated in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab.course import deciding, difference, keeping, looking, points, setup, start, turns, typed
from k8slab.course.difference import Difference
from k8slab.course.journal import Journal
from k8slab.course.progress import LabProgress, foretold, progress
from k8slab.errors import UsageError
from k8slab.grading import (
    Context,
    Finding,
    Result,
    Status,
    conditions,
    grade,
    interrupted,
)  # fmt: skip
from k8slab.grading.grade import missing_capabilities
from k8slab.probes import Observation, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from k8slab.course.journal import Event
    from k8slab.course.lab import Exercise, HintStep, Lab, Prediction
    from k8slab.course.pacing import Pace
    from k8slab.course.typed import Typed


_TYPED = "you saw: "
_NOT_SEEN = (looking.PROMPT, _TYPED)
"""How lines begin that the cluster did not say: the command itself, the learner's words."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An exercise at its start: `fresh` says whether it was set up just now."""

    exercise: Exercise
    fresh: bool
    kept: Path | None = None
    """Where the own work was saved before it was deleted; ``None`` without any."""
    redone: bool = False
    """Whether it was done again afterwards."""
    refused: tuple[str, ...] = ()
    """What of it the cluster refused when it was done again."""
    others: str = ""
    """Whose names stood there before, where those were not the own ones."""

    def told(self) -> list[str]:
        """Say what became of the own work; nothing where none was kept."""
        lines = []
        if self.kept and self.redone:
            lines.append(f"your own objects are done again, and saved in {self.kept}")
        elif self.kept:
            why = (
                f"it stood there with the names of {self.others}"
                if self.others
                else "this course begins the exercise otherwise than the one before"
            )
            lines.append(f"{why}: it is set up anew, and what stood in it is saved in {self.kept}")
        return [*lines, *(f"the cluster refused {line}" for line in self.refused)]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was observed for a prediction, beside what was predicted."""

    prediction: Prediction
    lines: tuple[str, ...]
    observations: tuple[Observation, ...] = ()
    chosen: str = ""
    """The learner's choice; empty when there was none before."""
    confidence: int = 0

    @property
    def fits(self) -> list[str]:
        """Return the choices that fit what was seen (`deciding`)."""
        said = [line for line in self.lines if not line.startswith(_NOT_SEEN)]
        return deciding.fitting(self.prediction, said, self.observations)

    @property
    def decided(self) -> str:
        """Return the choice that came true; empty when none fits, or more than one."""
        fits = self.fits
        return fits[0] if len(fits) == 1 else ""

    @property
    def measured(self) -> bool:
        """Say whether an experiment decides, and not what the lab tells."""
        return deciding.by_experiment(self.prediction)

    @property
    def failed(self) -> bool:
        """Say whether a probe itself did not work."""
        return any(one.outcome is Outcome.FAILED for one in self.observations)

    @property
    def came_true(self) -> bool | None:
        """Say whether the prediction came true; ``None`` without prediction or observation."""
        return self.chosen == self.decided if self.chosen and self.decided else None


@dataclass(frozen=True, slots=True)
class Explained:
    """The reason that the learner chose, and what is right."""

    prediction: Prediction
    chosen: str

    @property
    def right(self) -> bool:
        """Say whether the chosen reason is the right one."""
        return self.chosen == self.prediction.reason


@dataclass(frozen=True, slots=True)
class QuizAnswer:
    """One question of a quiz and the learner's choice; empty when there is none."""

    prediction: Prediction
    chosen: str
    seen: tuple[str, ...] = ()
    """What the cluster shows about it, where it was asked."""

    @property
    def right(self) -> bool:
        """Say whether the choice is the right one."""
        return self.chosen == self.prediction.key


@dataclass(frozen=True, slots=True)
class Hint:
    """One step of help: the `number`-th of `total`."""

    number: int
    total: int
    text: str
    cost: float = 0
    """Points that this step has cost."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A reference answer that is shown."""

    text: str
    note: str = ""
    """What this changes about the points, to be said first; empty where it changes nothing."""


@dataclass
class Session:
    """A lab on a cluster, with a journal."""

    lab: Lab
    cluster: Any
    journal: Journal = field(default_factory=Journal)
    told: Callable[[str], None] = lambda _line: None
    """Gets a line about what is being waited for."""
    said: Callable[[str], None] = lambda _line: None
    """Gets a line that is to be read afterwards too."""
    pace: Pace | None = None
    """Who tries again and again waits; authors' tests do not."""
    withholds: bool = True
    """Whether a transfer's first check keeps its reasons back; a grader is told them."""

    def begin(self, exercise: str) -> Begun:
        """Set an exercise up, measure its baseline; an exercise that is begun stays as it is.

        What another version of the course had set up is saved to a file and deleted first. Where
        it stands with the names of another seed, which may be another learner's, nothing is
        changed: raises `UsageError`.
        """
        found = self.lab.exercise(exercise)
        with self._alone(found, "begin"):
            return self._begin(found)

    def _begin(self, found: Exercise) -> Begun:
        attempt = self._attempt(found)
        if line := self._others(attempt):
            raise UsageError(
                line,
                hint="nothing was changed; to begin yours and save what stands there to a file: "
                f"k8slab reset {self.lab.name}/{found.id} --keep-mine, in a notebook "
                f'lab.reset("{found.id}", keep_mine=True)',
            )
        kept = None
        if setup.mark_of(self.cluster, found) not in ("", setup.wanted_mark(found)):
            _, kept = self._take_down(found, keep=True)
        fresh = setup.set_up(
            self.cluster, found, ready=lambda: start.note(attempt, start.measure(attempt))
        )
        if not fresh:
            interrupted.mend(attempt.context)
        if start.last(attempt) is None:  # another journal measured it
            start.note(attempt)
        self.journal.add(self.lab.name, "begin", found.id)
        return Begun(found, fresh, kept)

    def _attempt(self, exercise: Exercise) -> start.Attempt:
        return start.Attempt(self.lab.name, exercise, self.cluster, self.journal)

    def _others(self, attempt: start.Attempt) -> str:
        """Say whose names the set-up stands with, where they are not this learner's; else ''."""
        if not (other := start.other_seed(attempt)):
            return ""
        place, own = f"{self.lab.name}/{attempt.exercise.id}", attempt.exercise.seed
        return (
            f"{place} stands in the cluster {self.cluster.name} with the names of {other}; "
            f"yours is {own}"
        )

    def _alone(self, exercise: Exercise, doing: str) -> AbstractContextManager[None]:
        what = f"{doing} {self.lab.name}/{exercise.id}"
        return turns.alone(self.cluster, [exercise], doing=what, told=self.told)

    def current(self) -> Exercise | None:
        """Return the exercise that was begun last and is still set up, in any notebook."""
        begun = self.journal.events(self.lab.name, "begin")
        found = self.lab.exercises.get(begun[-1].subject) if begun else None
        return found if found and setup.is_marked(self.cluster, found) else None

    def reset(self, exercise: str, *, keep_mine: bool = False) -> Begun:
        """Delete everything of an exercise and begin it again.

        With `keep_mine` what the learner added, changed and deleted is saved to a file before,
        and done again afterwards: fresh pods, the own policies. What stood there on another
        set-up (an older course's, another seed's) is saved alone. Answers that were typed are to
        be given again, since addresses are new.
        """
        found = self.lab.exercise(exercise)
        with self._alone(found, "reset"):
            others = start.other_seed(self._attempt(found))
            mine, kept = self._take_down(found, keep=keep_mine)
            begun = self._begin(found)
            own = difference.without_given(mine, start.given(self._attempt(found)))
            refused = difference.replay(self.cluster, own, told=self.told) if own else []
        return replace(begun, kept=kept, redone=bool(mine), refused=tuple(refused), others=others)

    def _take_down(self, found: Exercise, *, keep: bool) -> tuple[Difference, Path | None]:
        """Delete all of an exercise; with `keep` return what can be done again, and the file."""
        attempt = self._attempt(found)
        other = {space for one in self.lab.exercises.values() for space in one.namespaces}
        also = [name for name in start.left_behind(attempt) if name not in other]
        mine, kept = self._saved(attempt, also) if keep else (Difference(), None)
        setup.tear_down(self.cluster, found, also=also, told=self.told)
        self.journal.add(self.lab.name, "reset", found.id, cluster=self.cluster.name)
        return mine, kept

    def _saved(self, attempt: start.Attempt, also: Sequence[str]) -> tuple[Difference, Path | None]:
        """Save what differs from the set-up; return what of it suits a new one, and the file.

        On another set-up's manifests the whole of that set-up differs: none of it is done again.
        """
        found = attempt.exercise
        stands = setup.mark_of(self.cluster, found)
        if not stands:
            return Difference(), None
        interrupted.mend(attempt.context)
        spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in also]
        wide = replace(found, setup=(*found.setup, *spaces))
        mine = difference.collect(self.cluster, wide, start.given(attempt))
        kept = keeping.save(mine, f"{self.lab.name}/{found.id}") if mine else None
        if kept:  # said now: what follows may fail or be interrupted
            self.said(f"your work is saved in {kept}")
        same = stands == setup.wanted_mark(found) and not also
        return (mine if same else Difference()), kept

    def check(self, exercise: str) -> Result:
        """Grade an exercise by what the cluster does now."""
        found = self.lab.exercise(exercise)
        if (result := self._not_begun(found)) is not None:
            return result
        with self._alone(found, "check"):  # waiting too, so that checks side by side do not save it
            if (result := self._not_begun(found)) is not None:
                return result
            if self.pace:
                self.pace.wait(self._noted("check", found), self.told)
            return self._checked(found)

    def _checked(self, found: Exercise) -> Result:
        result = grade(self._context(found), found.wishes)
        result = replace(result, cost=found.hint_cost * self._hints_taken(found))
        result = self._limited(result, found)
        if self.withholds and found.transfer and not result.passed and not self._tries(found):
            result = _withheld(result)
        if not result.passed and not setup.is_set_up(self.cluster, found):
            result = _of_older_course(result)
        self.journal.add(
            self.lab.name,
            "check",
            found.id,
            status=result.status.value,
            points=result.points,
            max_points=result.max_points,
            missing=missing_capabilities(self.cluster, found.wishes),
        )
        return result

    def _limited(self, result: Result, found: Exercise) -> Result:
        """Return a result that gives no more than the exercise had when its solution was shown."""
        most = points.limit(found, self._noted("", found))
        if most is None:
            return result
        return replace(result, limit=most, note=points.said(self.lab, found, most, self.journal))

    def _context(self, exercise: Exercise) -> Context:
        """Return what a grader is given: the cluster, the place, and the start."""
        begun = start.last(self._attempt(exercise))
        data = begun.data if begun else {}
        answers = self.typed(exercise)
        return Context(
            self.cluster,
            exercise.namespace,
            exercise.setup,
            frozenset(data.get("open", ())),
            typed.today(self._attempt(exercise), answers),
            measured=data.get("others", ()),
            told=start.told(begun) if begun else {},
            given=data.get("given"),
            typed={question: one.text for question, one in answers.items()},
        )

    def _hints_taken(self, exercise: Exercise) -> int:
        return len({event.data.get("step") for event in self._noted("hint", exercise)})

    def _noted(self, kind: str, exercise: Exercise) -> list[Event]:
        return self.journal.about(self.lab.name, kind, exercise.ids)

    def answer(self, question: str, value: object) -> str:
        """Note what the learner typed; returns the question's text."""
        for exercise in self.lab.exercises.values():
            if question in exercise.questions:
                typed.note(self._attempt(exercise), question, str(value))
                return exercise.questions[question]
        known = [name for exercise in self.lab.exercises.values() for name in exercise.questions]
        raise UsageError(
            f"nobody asked {question!r}", hint=f"questions are: {', '.join(known) or 'none'}"
        )

    def predict(self, prediction: str, choice: str, confidence: int = 3) -> Prediction:
        """Note a prediction; `confidence` goes from 1 (a guess) to 5 (certain)."""
        found = self.lab.prediction(prediction)
        if choice not in found.choices:
            raise UsageError(
                f"{choice!r} is no choice", hint=f"choose one of {', '.join(found.choices)}"
            )
        if not 1 <= confidence <= 5:
            raise UsageError("confidence goes from 1 (a guess) to 5 (certain)")
        self.journal.add(
            self.lab.name, "prediction", found.id, choice=choice, confidence=confidence
        )
        return found

    def observe(self, prediction: str, seen: str = "") -> Seen:
        """Look at what was predicted; `seen` is the learner's own observation, if any."""
        found = self.lab.prediction(prediction)
        self._require_begun(found)
        lines, observations = looking.look(self.cluster, found)
        if seen:
            lines.append(f"{_TYPED}{seen}")
        before = foretold(self.lab, self.journal, found)
        chosen, confidence = (before.chosen, before.confidence) if before else ("", 0)
        result = Seen(found, tuple(lines), tuple(observations), chosen, confidence)
        self.journal.add(
            self.lab.name,
            "observation",
            found.id,
            lines=lines,
            predicted=before is not None,
            decided=result.decided,
        )
        return result

    def explain(self, prediction: str, reason: str) -> Explained:
        """Note the reason that the learner chose and return what is right."""
        found = self.lab.prediction(prediction)
        if reason not in found.reasons:
            raise UsageError(
                f"{reason!r} is no reason to choose",
                hint=f"choose one of {', '.join(found.reasons) or '(this prediction has none)'}",
            )
        self.journal.add(self.lab.name, "reason", found.id, reason=reason)
        return Explained(found, reason)

    def quiz(self, name: str, *, look: bool = False) -> list[QuizAnswer]:
        """Return the questions of a quiz with the newest answers.

        With `look` the cluster is asked about those that are answered and can be observed.
        """
        asked = [found for found in self.lab.predictions.values() if found.quiz == name]
        if not asked:
            raise UsageError(f"the lab {self.lab.name} has no quiz {name!r}")
        told = {found.id: foretold(self.lab, self.journal, found) for found in asked}
        answers = [QuizAnswer(p, found.chosen if (found := told[p.id]) else "") for p in asked]
        if not look:
            return answers
        return [
            replace(one, seen=tuple(looking.look(self.cluster, one.prediction)[0]))
            if one.chosen
            else one
            for one in answers
        ]

    def hint(self, exercise: str) -> Hint:
        """Give the next hint; after the last one, the last one again.

        A step that depends on the cluster's state looks at it; without a cluster (the exercise
        not begun, or none running) it gives its other text.
        """
        found = self.lab.exercise(exercise)
        if not found.hints:
            raise UsageError(f"the exercise {exercise} has no hints")
        taken = self._hints_taken(found)
        number = min(taken, len(found.hints) - 1)
        step = found.hints[number]
        text = step.text if not step.when or self._is_so(found, step) else step.otherwise
        self.journal.add(self.lab.name, "hint", found.id, step=number + 1)
        cost = found.hint_cost if taken < len(found.hints) else 0
        return Hint(number + 1, len(found.hints), text, cost)

    def _is_so(self, exercise: Exercise, step: HintStep) -> bool:
        if self.cluster is None or not setup.is_marked(self.cluster, exercise):
            return False
        return conditions.holds(self._context(exercise), step.when)

    def solution(self, exercise: str, *, force: bool = False) -> Solution:
        """Return a reference answer, after a first check, or with `force` once.

        From then on checks of the exercise add no points (`course.points`).
        """
        found = self.lab.exercise(exercise)
        if not found.solution:
            raise UsageError(f"the exercise {exercise} has no written solution")
        before = points.shown(self._noted("solution", found))
        if not (force or before or self._noted("check", found)):
            raise UsageError(
                "try it first: check your answer once, then look at the solution",
                hint="force=True shows it at once, on the command line --force",
            )
        self.journal.add(self.lab.name, "solution", found.id)
        most = points.limit(found, self._noted("", found))
        if before or most is None:
            return Solution(found.solution)
        return Solution(found.solution, points.said(self.lab, found, most, self.journal))

    def progress(self) -> LabProgress:
        """Count what the journal says about this lab."""
        return progress(self.lab, self.journal)

    def _tries(self, exercise: Exercise) -> int:
        """Return how often the exercise was checked since it was begun or reset."""
        events = self._noted("", exercise)
        resets = [number for number, event in enumerate(events) if event.kind == "reset"]
        since = events[resets[-1] :] if resets else events
        return sum(event.kind == "check" for event in since)

    def _not_begun(self, exercise: Exercise) -> Result | None:
        """Return what to say about an exercise whose set-up is not there or not complete."""
        if setup.is_marked(self.cluster, exercise):
            if not (line := self._others(self._attempt(exercise))):
                return None
        else:
            line = f"begin it first: its namespace {exercise.namespace} is not set up"
        finding = Finding("the set-up", Status.NOT_STARTED, (line,))
        return Result(exercise.id, exercise.title, exercise.wishes.points, (finding,))

    def _require_begun(self, prediction: Prediction) -> None:
        """Raise `UsageError` when what a prediction looks at has not been set up."""
        if not prediction.observe:
            return
        for exercise in self.lab.exercises.values():
            if exercise.namespace == prediction.namespace and not setup.is_marked(
                self.cluster, exercise
            ):
                raise UsageError(
                    f"the exercise {exercise.id} has not been begun",
                    hint=f'lab.begin("{exercise.id}") sets it up',
                )

    def typed(self, exercise: Exercise) -> dict[str, Typed]:
        """Return what was typed since the set-up: addresses of an earlier one mean nothing."""
        return typed.since_set_up(self._attempt(exercise))


def _withheld(result: Result) -> Result:
    """Return the result of a transfer's first check: what is missing, but not where."""
    line = "a transfer: an example of what is missing is shown from the second check on"
    findings = [
        finding
        if finding.status is Status.PASSED
        else replace(finding, lines=(line,), counterexample=None, flows=())
        for finding in result.findings
    ]
    return replace(result, findings=tuple(findings))


def _of_older_course(result: Result) -> Result:
    """Say of what does not pass that the set-up is not this course's: that may be the reason."""
    line = (
        "another version of the course set this exercise up, and this one grades it: begin it "
        "again, which saves what you did to a file and sets it up anew"
    )
    number = next(n for n, one in enumerate(result.findings) if one.status is not Status.PASSED)
    told = replace(result.findings[number], lines=(*result.findings[number].lines, line))
    return replace(
        result, findings=(*result.findings[:number], told, *result.findings[number + 1 :])
    )
