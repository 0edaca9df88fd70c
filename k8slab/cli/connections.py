"""policy connections, diff, suggest: everything that is allowed, what changes, what would do."""

from __future__ import annotations

import csv
import io
import sys
from typing import TYPE_CHECKING, Any

import click

from k8slab.cli import options, sources
from k8slab.cli.console import show, show_json, show_table, tell
from k8slab.cli.flows import read_flows
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.policy import Connection, Estate, Party

TEXTS = ("table", "json", "csv", "md")
PICTURES = ("dot", "svg")

as_form = click.option(
    "-o", "--output", type=click.Choice([*TEXTS, *PICTURES]), default="table", show_default=True
)


@click.command()
@sources.manifests
@click.option("--focus", metavar="WORKLOAD", default="", help="NAMESPACE/deployment/NAME or a pod.")
@click.option("--exposure", is_flag=True, help="Also who could come beyond what exists now.")
@as_form
@options.name
@options.as_json
def connections(
    *, manifests: tuple[str, ...], focus: str, exposure: bool, output: str, name: str, as_json: bool
) -> None:
    """List every connection that policies allow, between workloads and with the outside.

    The list is exact: addresses and ports are ranges, and what is not in it is denied. With
    --exposure follow the ways in from outside (Ingress, HTTPRoute, node ports, load
    balancers), and what pods that do not exist yet would be allowed.
    """
    estate = sources.compile_estate(manifests, name)
    party = _workload(focus) if focus else None
    rows = list(estate.connections().of(party) if party else estate.connections())
    form = "json" if as_json else output
    if form in PICTURES:
        show(_picture(estate, rows, form, focused=bool(focus)))
        return
    listed = [(str(row.source), str(row.destination), str(row.ports)) for row in rows]
    parts = {"connections": (("from", "to", "ports"), listed)}
    if exposure:
        parts["ways in"] = (("via", "to", "port"), _ways_in(estate))
        parts["open beyond what exists"] = (("from", "to", "ports"), _openings(estate, party))
    _print(parts, form)


def _workload(text: str) -> Party:
    from k8slab.policy import Party  # noqa: PLC0415

    return Party.parse(text)


def _picture(estate: Estate, rows: Sequence[Connection], form: str, *, focused: bool) -> str:
    from k8slab.graphs import allowed, flowgraph  # noqa: PLC0415

    if focused:
        return flowgraph.of_rows(rows, title="What policies allow").file(form).decode()
    found = estate.connections()
    return allowed.policies_file(found, form, title="What policies allow").decode()


def _ways_in(estate: Estate) -> list[tuple[str, str, str]]:
    found = [
        (f"{each.via} {each.host or '*'}{each.path}", f"svc:{each.service}", str(each.port))
        for each in estate.exposures
    ]
    for service in estate.services.values():
        if service.type in ("NodePort", "LoadBalancer"):
            for port in service.ports:
                at = f"{port.node_port or 'a node port'} on every node"
                found.append((f"{service.type} {at}", f"svc:{service.key}", str(port.port)))
    return found


def _openings(estate: Estate, party: Party | None) -> list[tuple[str, str, str]]:
    found = []
    for each in estate.openings():
        if party is None or party in (each.group.workload, _pod_of(each.group.pods)):
            ends = (each.who, str(each.group))
            source, destination = ends if each.direction == "ingress" else ends[::-1]
            found.append((source, destination, str(each.ports)))
    return found


def _pod_of(pods: Sequence[str]) -> Party | None:
    from k8slab.policy import Party  # noqa: PLC0415

    return Party.parse(pods[0]) if len(pods) == 1 and pods[0].count("/") == 1 else None


Part = tuple[tuple[str, ...], list[tuple[str, ...]]]


def _print(parts: dict[str, Any], form: str) -> None:
    """Write tables: alone, or each under its name."""
    if form == "json":
        found = {
            name.replace(" ", "_"): [dict(zip(heads, row, strict=True)) for row in rows]
            for name, (heads, rows) in parts.items()
        }
        show_json(found if len(found) > 1 else next(iter(found.values())))
        return
    for number, (name, (heads, rows)) in enumerate(parts.items()):
        if number:
            show(f"\n{name}")
        if form == "csv":
            sys.stdout.write(_csv(heads, rows))
        elif form == "md":
            show(_markdown(heads, rows))
        else:
            show_table(heads, rows)


def _csv(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return comma-separated values (RFC 4180)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(heads)
    writer.writerows(rows)
    return text.getvalue()


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


@click.command()
@click.argument("old", type=click.Path(exists=True, allow_dash=True))
@click.argument("new", type=click.Path(exists=True, allow_dash=True), required=False)
@click.option("-o", "--output", type=click.Choice(TEXTS), default="table", show_default=True)
@options.name
@options.as_json
def diff(*, old: str, new: str | None, output: str, name: str, as_json: bool) -> int:
    """List the connections that a change adds, removes or changes, and the policies that do it.

    OLD and NEW are manifests; without NEW the live cluster is the new state. Exit code 1 when
    something changes.
    """
    from k8slab import policy as engine  # noqa: PLC0415

    before = sources.compile_estate((old,), "")
    after = sources.compile_estate((new,) if new else (), name)
    changes = engine.diff(before, after)
    rows = [
        (
            change.kind,
            str(change.source),
            str(change.destination),
            str(change.before),
            str(change.after),
            ", ".join(change.causes) or "(pods, not policies)",
        )
        for change in changes
    ]
    heads = ("change", "from", "to", "before", "after", "because of")
    form = "json" if as_json else output
    if rows or form == "json":
        _print({"changes": (heads, rows)}, form)
    else:
        tell("no connection changes")
    return 1 if changes else 0


@click.command()
@click.option(
    "--from",
    "flows",
    required=True,
    type=click.Path(allow_dash=True),
    metavar="FILE.jsonl",
    help='Observed flows, one a line: {"from": SRC, "to": DST, "port": 80}; - is stdin.',
)
@click.option("--dns/--no-dns", default=True, help="Let every pod ask DNS.", show_default=True)
@sources.manifests
@options.name
@options.as_json
def suggest(*, flows: str, dns: bool, manifests: tuple[str, ...], name: str, as_json: bool) -> int:
    """Write the least policies that admit observed flows, with default deny and DNS.

    The engine itself judges the result: exit code 1 when policies cannot admit exactly these
    flows, and what is allowed besides, or stays denied, is told.
    """
    from k8slab import policy as engine  # noqa: PLC0415

    wanted = []
    for number, flow in read_flows(flows):
        if isinstance(flow, UsageError):
            raise UsageError(f"{flows}:{number}: {flow.message}", hint=flow.hint)
        wanted.append(flow)
    found = engine.suggest(sources.compile_estate(manifests, name), wanted, dns=dns)
    if as_json:
        show_json(
            {
                "policies": found.policies,
                "extra": [str(row) for row in found.extra],
                "missing": [str(flow) for flow in found.missing],
            }
        )
    else:
        import yaml  # noqa: PLC0415

        show(yaml.safe_dump_all(found.policies, sort_keys=False).rstrip("\n"))
    for row in found.extra:
        tell(f"allowed besides, since labels cannot tell them apart: {row}")
    for flow in found.missing:
        tell(f"still denied: {flow}")
    return 0 if found.exact else 1
