"""Grades of several learners as one value, and as text and JSON.

The other forms have modules of their own: `report_junit`, `report_tables` (nbgrader's CSV,
Gradescope's JSON). The JSON has a schema, published as ``book/schemas/grades.schema.json``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k8slab.grading import harmless, sums
from k8slab.grading.result import Result, Status
from k8slab.grading.schemas import described
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Score:
    """One exercise of one learner, graded."""

    lab: str
    result: Result
    claimed: float | None = None
    """The points that the learner's own journal says; ``None`` where nobody claimed any."""
    notes: tuple[str, ...] = ()
    """What whoever reads the grades should know: what the cluster refused, and so on."""
    stated: tuple[str, ...] = ()
    """Typed answers that were translated to this cluster: stated by the learner, not shown."""
    seconds: float = 0.0

    @property
    def points(self) -> float:
        """Return the points that the replay gave."""
        return self.result.points

    @property
    def undecided(self) -> bool:
        """Say whether the grader could not judge: 0 points, and no verdict on the answer."""
        return self.result.status in (Status.ERROR, Status.INCONCLUSIVE)

    @property
    def agrees(self) -> bool:
        """Say whether the learner's claim is what the replay gave; true where there is none."""
        return self.claimed is None or abs(self.claimed - self.points) < 1e-9

    @property
    def name(self) -> str:
        """Return ``LAB/EXERCISE``."""
        return f"{self.lab}/{self.result.exercise}" if self.lab else self.result.exercise


