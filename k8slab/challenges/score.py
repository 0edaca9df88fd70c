"""What a challenge is worth: mended, diagnosed, and nothing else broken.

    4  the symptom is gone
    5  the root cause: its object 2, its field 2 (1 where the hop is asked, too, which gives 1),
       evidence 1; the first wrong guess is free, each further one costs 1
    1  nothing else was broken on the way, counted once the symptom is gone

So whoever sets everything up anew without a diagnosis gets half, and whoever deletes all policies
never gets everything.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from k8slab.grading import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.challenges.diagnosis import Verdict
    from k8slab.grading import Finding, Result

MENDED, OBJECT, FIELD, EVIDENCE, INTACT = 4, 2, 2, 1, 1
CAUSE = OBJECT + FIELD + EVIDENCE
TOTAL = MENDED + CAUSE + INTACT
FREE_GUESSES = 1


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What came of one diagnosis; `points` are those of the cause after it, all guesses counted."""

    right: bool
    counted: bool
    """Whether a wrong one cost a point."""
    points: int
    lines: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it for a terminal."""
        head = "right" if self.right else "wrong"
        cost = ", which costs a point" if self.counted else ""
        return "\n".join([f"{'+' if self.right else 'x'} {head}{cost}", *self.lines])

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The state of a challenge, in points."""

    seed: int
    mended: Result
    intact: tuple[Finding, ...]
    """What was looked at besides; empty until the symptom is gone."""
    cause: int
    shown: bool = False
    """The answer was shown: nothing counts any more."""
    late: bool = False
    """The time is over: what counts was reached before."""
    before: int = 0
    """The most points of an earlier check in time."""
    origin: str = ""
    """What the challenge was drawn from, and how often its seed was begun."""

    @property
    def fixed(self) -> bool:
        """Say whether the symptom is gone."""
        return self.mended.passed

    @property
    def unbroken(self) -> bool:
        """Say whether nothing else was broken."""
        return self.fixed and all(one.status is Status.PASSED for one in self.intact)

    @property
    def points(self) -> int:
        """Return the points."""
        if self.shown:
            return 0
        if self.late:
            return self.before
        return MENDED * self.fixed + self.cause + INTACT * self.unbroken

    @property
    def max_points(self) -> int:
        """Return what a challenge gives at most."""
        return TOTAL

    @property
    def solved(self) -> bool:
        """Say whether nothing is left to do."""
        return self.points == TOTAL

    def text(self) -> str:
        """Return the score for a terminal: parts, and what is missing."""
        origin = f" ({self.origin})" if self.origin else ""
        lines = [f"challenge {self.seed}{origin}: {self.points} of {TOTAL} points"]
        if self.shown:
            lines.append("  the answer was shown, so it gives no points any more")
        if self.late:
            lines.append("  the time is over: what counts was checked before")
        lines.append(_line(self.fixed, "the symptom is gone", MENDED * self.fixed, MENDED))
        lines += [f"      {line}" for line in _told(self.mended.findings) if not self.fixed]
        lines.append(_line(self.cause == CAUSE, "the root cause is named", self.cause, CAUSE))
        found = INTACT * self.unbroken
        lines.append(_line(self.unbroken, "nothing else is broken", found, INTACT))
        if not self.fixed:
            lines.append("      looked at when the symptom is gone")
        lines += [f"      {line}" for line in _told(self.intact)]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the score as plain values."""
        return {
            "seed": self.seed,
            "origin": self.origin,
            "points": self.points,
            "max_points": TOTAL,
            "fixed": self.fixed,
            "cause": self.cause,
            "intact": self.unbroken,
            "shown": self.shown,
            "late": self.late,
            "checks": [one.to_dict() for one in (*self.mended.findings, *self.intact)],
        }


def _told(findings: Sequence[Finding]) -> list[str]:
    """Return what is not as it should be, and one example of it."""
    bad = [one for one in findings if one.status is not Status.PASSED]
    lines = [line for one in bad for line in one.lines]
    if seen := next((one.counterexample for one in bad if one.counterexample), None):
        lines.append(f"for example {seen.what}: {seen.told()}")
        lines += [f"see it yourself: {seen.replay}"] if seen.replay else []
    return lines


def _line(good: bool, what: str, points: int, most: int) -> str:  # noqa: FBT001
    return f"  {'+' if good else '-'} {what}: {points} of {most}"


def cause_points(
    verdicts: Sequence[Verdict], hops: Sequence[bool], *, asks_hop: bool, wrong_before: int = 0
) -> int:
    """Return the points for the cause: of the best diagnosis, less what wrong guesses cost.

    `wrong_before` are guesses at the same challenge before it was begun anew.
    """
    field = FIELD - asks_hop
    best = max(
        (OBJECT * one.object + field * one.field + EVIDENCE * (one.evidence and one.right)
         for one in verdicts),
        default=0,
    )  # fmt: skip
    wrong = wrong_before + sum(not one.right for one in verdicts) + sum(not one for one in hops)
    best += asks_hop and any(hops)
    return max(0, best - max(0, wrong - FREE_GUESSES))
