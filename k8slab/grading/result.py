"""What a check answers: a status, points, what to look at, how to see it oneself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from k8slab.errors import K8slabError


class Status(Enum):
    """How a check ended.

    `INCONCLUSIVE`: a control failed, so nothing can be said and nothing is given.
    `ERROR`: the grader itself did not work. `NOT_STARTED`: there is nothing to look at.
    """

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    NOT_STARTED = "not_started"

    @property
    def sign(self) -> str:
        """Return one character for tables."""
        return {"passed": "+", "failed": "x", "inconclusive": "?", "error": "!"}.get(
            self.value, "-"
        )


# The worst first: an exercise is as good as its worst check.
_ORDER = (
    Status.NOT_STARTED,
    Status.ERROR,
    Status.FAILED,
    Status.INCONCLUSIVE,
    Status.PASSED,
)


@dataclass(frozen=True, slots=True)
class Counterexample:
    """The one flow, field or answer that shows best what is missing."""

    what: str
    wanted: str
    seen: str
    why: tuple[str, ...] = ()
    """The walk through the policies, one sentence a line; empty where there is none."""
    replay: str = ""
    """A command for a shell that shows the same."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `lines` are for the learner."""

    check: str
    status: Status
    lines: tuple[str, ...] = ()
    counterexample: Counterexample | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an exercise: all its findings, and the points that they give."""

    exercise: str
    title: str
    max_points: float
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """Return the worst status of all findings; without any there was nothing to see."""
        found = {finding.status for finding in self.findings}
        return next((status for status in _ORDER if status in found), Status.NOT_STARTED)

    @property
    def passed(self) -> bool:
        """Say whether the exercise is solved."""
        return self.status is Status.PASSED

    @property
    def points(self) -> float:
        """Return the points: all of them when solved, none otherwise."""
        return self.max_points if self.passed else 0

    @property
    def counterexample(self) -> Counterexample | None:
        """Return the counterexample of the first finding that is not passed."""
        first = next((f for f in self.findings if f.status is self.status), None)
        return first.counterexample if first and not self.passed else None

    def text(self) -> str:
        """Return the result for a terminal."""
        lines = [f"{self.status.sign} {self.exercise}: {self.headline()}"]
        for finding in self.findings:
            lines += [f"  {finding.status.sign} {finding.check}"]
            lines += [f"      {line}" for line in finding.lines]
        if seen := self.counterexample:
            lines += [f"  for example: {seen.what}: wanted {seen.wanted}, seen {seen.seen}"]
            lines += [f"      {line}" for line in seen.why]
            lines += [f"  see it yourself: {seen.replay}"] if seen.replay else []
        return "\n".join(lines)

    def headline(self) -> str:
        """Return one sentence: what came of it."""
        match self.status:
            case Status.PASSED:
                return f"solved, {self.points:g} of {self.max_points:g} points"
            case Status.FAILED:
                return "not yet"
            case Status.INCONCLUSIVE:
                return "cannot be judged now, so no points are given or lost"
            case Status.ERROR:
                return "the check itself did not work; this is not your answer's fault"
        return "not started yet"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        found: dict[str, Any] = {
            "exercise": self.exercise,
            "title": self.title,
            "status": self.status.value,
            "points": self.points,
            "max_points": self.max_points,
        }
        found["checks"] = [asdict(f) | {"status": f.status.value} for f in self.findings]
        return found


class NotSolvedError(K8slabError):
    """An exercise that had to be solved is not (``check(..., raise_on_fail=True)``)."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.text())
        self.result = result