@dataclass(frozen=True, slots=True)
class Grades:
    """Everything about one learner; `error` says why nothing could be graded."""

    learner: str
    source: str = ""
    made: str = ""
    """When the answers were handed in (RFC 3339); empty when unknown."""
    scores: tuple[Score, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()
    """What whoever reads the grades should know about the whole."""
    unfinished: bool = False
    """Whether `error` is the grader's: the bundle may be in order, and nothing is known."""

    @property
    def undecided(self) -> list[Score]:
        """Return the exercises that the grader could not judge."""
        return [score for score in self.scores if score.undecided]

    @property
    def complete(self) -> bool:
        """Say whether the grader did its part: everything was judged, or could not be read."""
        return not (self.unfinished or self.undecided)

    @property
    def points(self) -> float:
        """Return the points in all."""
        return sum(score.points for score in self.scores)

    @property
    def max_points(self) -> float:
        """Return the points that there were to get."""
        return sum(score.result.max_points for score in self.scores)

    @property
    def labs(self) -> list[str]:
        """Return the labs, in order."""
        return list(dict.fromkeys(score.lab for score in self.scores))

    @property
    def results(self) -> list[Result]:
        """Return the results of all exercises."""
        return [score.result for score in self.scores]

    @property
    def percent(self) -> float:
        """Return the points of the core in percent; of what was asked where no core is in it."""
        core = sums.core(self.results)
        return (core if core.max_points else sums.of(self.results)).percent

    def of(self, lab: str) -> list[Score]:
        """Return the scores of one lab."""
        return [score for score in self.scores if score.lab == lab]


@dataclass(frozen=True, slots=True)
class Report:
    """The grades of all learners of one run."""

    learners: tuple[Grades, ...]
    made: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

    @property
    def broken(self) -> list[Grades]:
        """Return those that could not be graded."""
        return [grades for grades in self.learners if grades.error]

    @property
    def incomplete(self) -> list[Grades]:
        """Return those about whom the grader has something to say yet."""
        return [grades for grades in self.learners if not grades.complete]


def handed_in(learners: Iterable[Grades]) -> Report:
    """Return the report of what learners handed in: no text of theirs is obeyed by a reader."""
    return Report(tuple(harmless.grades(one) for one in learners))


def checked(results: Iterable[Result], *, lab: str) -> Report:
    """Return the report of a learner's own check: nothing is claimed and nothing replayed."""
    scores = (Score(lab, one, notes=(one.note,) if one.note else ()) for one in results)
    return Report((Grades("", scores=tuple(scores)),))


def text(report: Report) -> str:
    """Return the grades for a terminal: a table for each learner, then the sums."""
    parts = ["\n".join(_learner(grades)) for grades in report.learners]
    if len(report.learners) > 1:
        parts.append("\n".join(_sums(report.learners)))
    if report.incomplete:
        parts.append("\n".join(_incomplete(report.incomplete)))
    return "\n\n".join(parts)


def _learner(grades: Grades) -> list[str]:
    if grades.error:
        return [f"{grades.learner}: not graded", *_indented(grades.error.splitlines())]
    head = f"{grades.learner}: {sums.told(grades.results, ' points')}"
    lines = [head, *_indented(grades.notes)]
    for score in grades.scores:
        result = score.result
        claim = "" if score.agrees else f", claimed {score.claimed:g}"
        lines.append(
            f"  {result.status.sign} {score.name}: {score.points:g} of {result.max_points:g}{claim}"
        )
        if result.status is not Status.PASSED:
            lines += _indented(_reason(result), 6)
        if score.stated:
            lines += _indented([f"stated, not reproduced: {', '.join(score.stated)}"], 6)
        lines += _indented(score.notes, 6)
    return lines


def _incomplete(learners: Sequence[Grades]) -> list[str]:
    """Say who has no verdict, and about what; this is no fault of an answer."""
    return [
        "THE GRADING IS NOT COMPLETE: the grader itself could not judge",
        *_indented(f"{one.learner}: {_unjudged(one)}" for one in learners),
        "  these have no points yet: grade these bundles again, with fewer --workers",
    ]


def _unjudged(grades: Grades) -> str:
    if grades.unfinished:
        return "everything"
    return ", ".join(f"{one.name} ({one.result.status.value})" for one in grades.undecided)


def _reason(result: Result) -> list[str]:
    """Return what is missing, in a line or two."""
    found = next((one for one in result.findings if one.status is result.status), None)
    if found is None:
        return [result.headline()]
    lines = [f"{found.check}: {'; '.join(found.lines) or result.headline()}"]
    if seen := result.counterexample:
        lines.append(f"for example: {seen.what}: wanted {seen.wanted}, seen {seen.seen}")
    return lines


def _sums(learners: Sequence[Grades]) -> list[str]:
    width = max(len(grades.learner) for grades in learners)
    return [
        f"{grades.learner:<{width}}  "
        + ("not graded" if grades.error else sums.told(grades.results))
        for grades in learners
    ]


def _indented(lines: Iterable[str], by: int = 2) -> list[str]:
    return [" " * by + line for line in lines]


def to_json(report: Report) -> dict[str, Any]:
    """Return the grades as plain JSON values, as `SCHEMA` describes them."""
    return {
        "version": 1,
        "made": report.made,
        "k8slab": __version__,
        "complete": not report.incomplete,
        "learners": [_learner_json(grades) for grades in report.learners],
    }


def _learner_json(grades: Grades) -> dict[str, Any]:
    return {
        "learner": grades.learner,
        "source": grades.source,
        "handed_in": grades.made,
        "points": grades.points,
        "max_points": grades.max_points,
        "core": asdict(sums.core(grades.results)),
        "stretch": asdict(sums.stretch(grades.results)),
        "error": grades.error,
        "complete": grades.complete,
        "notes": [*grades.notes],
        "exercises": [_score_json(score) for score in grades.scores],
    }


def _score_json(score: Score) -> dict[str, Any]:
    return {
        "lab": score.lab,
        **score.result.to_dict(),
        "claimed": score.claimed,
        "agrees": score.agrees,
        "stated": [*score.stated],
        "notes": [*score.notes],
        "seconds": round(score.seconds, 3),
    }


_TEXT = {"type": "string"}
_POINTS = {"type": "number", "minimum": 0}
_STATUS = {"enum": [status.value for status in Status]}


_CHECK = described({"check": _TEXT, "status": _STATUS, "lines": {"type": "array", "items": _TEXT}})
_SCORE = described(
    {
        "lab": _TEXT,
        "exercise": _TEXT,
        "title": _TEXT,
        "stretch": {"type": "boolean", "description": "Whether it goes beyond the core."},
        "status": _STATUS,
        "points": _POINTS,
        "max_points": _POINTS,
        "checks": {"type": "array", "items": _CHECK},
        "claimed": {
            "type": ["number", "null"],
            "description": "The points that the learner's own journal says; null without a claim.",
        },
        "agrees": {"type": "boolean", "description": "Whether the claim is what the replay gave."},
        "stated": {
            "type": "array",
            "items": _TEXT,
            "description": "Questions whose typed answers were translated to the grader's cluster.",
        },
        "notes": {"type": "array", "items": _TEXT},
        "seconds": _POINTS,
    },
    later={"note": {"type": "string", "description": "Why a check gives fewer points, if so."}},
)
_SUM = described({"points": _POINTS, "max_points": _POINTS})
_LEARNER = described(
    {
        "learner": _TEXT,
        "source": {"type": "string", "description": "The bundle's file name."},
        "handed_in": {"type": "string", "description": "When, as the bundle says; RFC 3339."},
        "points": _POINTS,
        "max_points": _POINTS,
        "core": {**_SUM, "description": "Of these, what everybody does: --require is about it."},
        "stretch": {**_SUM, "description": "Of these, what goes beyond the core."},
        "error": {"type": "string", "description": "Why nothing was graded; else empty."},
        "complete": {
            "type": "boolean",
            "description": "False when the grader could not judge something (error, inconclusive), "
            "so that the points are not the learner's yet.",
        },
        "notes": {"type": "array", "items": _TEXT},
        "exercises": {"type": "array", "items": _SCORE},
    }
)
SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$id": "urn:k8slab:grades:1",
    "title": "What k8slab grade --json prints, version 1",
    **described(
        {
            "version": {"const": 1},
            "made": {"type": "string", "description": "When, RFC 3339 in UTC."},
            "k8slab": {"type": "string", "description": "The version that graded."},
            "complete": {"type": "boolean", "description": "Whether everybody's grades are."},
            "learners": {"type": "array", "items": _LEARNER},
        }
    ),
}
