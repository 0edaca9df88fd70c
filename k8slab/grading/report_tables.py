"""Grades in the forms of two course systems: nbgrader's CSV and Gradescope's JSON.

`to_csv` has the columns of ``nbgrader export`` (its `CsvExportPlugin`), a line for each
learner and lab, so that what takes nbgrader's grades takes these.

`to_gradescope` is the ``results.json`` of a Gradescope autograder, which Otter-Grader writes
too (Gradescope, "Autograder specifications", output format). It is made here and put there:
the sandboxes of such systems cannot be assumed to allow namespaces.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from k8slab.grading.harmless import cell
from k8slab.grading.result import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from k8slab.grading.report import Grades, Report, Score

COLUMNS = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
    "raw_score", "late_submission_penalty", "score", "max_score",
)  # fmt: skip
"""The columns of ``nbgrader export``, in its order."""


def to_csv(report: Report) -> str:
    """Return the grades as nbgrader exports them; what cannot be known here is empty.

    What goes beyond a lab's core is an assignment of its own, LAB-stretch, as it is a notebook of
    its own: a mark can be made of the core, and the sum of both is there. A learner whose bundle
    could not be read has a line with 0 points for no assignment, so that nobody is missing. Where
    the grader could not judge (`Grades.complete`) the points are left empty: 0 would be a
    verdict. Texts that a spreadsheet would take for a formula are quoted.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for grades in report.learners:
        writer.writerows(_rows(grades))
    return out.getvalue()


def _rows(grades: Grades) -> Iterator[dict[str, str | float]]:
    for lab in grades.labs:
        for name, beyond in ((lab, False), (f"{lab}-stretch", True)):
            if scores := [one for one in grades.of(lab) if one.result.stretch is beyond]:
                yield _row(grades, name, scores)
    if not grades.labs:
        yield _row(grades, "", [])


def _row(grades: Grades, assignment: str, scores: Sequence[Score]) -> dict[str, str | float]:
    judged = not (grades.unfinished or any(score.undecided for score in scores))
    points = float(sum(score.points for score in scores)) if judged else ""
    return {
        "assignment": cell(assignment),
        "timestamp": cell(grades.made.replace("T", " ").rstrip("Z")),
        "student_id": cell(grades.learner),
        "raw_score": points,
        "late_submission_penalty": 0.0,
        "score": points,
        "max_score": float(sum(score.result.max_points for score in scores)),
    }


def to_gradescope(grades: Grades) -> dict[str, Any]:
    """Return one learner's ``results.json``; the score is all points, stretch tests are tagged."""
    found: dict[str, Any] = {
        "score": grades.points,
        "execution_time": round(sum(score.seconds for score in grades.scores)),
        "output_format": "text",
        "visibility": "visible",
        "tests": [_test(score) for score in grades.scores],
    }
    told = [*([grades.error] if grades.error else []), *grades.notes]
    if not grades.complete:
        told.append("The grading is not complete: this score is not final.")
    if told:
        found["output"] = "\n".join(told)
    return found


def _test(score: Score) -> dict[str, Any]:
    result = score.result
    stated = [f"stated, not reproduced: {question}" for question in score.stated]
    found = {
        "name": f"{result.exercise}: {result.title}",
        "number": score.name,
        "score": score.points,
        "max_score": result.max_points,
        "tags": ["stretch" if result.stretch else "core"],
        "output": "\n".join([result.text(), *score.notes, *stated]),
    }
    if not score.undecided:  # else neither of the two words that Gradescope knows is true
        found["status"] = "passed" if result.status is Status.PASSED else "failed"
    return found
