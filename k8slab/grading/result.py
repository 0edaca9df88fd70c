"""What a check answers: a status, points, what to look at, how to see it oneself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from k8slab.errors import K8slabError

if TYPE_CHECKING:
    from collections.abc import Mapping


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


class Blame(Enum):
    """Whose matter it is that a flow is not as wanted.

    `ANSWER`: policies and kernel agree, the answer is to change. `NOT_READY`: something has
    not started, or does not listen. `NOT_ENFORCED`: nothing blocks on that node. `BUG`: policies
    and kernel disagree although all controls are fine, which is ours to mend.
    """

    ANSWER = "answer"
    NOT_READY = "not-ready"
    NOT_ENFORCED = "not-enforced"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class FlowResult:
    """One flow three times: as wanted, as the policies predict it, as it was observed."""

    flow: str
    wanted: str
    predicted: str = ""
    """``allow`` or ``deny``; empty where policies do not decide (a name, the world outside)."""
    observed: str = ""
    blame: Blame | None = None
    """``None`` when all three agree."""


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
    predicted: str = ""
    """What the policies say about a flow; empty where they say nothing."""

    @property
    def says(self) -> str:
        """Say in words what the policies say; empty where they say nothing."""
        return f", the policies say {self.predicted}" if self.predicted else ""

    def told(self) -> str:
        """Say in one line what was wanted, what the policies say, and what was seen."""
        return f"wanted {self.wanted}{self.says}, seen {self.seen}"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `lines` are for the learner."""

    check: str
    status: Status
    lines: tuple[str, ...] = ()
    counterexample: Counterexample | None = None
    flows: tuple[FlowResult, ...] = ()
    """Every flow that was judged here; those of pods that learners do not see stand together."""
    blame: Blame | None = None
    group: str = ""
    """The group of the exercise's `credit` that it belongs to."""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        found = asdict(self) | {"status": self.status.value, "blame": _word(self.blame)}
        found["flows"] = [asdict(one) | {"blame": _word(one.blame)} for one in self.flows]
        return found


def _word(blame: Blame | None) -> str:
    return blame.value if blame else ""


STRETCH = "Stretch:"
"""So begin the titles of exercises beyond the core."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an exercise: all its findings, and the points that they give."""

    exercise: str
    title: str
    max_points: float
    findings: tuple[Finding, ...]
    credit: Mapping[str, float] = field(default_factory=dict)
    """Points of each group; without any it is all or nothing."""
    given: frozenset[str] = frozenset()
    """Groups that the start of the exercise fulfils already: alone they give nothing."""
    cost: float = 0
    """What hints have cost."""
    limit: float | None = None
    """The most that it can give; ``None`` without a limit."""
    note: str = ""
    """What is to be said about its points."""

    @property
    def status(self) -> Status:
        """Return the worst status of all findings; without any there was nothing to see."""
        found = {finding.status for finding in self.findings}
        return next((status for status in _ORDER if status in found), Status.NOT_STARTED)

    @property
    def stretch(self) -> bool:
        """Say whether the exercise goes beyond the core."""
        return self.title.startswith(STRETCH)

    @property
    def passed(self) -> bool:
        """Say whether the exercise is solved."""
        return self.status is Status.PASSED

    @property
    def groups(self) -> dict[str, bool]:
        """Say of each group that gives points whether all of it is passed.

        What belongs to no group concerns all of them: as long as it is broken, none passes.
        """
        if any(f.status is not Status.PASSED for f in self.findings if not f.group):
            return dict.fromkeys(self.credit, False)
        return {
            name: any(f.group == name for f in self.findings)
            and all(f.status is Status.PASSED for f in self.findings if f.group == name)
            for name in self.credit
        }

    @property
    def points(self) -> float:
        """Return the points: all of them when solved, else those of the groups that are."""
        points = max(0, self._earned - self.cost)
        return points if self.limit is None else min(points, self.limit)

    @property
    def _earned(self) -> float:
        if self.passed:
            return self.max_points
        done = {name for name, passed in self.groups.items() if passed}
        return sum(self.credit[name] for name in done) if done - self.given else 0

    @property
    def counterexample(self) -> Counterexample | None:
        """Return the counterexample of the first finding that is not passed."""
        first = next((f for f in self.findings if f.status is self.status), None)
        return first.counterexample if first and not self.passed else None

    def text(self) -> str:
        """Return the result for a terminal."""
        lines = [f"{self.status.sign} {self.exercise}: {self.headline()}"]
        lines += [f"  {self.note}"] if self.note else []
        for finding in self.findings:
            lines += [f"  {finding.status.sign} {finding.check}"]
            lines += [f"      {line}" for line in finding.lines]
        if seen := self.counterexample:
            lines += [f"  for example: {seen.what}: {seen.told()}"]
            lines += [f"      {line}" for line in seen.why]
            lines += [f"  see it yourself: {seen.replay}"] if seen.replay else []
        return "\n".join(lines)

    def headline(self) -> str:
        """Return one sentence: what came of it."""
        less = (
            f" ({self.cost:g} for hints)"
            if self.cost and self._earned and self.limit is None
            else ""
        )
        match self.status:
            case Status.PASSED:
                return f"solved, {self.points:g} of {self.max_points:g} points{less}"
            case Status.FAILED if self.points:
                return f"in part, {self.points:g} of {self.max_points:g} points{less}"
            case Status.FAILED:
                return "not yet"
            case Status.INCONCLUSIVE:
                return "cannot be judged now, so no points are given or lost"
            case Status.ERROR:
                return "the check itself did not work; this is not your answer's fault"
        return "not started yet"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "exercise": self.exercise,
            "title": self.title,
            "stretch": self.stretch,
            "status": self.status.value,
            "points": self.points,
            "max_points": self.max_points,
            "note": self.note,
            "groups": {
                name: {"points": self.credit[name], "passed": passed}
                for name, passed in self.groups.items()
            },
            "checks": [finding.to_dict() for finding in self.findings],
        }


class NotSolvedError(K8slabError):
    """An exercise that had to be solved is not (``check(..., raise_on_fail=True)``)."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.text())
        self.result = result
