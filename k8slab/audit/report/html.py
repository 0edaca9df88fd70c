"""A report as one HTML page: no script, no request, everything escaped.

Severity is a word and a mark besides its colour. The page has a table of contents, a table
of findings for each check, and what was suppressed by whom and until when.
"""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from k8slab.audit.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.audit.engine import Report
    from k8slab.audit.finding import Finding

MARKS = {Severity.ERROR: "✖", Severity.WARNING: "▲", Severity.NOTE: "ℹ"}  # noqa: RUF001

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
       color: #111827; background: #ffffff; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem;
         border-bottom: 1px solid #d1d5db; }
code, td.place { font-family: ui-monospace, monospace; font-size: 13px; overflow-wrap: anywhere; }
h2 { border-left: 6px solid; padding-left: .6rem; }
.error { border-color: #b91c1c; } .warning { border-color: #b45309; }
.note { border-color: #1d4ed8; }
@media (prefers-color-scheme: dark) {
  body { color: #e5e7eb; background: #111827; } th, td { border-color: #4b5563; }
  a { color: #93c5fd; } }
"""


def html(report: Report) -> str:
    """Return the page."""
    ordered = sorted(report.findings, key=lambda f: (f.severity.rank, f.check.name, f.order))
    groups = [
        (check, list(found))
        for check, found in groupby(ordered, key=lambda f: (f.severity, f.check))
    ]
    body = [
        f"<h1>{escape(report.title)}</h1>",
        f"<p>{escape(report.summary)}</p>",
        _contents(groups),
        *(_section(severity, found) for (severity, _), found in groups),
        _annotations(report),
        _suppressed(report),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style>"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>\n'
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _contents(groups: list) -> str:
    rows = (
        [
            f"{MARKS[severity]} {severity.value}",
            f'<a href="#{severity.value}-{check.name}">{escape(check.title)}</a>',
            str(len(found)),
        ]
        for (severity, check), found in groups
    )
    return _table(("severity", "check", "findings"), rows) if groups else ""


def _section(severity: Severity, found: list[Finding]) -> str:
    check = found[0].check
    rows = (
        [
            f'<td class="place">{escape(finding.place or "live")}</td>',
            f"<td>{escape(finding.subject)}</td>",
            f"<td><code>{escape(finding.field)}</code></td>",
            f"<td>{escape(finding.message)}{_remedy(finding)}</td>",
        ]
        for finding in found
    )
    lines = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    heads = "".join(f'<th scope="col">{h}</th>' for h in ("place", "object", "field", "finding"))
    return (
        f'<h2 class="{severity.value}" id="{severity.value}-{check.name}">'
        f"{MARKS[severity]} {escape(check.title)} "
        f"<small>({severity.value}, <code>{check.name}</code>)</small></h2>"
        f"<p>{escape(check.why)}</p><p><strong>Do:</strong> {escape(check.remedy)}</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
    )


def _remedy(finding: Finding) -> str:
    return f"<br><strong>{escape(finding.remedy)}</strong>" if finding.remedy else ""


def _annotations(report: Report) -> str:
    if not report.annotations:
        return ""
    rows = (
        [escape(e.subject), escape(e.key), escape(e.value or "(missing)"), escape(e.requirement)]
        for e in report.annotations
    )
    heads = ("policy", "annotation", "value", "asked for by")
    return "<h2>Annotations that are asked for</h2>" + _table(heads, rows)


def _suppressed(report: Report) -> str:
    if not report.suppressed:
        return ""
    rows = (
        [
            escape(finding.check.name),
            escape(finding.subject),
            escape(finding.message),
            escape(by.reason),
            by.until.isoformat(),
        ]
        for finding, by in report.suppressed
    )
    heads = ("check", "object", "finding", "reason", "until")
    return "<h2>Suppressed</h2>" + _table(heads, rows)


def _table(heads: Iterable[str], rows: Iterable[list[str]]) -> str:
    """Return a table; the cells are HTML already."""
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    lines = "".join(_row(row) for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def _row(cells: list[str]) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
