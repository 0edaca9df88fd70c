"""policy: what NetworkPolicies mean, for manifests or a live cluster.

Nothing is sent and nothing is changed: these commands read objects and think.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from k8slab.cli import audit, options, sources
from k8slab.cli.console import show, show_json, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.policy import Estate, Flow, Verdict

PARTIES = (
    "SRC and DST are NAMESPACE/POD, NAMESPACE/deployment/NAME, svc:NAMESPACE/NAME, ip:ADDRESS "
    "or node:NAME; PORT is a number or a name, /UDP or /SCTP after it where it is not TCP."
)


@click.group()
def policy() -> None:
    """Predict, explain and check what NetworkPolicies mean.

    Nothing is sent: the objects of a live cluster, or manifests (-f), are read and judged.
    """


policy.add_command(audit.audit)
policy.add_command(audit.lint)


@policy.command(epilog=PARTIES)
@click.argument("flow", nargs=-1, metavar="[SRC DST PORT[/PROTOCOL]]")
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
    wanted = _flow(flow) if flow else None
    estate = _estate(manifests, name)
    if wanted is None:
        return _decide_lines(estate, str(flows), as_json=as_json)
    verdict = estate.decide(wanted)
    if as_json:
        show_json(_json(verdict))
    else:
        show(f"{verdict.action.value}: {wanted}")
        for reason in verdict.reasons:
            show(f"  {reason.lines()[0]}")
    return 0 if verdict.allowed else 1


@policy.command(epilog=PARTIES)
@click.argument("flow", nargs=3, metavar="SRC DST PORT[/PROTOCOL]")
@sources.manifests
@options.name
@options.as_json
def explain(*, flow: tuple[str, ...], manifests: tuple[str, ...], name: str, as_json: bool) -> int:
    """Walk through the policies that a flow meets, rule by rule. Exit code 1 when it is denied."""
    wanted = _flow(flow)
    verdict = _estate(manifests, name).decide(wanted)
    if as_json:
        show_json({**_json(verdict), "walk": verdict.explain().splitlines()})
    else:
        show(verdict.explain())
    return 0 if verdict.allowed else 1


def _estate(manifests: tuple[str, ...], name: str) -> Estate:
    from k8slab import policy as engine  # noqa: PLC0415

    return engine.compile(sources.gather(manifests, name))


def _flow(words: tuple[str, ...]) -> Flow:
    from k8slab.policy import Flow  # noqa: PLC0415

    if len(words) != 3:
        raise click.UsageError("a flow is SRC DST PORT[/PROTOCOL]")
    source, destination, port = words
    number, _, protocol = port.partition("/")
    return Flow.of(source, destination, _port(number), protocol or "TCP")


def _port(text: str) -> int | str:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 9 else text


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
    from k8slab.errors import UsageError  # noqa: PLC0415

    faults = 0
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            verdict = estate.decide(_read_flow(line))
        except UsageError as error:
            faults += 1
            tell(f"line {number}: {error.message}")
            if as_json:
                show(json.dumps({"line": number, "error": error.message}))
            continue
        if as_json:
            show(json.dumps(_json(verdict)))
        else:
            show(f"{verdict.action.value}: {verdict.flow}")
    return 2 if faults else 0


def _lines(path: str) -> Iterator[tuple[int, str]]:
    with click.open_file(path, encoding="utf-8", errors="replace") as file:
        yield from enumerate(file, 1)


def _read_flow(line: str) -> Flow:
    from k8slab.errors import UsageError  # noqa: PLC0415
    from k8slab.policy import Flow  # noqa: PLC0415

    try:
        asked = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this is not JSON: {line.strip()[:60]}") from error
    if not isinstance(asked, dict):
        raise UsageError("a flow is a JSON object with from, to and port")
    if missing := [key for key in ("from", "to", "port") if key not in asked]:
        raise UsageError(f"the flow has no {' and no '.join(missing)}")
    port, protocol = asked["port"], asked.get("protocol") or "TCP"
    if isinstance(port, bool) or not isinstance(port, int | str):
        raise UsageError(f"port {port!r} is neither a number nor a name")
    texts = (asked["from"], asked["to"], protocol)
    if not all(isinstance(text, str) for text in texts):
        raise UsageError("from, to and protocol are texts")
    port = _port(port) if isinstance(port, str) else port
    return Flow.of(asked["from"], asked["to"], port, protocol)
