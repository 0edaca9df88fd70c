"""Wanted flows: observed until they are stable, compared, and counted only with controls.

The three of a flow (`judged`) are one row. The rows of a group are one finding. A row that is
not as wanted, or where policies and kernel disagree, is blamed on somebody; one that is blocked
as wanted counts only when the controls hold.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from k8slab.errors import K8slabError
from k8slab.grading import incidents
from k8slab.grading.controls import failing_control
from k8slab.grading.judged import Judged, Predictor, blame, worst_first
from k8slab.grading.polling import Polling
from k8slab.grading.result import Blame, Counterexample, Finding, Status
from k8slab.grading.wants import look
from k8slab.probes import Outcome, observe
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.grading.context import Context
    from k8slab.grading.wants import Pairs, Want
    from k8slab.probes import Flow, Observation

SILENCE = (1.5, 3.5, 7.5)
"""Seconds of the three attempts after which silence is believed without a report of the kernel.

A SYN is sent again after 1, 3 and 7 seconds (RFC 6298: the first time-out is 1 s, and doubles;
tcp(7), tcp_syn_retries). So each attempt outlives one more repetition, and three lost packets
in a row are not taken for a policy."""

_STATUS = {
    Blame.ANSWER: Status.FAILED,
    Blame.NOT_READY: Status.FAILED,
    Blame.NOT_ENFORCED: Status.INCONCLUSIVE,
    Blame.BUG: Status.ERROR,
}

OTHERS = "nothing else is reached differently"
UNSEEN = "the same with pods that you do not see"


def check_flows(context: Context, wants: Sequence[Want]) -> Finding:
    """Observe wanted flows until they are stable, and compare; all of them are one finding."""
    rows = judge(context, wants)
    return _finding(context, "flows", rows, [row.seen for row in rows])


def findings(
    context: Context, wants: Sequence[Want], there: Snapshot | None = None
) -> list[Finding]:
    """Observe wanted flows together, and return a finding for each group of them.

    The first look is at `there`, which was read just now, if it is given.
    """
    every = judge(context, wants, there)
    parts: dict[tuple[str, str], list[Judged]] = {}
    for row in every:
        parts.setdefault((_title(row.want), row.want.group), []).append(row)
    # That a client reaches somebody is known from any flow of the check, not of one part alone.
    seen = [row.seen for row in every]
    return [
        replace(_finding(context, title, rows, seen), group=group)
        for (title, group), rows in parts.items()
    ]


def _title(want: Want) -> str:
    if want.told:
        return UNSEEN
    if want.collateral:
        return OTHERS
    return f"flows: {want.group}" if want.group else "flows"


def judge(context: Context, wants: Sequence[Want], there: Snapshot | None = None) -> list[Judged]:
    """Observe flows until they are stable, and set the policies' prediction beside each."""
    first = iter([there])
    pairs = Polling(
        look=lambda: look(context.cluster, wants, next(first, None)),
        good=lambda pairs: not _unfulfilled(pairs),
        quiet=lambda pairs: context.quiet(listening=not _refused(pairs)),
        deadline=context.deadline,
        same=lambda one, other: _outcomes(one) == _outcomes(other),
    ).run()
    rows = Predictor(context).judge(_confirmed(context, pairs))
    if not any(row.contradicted for row in rows):
        return rows
    # Policies and packets were read one after the other, and a network may enforce late: what
    # disagrees is read again, both sides, until it agrees or stays as it is.
    return Polling(
        look=lambda: Predictor(context).judge(look(context.cluster, wants)),
        good=lambda rows: not any(row.contradicted or not row.fulfilled for row in rows),
        quiet=lambda _: context.quiet(),
        deadline=context.deadline,
        same=lambda one, other: [r.result() for r in one] == [r.result() for r in other],
    ).run()


def _confirmed(context: Context, pairs: Pairs) -> Pairs:
    """Try flows whose silence should count, and that no kernel reported, three times more."""
    if any(not want.fulfilled_by(seen.outcome) for want, seen in pairs):
        return pairs  # it fails anyway: nobody waits for that
    doubtful = {
        number: want
        for number, (want, seen) in enumerate(pairs)
        if want.needs_controls and seen.outcome is Outcome.SILENT and not seen.denial
    }
    for seconds in SILENCE:
        flows = [want.flow for want in doubtful.values()]
        again = dict(zip(doubtful, observe(context.cluster, flows, seconds), strict=True))
        for number, seen in again.items():
            if seen.outcome is not Outcome.SILENT:
                pairs = [*pairs[:number], (doubtful.pop(number), seen), *pairs[number + 1 :]]
        if not doubtful:
            break
    return pairs


