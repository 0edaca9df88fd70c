"""Grades as JUnit XML, which every CI server shows.

One ``testsuite`` for each learner and lab, one ``testcase`` for each exercise. A failed
exercise is a ``failure``, one where the grader did not work an ``error``, one that could not
be judged or was not begun ``skipped``. The form is that of Jenkins' xunit plugin
(``junit-10.xsd``), which is Surefire's and Ant's with what both allow.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from k8slab.grading import sums
from k8slab.grading.result import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.grading.report import Grades, Report, Score

_ELEMENT = {
    Status.FAILED: "failure",
    Status.ERROR: "error",
    Status.INCONCLUSIVE: "skipped",
    Status.NOT_STARTED: "skipped",
}
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold (section 2.2, Char)."""


def to_junit(report: Report) -> str:
    """Return the XML document."""
    root = ET.Element("testsuites", name="k8slab")
    for grades in report.learners:
        if grades.error:
            _broken(root, grades, report.made)
        for lab in grades.labs:
            _suite(root, grades, lab, report.made)
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(root: ET.Element, grades: Grades, lab: str, made: str) -> None:
    scores = grades.of(lab)
    suite = _element(
        root, "testsuite", name=_named(grades.learner, lab), timestamp=made.rstrip("Z")
    )
    _count(suite, [_ELEMENT.get(score.result.status, "") for score in scores])
    suite.set("time", f"{sum(score.seconds for score in scores):.3f}")
    properties = ET.SubElement(suite, "properties")
    results = [score.result for score in scores]
    parts = {"": sums.of, "core_": sums.core, "stretch_": sums.stretch}
    for prefix, counted in parts.items():
        for name, value in asdict(counted(results)).items():
            ET.SubElement(properties, "property", name=f"{prefix}{name}", value=f"{value:g}")
    for score in scores:
        _case(suite, grades, score)


def _case(suite: ET.Element, grades: Grades, score: Score) -> None:
    result = score.result
    case = _element(
        suite,
        "testcase",
        name=f"{result.exercise}: {result.title}",
        classname=_named(grades.learner, score.lab),
        time=f"{score.seconds:.3f}",
    )
    if element := _ELEMENT.get(result.status):
        found = _element(case, element, message=result.headline(), type=result.status.value)
        found.text = _legal(result.text())
    out = [f"points: {score.points:g} of {result.max_points:g}", *score.notes]
    out += [f"stated, not reproduced: {question}" for question in score.stated]
    if not score.agrees:
        out.append(f"claimed: {score.claimed:g}")
    _element(case, "system-out").text = _legal("\n".join(out))


def _broken(root: ET.Element, grades: Grades, made: str) -> None:
    suite = _element(root, "testsuite", name=grades.learner, timestamp=made.rstrip("Z"))
    _count(suite, ["error"])
    case = _element(suite, "testcase", name="the bundle", classname=grades.learner)
    _element(case, "error", message=grades.error.splitlines()[0], type="bundle")


def _count(suite: ET.Element, elements: Sequence[str]) -> None:
    suite.set("tests", str(len(elements)))
    for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(elements.count(element)))


def _named(learner: str, lab: str) -> str:
    return ".".join(part for part in ("k8slab", learner, lab) if part)


def _element(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, {key: _legal(value) for key, value in attributes.items()})


def _legal(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
