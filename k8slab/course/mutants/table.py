"""What came of all trials, as a table for people and as plain values."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.course.mutants.trials import IMPOSSIBLE, MUTANT, UNTOLD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.course.mutants.parallel import Report
    from k8slab.course.mutants.trials import Trial


COLUMNS = (
    "correct accepted",
    "wrong refused",
    "equivalent accepted",
    "untold",
    "alike",
    "impossible",
)


@dataclass
class Row:
    """One exercise: all of its trials."""

    exercise: str
    trials: list[Trial] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0
    alike: int = 0

    @property
    def right(self) -> list[Trial]:
        """Right answers as their author wrote them."""
        return [one for one in self.trials if one.wanted and not one.equivalent]

    @property
    def wrong(self) -> list[Trial]:
        """Everything that must be refused: the untouched start, wrong answers, mutants."""
        return [
            one for one in self.trials if not one.wanted and one.verdict not in (IMPOSSIBLE, UNTOLD)
        ]

    @property
    def equivalent(self) -> list[Trial]:
        """Mutants that are no mistake."""
        return [one for one in self.trials if one.equivalent and one.verdict != UNTOLD]

    @property
    def untold(self) -> list[Trial]:
        """Mutants that no packet tells from the answer."""
        return [one for one in self.trials if one.verdict == UNTOLD]

    @property
    def impossible(self) -> list[Trial]:
        """Mutants that the API refused, so that no grader sees them."""
        return [one for one in self.trials if one.sort == MUTANT and one.verdict == IMPOSSIBLE]

    @property
    def faults(self) -> list[Trial]:
        """Trials that did not end as they had to."""
        return [one for one in self.trials if not one.as_wanted]

    @property
    def fine(self) -> bool:
        """Say whether everything was judged as it had to be."""
        return not self.faults and not self.errors


def rows(reports: Iterable[Report]) -> list[Row]:
    """Put the parts of each exercise together, in order of their names."""
    found: dict[str, Row] = {}
    for report in reports:
        name = f"{report.lab}/{report.exercise}"
        row = found.setdefault(name, Row(name))
        row.trials += report.trials
        row.errors += [report.error] if report.error else []
        row.seconds += report.seconds
        row.alike += report.alike
    return [found[name] for name in sorted(found)]


def table(found: list[Row]) -> str:
    """Return the table, then what was judged wrongly, then the equivalent mutants."""
    width = max([len(row.exercise) for row in found] + [len("exercise")])
    head = f"{'exercise':<{width}}" + "".join(f"  {name}" for name in COLUMNS)
    lines = [head, *(_line(row, width) for row in found)]
    total = Row("all", [trial for row in found for trial in row.trials])
    total.alike = sum(row.alike for row in found)
    return "\n".join([*lines, _line(total, width), *_faults(found), *_equivalent(found)])


def _line(row: Row, width: int) -> str:
    shares = [_share(row.right), _share(row.wrong), _share(row.equivalent)]
    shares += [str(len(row.untold)), str(row.alike), str(len(row.impossible))]
    cells = (f"  {share:>{len(name)}}" for name, share in zip(COLUMNS, shares, strict=True))
    return f"{row.exercise:<{width}}" + "".join(cells)


def _share(trials: list[Trial]) -> str:
    return f"{sum(one.as_wanted for one in trials)}/{len(trials)}"


def _faults(found: list[Row]) -> Iterator[str]:
    for row in found:
        for error in row.errors:
            yield f"\n{row.exercise}: {error}"
        for name, times in Counter(one.name for one in row.faults).items():
            one = next(each for each in row.faults if each.name == name)
            what = "should be accepted" if one.wanted else "should be refused"
            yield f"\n{row.exercise}: {name}: {what}" + (f" ({times} times)" if times > 1 else "")
            yield "\n".join(f"    {line}" for line in one.text.splitlines())


def _equivalent(found: list[Row]) -> Iterator[str]:
    for row in found:
        for trials, told in (
            (row.equivalent, "equivalent, and so right answers too"),
            (row.untold, "neither right nor wrong"),
        ):
            yield from [f"\n{row.exercise}: {told}"] if trials else []
            for reason in dict.fromkeys(one.equivalent for one in trials):
                yield f"  because: {reason}"
                yield from (f"    {one.name}" for one in trials if one.equivalent == reason)


def plain(found: list[Row]) -> list[dict[str, Any]]:
    """Return everything as JSON values."""
    return [
        {
            "exercise": row.exercise,
            "fine": row.fine,
            "errors": row.errors,
            "alike": row.alike,
            "seconds": round(row.seconds, 2),
            "trials": [{**asdict(one), "as_wanted": one.as_wanted} for one in row.trials],
        }
        for row in found
    ]
