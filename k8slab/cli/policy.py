"""policy: what NetworkPolicies mean, for manifests or a live cluster.

Nothing is sent and nothing is changed: these commands read objects and think.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from k8slab.cli import audit, connections, options, sources
from k8slab.cli.console import show, show_json, tell
from k8slab.cli.flows import from_words, read_flows
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from k8slab.policy import Estate, Flow, Verdict

PARTIES = (
    "SRC and DST are NAMESPACE/POD, NAMESPACE/deployment/NAME (or another workload), "
    "svc:NAMESPACE/NAME, ip:ADDRESS or node:NAME; PORT is a number or a name, /UDP or /SCTP after "
    "it where it is not TCP.\n\n"
)


@click.command(
    short_help="Say whether policies allow a flow.",
    epilog=PARTIES
    + options.examples(
        "k8slab policy decide shop/deployment/web svc:shop/db 5432",
        "k8slab policy decide ip:203.0.113.9 shop/deployment/web http -f deploy/",
        "kubectl kustomize . | k8slab policy decide -f - shop/web shop/db 53/UDP",
        "k8slab policy decide --flows flows.jsonl --json",
    ),
)
@click.argument(
    "flow",
    nargs=-1,
    metavar="[SRC DST PORT[/PROTOCOL]]",
    shell_complete=sources.complete_parties,
)
@click.option(
    "--flows",
    type=click.Path(allow_dash=True),
    metavar="FILE.jsonl",
    help='One flow a line: {"from": SRC, "to": DST, "port": 80, "protocol": "TCP"}; - is stdin.',
)
@sources.manifests
@options.name
@options.as_json
def decide(
    *,
    flow: tuple[str, ...],
    flows: str | None,
    manifests: tuple[str, ...],
    name: str,
    as_json: bool,
) -> int:
    """Say whether policies allow a flow. Exit code 1 when they do not.

    With --flows many are decided, one line each; a line that cannot be read is reported by its
    number, the rest goes on, and the exit code is then 2.
    """
    if (flows is None) == (not flow):
        raise click.UsageError("give either SRC DST PORT or --flows FILE")
    wanted = from_words(flow) if flow else None
    estate = sources.compile_estate(manifests, name)
    if wanted is None:
        return _decide_lines(estate, str(flows), as_json=as_json)
    from k8slab.policy.verdict import together  # noqa: PLC0415

    verdict = estate.decide(wanted)
    if as_json:
        show_json(_json(verdict))
    else:
        show(f"{verdict.action.value}: {wanted}")
        for head in dict.fromkeys(reason.lines()[0] for reason in together(verdict.reasons)):
            show(f"  {head}")
    return 0 if verdict.allowed else 1


@click.command(
    short_help="Walk through the policies that a flow meets.",
    epilog=PARTIES
    + options.examples(
        "k8slab policy explain shop/deployment/web svc:shop/db 5432",
        "k8slab policy explain shop/deployment/web ip:198.51.100.7 443 -f deploy/",
    ),
)
@click.argument(
    "flow",
    nargs=3,
    metavar="SRC DST PORT[/PROTOCOL]",
    shell_complete=sources.complete_parties,
)
@sources.manifests
@options.name
@options.as_json
def explain(*, flow: tuple[str, ...], manifests: tuple[str, ...], name: str, as_json: bool) -> int:
    """Walk through the policies that a flow meets, rule by rule. Exit code 1 when it is denied."""
    wanted = from_words(flow)
    verdict = sources.compile_estate(manifests, name).decide(wanted)
    if as_json:
        show_json({**_json(verdict), "walk": verdict.explain().splitlines()})
    else:
        show(verdict.explain())
    return 0 if verdict.allowed else 1


def _json(verdict: Verdict) -> dict[str, Any]:
    return {
        "from": str(verdict.flow.source),
        "to": str(verdict.flow.destination),
        "port": verdict.flow.port,
        "protocol": verdict.flow.protocol,
        "verdict": verdict.action.value,
        "reasons": [_plain(reason) for reason in verdict.reasons],
    }


def _plain(value: Any) -> Any:
    """Turn frozen values of the engine into what JSON has; fields without content are left out."""
    from dataclasses import fields, is_dataclass  # noqa: PLC0415
    from enum import Enum  # noqa: PLC0415

    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        pairs = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {name: _plain(part) for name, part in pairs if part not in ("", (), None)}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


def _decide_lines(estate: Estate, path: str, *, as_json: bool) -> int:
    faults = 0
    for number, flow in read_flows(path):
        found = flow if isinstance(flow, UsageError) else _judge(estate, flow)
        if isinstance(found, UsageError):
            faults += 1
            tell(f"line {number}: {found.message}")
            if as_json:
                show(json.dumps({"line": number, "error": found.message}))
        elif as_json:
            show(json.dumps(_json(found)))
        else:
            show(f"{found.action.value}: {found.flow}")
    return 2 if faults else 0


def _judge(estate: Estate, flow: Flow) -> Verdict | UsageError:
    try:
        return estate.decide(flow)
    except UsageError as error:
        return error


COMMANDS = (
    decide,
    explain,
    audit.audit,
    audit.lint,
    connections.connections,
    connections.diff,
    connections.suggest,
)
"""What `groups.policy` offers."""
