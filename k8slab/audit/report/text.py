"""A report for people at a terminal, and as plain values for programs."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.audit.engine import Report
    from k8slab.audit.finding import Finding


def text(report: Report) -> str:
    """Return the findings by check, the worst first, with the remedy once for each check."""
    lines = [report.title, ""]
    ordered = sorted(report.findings, key=lambda f: (f.severity.rank, f.check.name, f.order))
    for (severity, check), found in groupby(ordered, key=lambda f: (f.severity, f.check)):
        group = list(found)
        lines.append(f"{severity.value}: {check.title} [{check.name}] ({len(group)})")
        lines += [f"  {line}" for finding in group for line in _lines(finding)]
        lines += [f"  why: {check.why}", f"  do:  {check.remedy}", ""]
    if report.annotations:
        lines += ["annotations that are asked for:", *asked_annotations(report), ""]
    for finding, suppression in report.suppressed:
        until = f"until {suppression.until}: {suppression.reason}"
        lines.append(f"suppressed {until}: {finding.subject} [{finding.check.name}]")
    return "\n".join([*lines, report.summary])


def asked_annotations(report: Report) -> Iterator[str]:
    """Yield for each policy what the rule file asks for and what is written there."""
    for entry in report.annotations:
        yield f"  {entry.subject}: {entry.key} = {entry.value or '(missing)'}  {entry.requirement}"


def _lines(finding: Finding) -> Iterator[str]:
    place = f"{finding.place}: " if finding.place else ""
    field = f" {finding.field}" if finding.field else ""
    yield f"{place}{finding.subject}{field}: {finding.message}"
    if finding.remedy:
        yield f"    {finding.remedy}"


def compiler_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield findings as compilers print them: ``FILE:LINE: severity: message [check]``."""
    for finding in findings:
        where = f"{finding.subject} {finding.field}".strip()
        place = finding.place or "-"
        head = f"{place}: {finding.severity.value}: {where}: {finding.message}"
        yield f"{head} [{finding.check.name}]"


def to_json(report: Report) -> dict[str, Any]:
    """Return the whole report as plain values."""
    return {
        "title": report.title,
        "summary": report.summary,
        "counted": dict(report.counted),
        "findings": [finding.to_json() for finding in report.findings],
        "suppressed": [
            {**finding.to_json(), "reason": by.reason, "until": by.until.isoformat()}
            for finding, by in report.suppressed
        ],
        "annotations": [
            {
                "subject": entry.subject,
                "key": entry.key,
                "requirement": entry.requirement,
                "value": entry.value or None,
            }
            for entry in report.annotations
        ],
    }
