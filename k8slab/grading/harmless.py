"""Texts of strangers, made harmless before anybody is shown them.

What a learner typed, called an object or a file stands in a report beside what the grader says.
Without care it could be a line of its own ("zoe: 20 of 20 points"), an order to a terminal, or
a formula. So each such text is shown as one line, in which what would be obeyed is seen.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.grading.report import Grades, Score
    from k8slab.grading.result import Counterexample, Finding, Result

_OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What terminals obey (C0, DEL, C1), what ends lines or turns their direction (Unicode Annex 9,
table 1), and halves of characters, which no file can hold."""

_PICTURES = 0x2400
"""Where Unicode has pictures of the characters of C0."""

_FORMULA = ("=", "+", "-", "@")


def visible(text: str) -> str:
    """Return a text as one line in which everything is seen and nothing obeyed."""
    return _OBEYED.sub(_picture, text)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    return chr(_PICTURES + code) if code < 0x20 else "\N{REPLACEMENT CHARACTER}"


def lines(text: str) -> str:
    """Return a text of several lines of ours, each of them harmless."""
    return "\n".join(visible(line) for line in text.split("\n"))


def cell(text: str) -> str:
    """Return a text that no spreadsheet runs (OWASP, "CSV injection")."""
    seen = visible(text)
    return f"'{seen}" if seen.startswith(_FORMULA) else seen


def grades(found: Grades) -> Grades:
    """Return grades in which no text of the learner passes for more than a part of a line."""
    return replace(
        found,
        learner=visible(found.learner),
        source=visible(found.source),
        made=visible(found.made),
        error=lines(found.error),
        notes=_each(found.notes),
        scores=tuple(_score(score) for score in found.scores),
    )


def _score(score: Score) -> Score:
    return replace(
        score,
        result=_result(score.result),
        notes=_each(score.notes),
        stated=_each(score.stated),
    )


def _result(result: Result) -> Result:
    return replace(result, findings=tuple(_finding(one) for one in result.findings))


def _finding(finding: Finding) -> Finding:
    example = finding.counterexample
    flows = tuple(
        replace(one, flow=visible(one.flow), observed=visible(one.observed))
        for one in finding.flows
    )
    return replace(
        finding,
        check=visible(finding.check),
        lines=_each(finding.lines),
        counterexample=_counterexample(example) if example else None,
        flows=flows,
    )


def _counterexample(example: Counterexample) -> Counterexample:
    texts = ("what", "wanted", "seen", "replay", "predicted")
    return replace(
        example,
        why=_each(example.why),
        **{key: visible(getattr(example, key)) for key in texts},
    )


def _each(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(visible(text) for text in texts)