def _unfulfilled(pairs: Pairs) -> Pairs:
    return [(want, seen) for want, seen in pairs if not want.fulfilled_by(seen.outcome)]


def _refused(pairs: Pairs) -> bool:
    """Say whether a flow that should be open was refused: its server may be about to listen."""
    return any(seen.outcome is Outcome.REFUSED for _, seen in _unfulfilled(pairs))


def _outcomes(pairs: Pairs) -> list[tuple[Flow, Outcome]]:
    return [(want.flow, seen.outcome) for want, seen in pairs]


def _finding(
    context: Context, title: str, rows: list[Judged], seen: Sequence[Observation]
) -> Finding:
    if bad := [row for row in rows if not row.fulfilled]:
        return _blamed(context, title, rows, bad)
    blocked = [row.seen for row in rows if row.want.needs_controls]
    known = frozenset(str(r.want.flow) for r in rows if r.want.origin in context.baseline)
    failing = failing_control(replace(context, baseline=known), blocked, seen) if blocked else None
    if failing:
        lines = tuple(_hide(line, rows) for line in failing.lines)
        shown = tuple(row.result(failing.blame) for row in rows)
        return Finding(title, Status.INCONCLUSIVE, lines, flows=shown, blame=failing.blame)
    if bad := [row for row in rows if row.contradicted]:
        return _blamed(context, title, rows, bad)
    told = "the flow is" if len(rows) == 1 else f"all {len(rows)} flows are"
    how = "as before" if title == OTHERS else "as wanted"
    shown = tuple(row.result() for row in rows)
    return Finding(title, Status.PASSED, (f"{told} {how}",), flows=shown)


def _blamed(context: Context, title: str, rows: list[Judged], bad: list[Judged]) -> Finding:
    blamed = worst_first([(row, *blame(context, row)) for row in bad])
    row, whose, why = blamed[0]
    how = "as before" if title == OTHERS else "as wanted"
    told = f"{len(bad)} of {len(rows)} flows {'is' if len(bad) == 1 else 'are'} not {how}"
    if len(rows) == 1:
        told = f"the flow is not {how}"
    lines = [told]
    if row.want.because:
        lines.append(f"it is wanted because {row.want.because}")
    if why:
        lines.append(why)
    if whose is Blame.BUG:
        path = incidents.write(context, [one for one, who, _ in blamed if who is Blame.BUG])
        lines.append(f"please report it with the file {path} (it holds no secrets)")
    fault = {id(one): who for one, who, _ in blamed}
    shown = tuple(one.result(fault.get(id(one))) for one in rows)
    lines = [_hide(line, rows) for line in lines]
    example = _example(context, row)
    return Finding(title, _STATUS[whose], tuple(lines), example, flows=shown, blame=whose)


def _example(context: Context, row: Judged) -> Counterexample:
    return Counterexample(
        what=str(row.want),
        wanted=f"{row.want.wish} as before" if row.want.collateral else row.want.wish,
        seen=_hide(f"{row.seen.outcome.value} ({_detail(row)})", [row]),
        why=tuple(_hide(line, [row]) for line in _walk(row)),
        replay="" if row.want.told else replay(context.cluster, row.want.flow),
        predicted=row.predicted,
    )


def _detail(row: Judged) -> str:
    return row.seen.detail or row.seen.outcome.meaning


def _hide(line: str, rows: list[Judged]) -> str:
    """Leave the names of pods that learners do not see out of a line."""
    for row in rows:
        for party in (row.want.flow.source, row.want.flow.destination) if row.want.told else ():
            if party.name not in row.want.told and party.name in line:
                line = re.sub(rf"(\S*/)?{re.escape(party.name)}", "a pod of the grader's", line)
    return line


def _walk(row: Judged) -> list[str]:
    """Say what the policies say about the flow; where they cannot say, be silent."""
    if row.seen.outcome not in (Outcome.SILENT, Outcome.OPEN) or row.verdict is None:
        return []
    lines = [line for reason in row.verdict.reasons for line in reason.lines()]
    if row.verdict.allowed and row.seen.outcome is Outcome.SILENT:
        lines.append("no policy stops this flow: look at the pod, its port and the address instead")
    return lines


def replay(cluster: Any, flow: Flow) -> str:
    """Return a command that tries the flow by hand; empty where there is none."""
    if flow.source.kind != "pod":
        return ""
    try:
        target = Snapshot(cluster).target(flow)
    except K8slabError:
        return f"kubectl -n {flow.source.namespace} get pods -o wide"
    udp = "u" if target.protocol == "UDP" else ""
    words = ["kubectl", "-n", flow.source.namespace, "exec", flow.source.name, "--"]
    return shlex.join([*words, "nc", f"-zv{udp}w", "2", target.host, str(target.port)])
