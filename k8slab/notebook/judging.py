"""What policies mean and did, for a notebook: verdicts, the flow log of denials, audits."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from k8slab import audit, policy
from k8slab.audit import estates
from k8slab.audit import rulefile as rulefiles
from k8slab.audit.report import text as audit_text
from k8slab.errors import UsageError
from k8slab.graphs import html_table
from k8slab.notebook.views import View, box, wrapped
from k8slab.objects import manifests

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from k8slab.objects.meta import Object
    from k8slab.policy import Flow

DENIALS = "/apis/lab.k8slab.dev/v1/denials"
MOST_DENIALS = 12
"""Rows of the flow log that are shown: the newest."""

MOST_EACH = 5
"""Findings of one kind that are shown; of more the first, and how many more there are."""


class Judged(View):
    """A verdict of the policy engine; `allowed` says which."""

    def __init__(self, text: str, html: str, *, allowed: bool) -> None:
        super().__init__(text, html)
        self.allowed = allowed


class Audited(View):
    """What an audit found; `report` has the values."""

    def __init__(self, text: str, html: str, report: audit.Report) -> None:
        super().__init__(text, html)
        self.report = report

    def count(self, check: str) -> int:
        """Return how often a check struck."""
        return len(self._found(check))

    def names(self, check: str) -> str:
        """Return where a check struck, comma-separated."""
        return ", ".join(found.subject.partition(" ")[2] for found in self._found(check))

    def _found(self, check: str) -> list[audit.Finding]:
        _known([check])
        return [found for found in self.report.findings if found.check.name == check]


def decide(objects: Iterable[Object], flow: Flow, also: Iterable[Any] = ()) -> Judged:
    """Say what policies decide about a flow, and why; `also` are further objects, as if applied."""
    estate = policy.compile(objects)
    if added := list(also):
        estate = estate.replace(*added)
    verdict = estate.decide(flow)
    lines = [line for reason in verdict.reasons for line in reason.lines()]
    head = f"{verdict.action.value}: {flow}"
    return Judged("\n".join([head, *lines]), box(head, [wrapped(lines)]), allowed=verdict.allowed)


def read(text: str, namespace: str) -> list[Object]:
    """Read policies from a text, in a namespace where they name none."""
    found = manifests.load(text, "cell") if text else []
    return [
        {**obj, "metadata": {"namespace": namespace, **obj.get("metadata", {})}} for obj in found
    ]


def denials(cluster: Any, namespaces: Collection[str]) -> View:
    """Show the newest denials that concern pods of some namespaces."""
    if "denials" not in cluster.capabilities:
        raise UsageError("this cluster reports no denials", hint="the embedded cluster does")
    found = cluster.request("GET", f"{DENIALS}?since=0")["items"]
    here = [one for one in found if (one.get("pod") or {}).get("namespace") in namespaces]
    rows = list(_counted(here))[-MOST_DENIALS:]
    head = ["direction", "pod", "from", "to", "protocol", "packets"]
    if not rows:
        text = f"no packet was denied in {', '.join(namespaces)}"
        return View(text, f"<p>{text}</p>")
    lines = ["  ".join(str(cell) for cell in row) for row in [head, *rows]]
    return View("\n".join(lines), html_table(head, rows, "The flow log: what policies denied"))


def _counted(found: Iterable[dict[str, Any]]) -> Iterable[list[str]]:
    """Join the denials of one pod, direction and peer: a client tries from ever new ports."""
    counts: dict[tuple[str, ...], int] = {}
    for one in found:
        pod = one["pod"]
        port = f":{one['destinationPort']}" if one.get("destinationPort") else ""
        key = (
            one["direction"],
            f"{pod['namespace']}/{pod['name']}",
            one["source"],
            f"{one['destination']}{port}",
            one["protocol"],
        )
        counts[key] = counts.pop(key, 0) + 1
    return ([*key, str(number)] for key, number in counts.items())


def audited(
    objects: Iterable[Object], checks: Sequence[str], rules: str, namespaces: Collection[str]
) -> Audited:
    """Audit objects and show the findings: of all checks or some, of all namespaces or some."""
    _known(checks)
    report = audit.audit(objects, rulefiles.load(rules) if rules else None)
    report = report.within(namespaces) if namespaces else report
    lines, rows, parts = [report.summary], [], []
    for name, check in audit.CHECKS.items():
        found = [one for one in report.findings if one.check.name == name]
        if not found or (checks and name not in checks):
            continue
        head = f"{check.severity.value}: {check.title} [{name}] ({len(found)})"
        shown = [f"{' '.join(filter(None, (f.subject, f.field)))}: {f.message}" for f in found]
        if len(shown) > MOST_EACH and not checks:
            more = f'and {len(shown) - MOST_EACH} more: lab.audit("{name}", ...)'
            shown = [*shown[:MOST_EACH], more]
        lines += [head, *(f"  {line}" for line in shown)]
        parts.append(_folded(head, [*shown, f"why: {check.why}", f"do: {check.remedy}"]))
        rows.append([check.severity.value, name, str(len(found)), check.title])
    if report.annotations:
        asked = [line.strip() for line in audit_text.asked_annotations(report)]
        lines += ["annotations that are asked for:", *(f"  {line}" for line in asked)]
        parts.append(_folded("annotations that are asked for", asked))
    table = html_table(["severity", "check", "findings", "what"], rows, report.summary)
    return Audited("\n".join(lines), table + "".join(parts), report)


def _folded(head: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>{escape(head)}</summary><ul>{items}</ul></details>"


def _known(checks: Iterable[str]) -> None:
    if unknown := set(checks) - set(audit.CHECKS):
        hint = f"there are: {', '.join(audit.CHECKS)}"
        raise UsageError(f"the audit has no check {min(unknown)!r}", hint=hint)


def estate(pods: int, policies: int, namespaces: int, seed: int) -> list[Object]:
    """Make a large estate from a seed: namespaces, workloads, pods, Services, policies."""
    return estates.realistic(estates.Size(pods, policies, namespaces), seed)
