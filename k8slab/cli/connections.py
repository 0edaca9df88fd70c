"""policy connections, diff, suggest: everything that is allowed, what changes, what would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from k8slab.cli import options, sources
from k8slab.cli.console import show, show_json, tell
from k8slab.cli.flows import read_flows
from k8slab.cli.tables import FORMS, Table, write
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.policy import AddressSet, Change, Connection, Estate, Group, Party, PortSet

PICTURES = ("dot", "svg")

as_form = click.option(
    "-o", "--output", type=click.Choice([*FORMS, *PICTURES]), default="table", show_default=True
)


@click.command(
    short_help="List every connection that policies allow.",
    epilog=options.examples(
        "k8slab policy connections",
        "k8slab policy connections -f deploy/ --focus shop/deployment/web --exposure",
        "k8slab policy connections -f deploy/ -o csv > allowed.csv",
    ),
)
@sources.manifests
@click.option(
    "--focus",
    metavar="WORKLOAD",
    default="",
    shell_complete=sources.complete_workloads,
    help="NAMESPACE/deployment/NAME or a pod.",
)
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
    balancers) to the workloads behind them, and what pods that do not exist yet would be allowed.
    """
    estate = sources.compile_estate(manifests, name)
    if not estate.pods:
        tell("there is no pod and no workload: nothing can be connected")
    party = _workload(focus) if focus else None
    rows = list(estate.connections().of(party) if party else estate.connections())
    form = "json" if as_json else output
    if form in PICTURES:
        show(_picture(estate, rows, form, focused=bool(focus)))
        return
    tables = [_connections(rows, form)]
    if exposure:
        tables += [_ways_in(estate, party), _openings(estate, party)]
    write(tables, form)


def _workload(text: str) -> Party:
    from k8slab.policy import Party  # noqa: PLC0415

    return Party.parse(text)


def _picture(estate: Estate, rows: Sequence[Connection], form: str, *, focused: bool) -> str:
    from k8slab.graphs import allowed, flowgraph  # noqa: PLC0415

    if focused:
        return flowgraph.of_rows(rows, title="What policies allow").file(form).decode()
    found = estate.connections()
    return allowed.policies_file(found, form, title="What policies allow").decode()


def _connections(rows: Iterable[Connection], form: str) -> Table:
    heads = ("from", "to", "ports")
    cells = [(str(row.source), str(row.destination), str(row.ports)) for row in rows]
    if form != "json":
        return Table("connections", heads, cells)
    values = [
        {
            **dict(zip(heads, text, strict=True)),
            **_ranges("from", row.source),
            **_ranges("to", row.destination),
            "port_ranges": _ports(row.ports),
        }
        for row, text in zip(rows, cells, strict=True)
    ]
    return Table("connections", heads, cells, values)


def _ranges(end: str, side: Group | AddressSet) -> dict[str, Any]:
    """Return first and last address of each range, for an end that is outside."""
    from k8slab.policy import AddressSet  # noqa: PLC0415

    if not isinstance(side, AddressSet):
        return {}
    return {f"{end}_ranges": [{"first": first, "last": last} for first, last in side.ranges()]}


def _ports(ports: PortSet) -> list[dict[str, Any]]:
    return [each._asdict() for each in ports.ranges()]


def _ways_in(estate: Estate, party: Party | None) -> Table:
    from k8slab.policy.verdict import listed  # noqa: PLC0415

    heads = ("via", "to", "port", "workloads", "ports", "admitted")
    rows, values = [], []
    for way in estate.ways_in():
        if party is not None and party not in way.workloads:
            continue
        workloads, ports = [*map(str, way.workloads)], str(way.ports)
        row = (way.via, f"svc:{way.service}", str(way.port), ", ".join(workloads), ports)
        rows.append((*row, way.problem or listed(way.admitted) or "nobody"))
        value = dict(zip(heads, row, strict=False))
        problem = {"problem": way.problem} if way.problem else {}
        values.append({**value, "workloads": workloads, "admitted": list(way.admitted), **problem})
    return Table("ways in", heads, rows, values)


def _openings(estate: Estate, party: Party | None) -> Table:
    heads = ("from", "to", "ports")
    rows = []
    for each in estate.openings():
        if party is None or party in (each.group.workload, _pod_of(each.group.pods)):
            ends = (each.who, str(each.group))
            source, destination = ends if each.direction == "ingress" else ends[::-1]
            rows.append((source, destination, str(each.ports)))
    values = [dict(zip(heads, row, strict=True)) for row in rows]
    return Table("open beyond what exists", heads, rows, values)


def _pod_of(pods: Sequence[str]) -> Party | None:
    from k8slab.policy import Party  # noqa: PLC0415

    return Party.parse(pods[0]) if len(pods) == 1 and pods[0].count("/") == 1 else None


@click.command(
    short_help="List the connections that a change adds, removes or changes.",
    epilog=options.examples(
        "k8slab policy diff before/ after/",
        "k8slab policy diff -f workloads.yaml old-policies.yaml new-policies.yaml",
        "git show main:policies.yaml | k8slab policy diff -f workloads.yaml - policies.yaml",
        "k8slab policy diff deploy/        (what differs in the live cluster)",
    ),
)
@click.argument("old", type=click.Path(exists=True, allow_dash=True))
@click.argument("new", type=click.Path(exists=True, allow_dash=True), required=False)
@sources.shared
@click.option("-o", "--output", type=click.Choice(FORMS), default="table", show_default=True)
@options.name
@options.as_json
def diff(
    *, old: str, new: str | None, manifests: tuple[str, ...], output: str, name: str, as_json: bool
) -> int:
    """List the connections that a change adds, removes or changes, and the policies that do it.

    OLD and NEW are manifests; without NEW the live cluster is the new state. Replicas may have
    other names: workloads are compared. Exit code 1 when something changes.
    """
    from k8slab import policy as engine  # noqa: PLC0415

    before, after = sources.compile_both(old, new, manifests, name)
    changes = engine.diff(before, after)
    form = "json" if as_json else output
    if changes or form == "json":
        write([_changes(changes)], form)
    else:
        tell("no connection changes")
    return 1 if changes else 0


def _changes(changes: Iterable[Change]) -> Table:
    heads = ("change", "from", "to", "before", "after", "because of")
    rows, values = [], []
    for each in changes:
        ends = (str(each.source), str(each.destination))
        row = (each.kind, *ends, str(each.before), str(each.after))
        rows.append((*row, ", ".join(each.causes) or "(pods, not policies)"))
        values.append({**dict(zip(heads, row, strict=False)), "because_of": list(each.causes)})
    return Table("changes", heads, rows, values)


@click.command(
    short_help="Write the least policies that admit observed flows.",
    epilog=options.examples(
        "k8slab policy suggest --from flows.jsonl > policies.yaml",
        "k8slab policy suggest --from flows.jsonl -f workloads.yaml --no-dns",
    ),
)
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
