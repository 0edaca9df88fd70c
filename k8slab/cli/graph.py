"""graph: pictures of what policies allow, and of what is where."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from k8slab.cli import options, sources
from k8slab.cli.console import show, show_json, tell, write_file
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

FORMATS = ("svg", "png", "pdf", "dot")


def _picture_options(command: Callable) -> Callable:
    for option in (
        click.option(
            "-o", "--output", type=click.Choice(FORMATS), help="The form; svg by default."
        ),
        click.option(
            "--out",
            type=click.Path(dir_okay=False),
            callback=options.placed,
            help="Write to a file.",
        ),
        options.as_json,
        options.name,
    ):
        command = option(command)
    return command


namespaces = click.option(
    "-n",
    "--namespace",
    "namespaces",
    multiple=True,
    shell_complete=sources.complete_namespaces,
    help="Only what touches this namespace.",
)


@click.command(
    short_help="Draw what policies allow.",
    epilog=options.examples(
        "k8slab graph policy --out allowed.svg",
        "k8slab graph policy -f deploy/ -n shop --out shop.png",
    ),
)
@sources.manifests
@namespaces
@_picture_options
def policy(
    *, manifests: tuple[str, ...], namespaces: tuple[str, ...], name: str, **how: Any
) -> None:
    """Draw what policies allow: workloads by namespace, equal ones together, and the outside."""
    from k8slab.graphs import allowed, flowgraph  # noqa: PLC0415

    found = sources.compile_estate(manifests, name).connections()
    title = "What policies allow"
    if how["as_json"]:
        _give(flowgraph.of_connections(found, title=title, namespaces=namespaces), **how)
        return
    _write(lambda form: allowed.policies_file(found, form, title=title, namespaces=namespaces), how)


@click.command(
    short_help="Draw what policies allow as a table.",
    epilog=options.examples(
        "k8slab graph matrix -f deploy/ --out matrix.pdf",
    ),
)
@sources.manifests
@namespaces
@_picture_options
def matrix(
    *, manifests: tuple[str, ...], namespaces: tuple[str, ...], name: str, **how: Any
) -> None:
    """Draw what policies allow as a table: a row for each source, a column for each destination."""
    from k8slab.graphs.allowed import Allowed  # noqa: PLC0415

    estate = sources.compile_estate(manifests, name)
    _give(Allowed.of(estate.connections(), namespaces=namespaces), **how)


@click.command(
    short_help="Draw nodes, the pods on them and the Services before them.",
    epilog=options.examples(
        "k8slab graph topology --out cluster.svg",
    ),
)
@sources.manifests
@namespaces
@_picture_options
def topology(
    *, manifests: tuple[str, ...], namespaces: tuple[str, ...], name: str, **how: Any
) -> None:
    """Draw nodes, the pods on them and the Services before them."""
    from k8slab.graphs import Topology  # noqa: PLC0415
    from k8slab.graphs.topology import node_order  # noqa: PLC0415
    from k8slab.objects import meta  # noqa: PLC0415
    from k8slab.policy import inventory, services  # noqa: PLC0415

    kinds = inventory.Kinds.sort(sources.gather(manifests, name))
    found = inventory.take(kinds)
    pods = [pod for pod in found.pods.values() if _wanted(pod.namespace, namespaces)]
    led = services.read_services(kinds).values()
    nodes = sorted(kinds["Node"], key=node_order)
    _give(
        Topology.planned(
            [meta.name_of(node) for node in nodes],
            pods,
            [service for service in led if _wanted(service.namespace, namespaces)],
        ),
        **how,
    )


def _wanted(space: str, namespaces: tuple[str, ...]) -> bool:
    return not namespaces or space in namespaces


@click.command(
    short_help="Draw what a change adds, removes or changes.",
    epilog=options.examples("k8slab graph diff before/ after/ --out change.svg"),
)
@click.argument("old", type=click.Path(exists=True, allow_dash=True))
@click.argument("new", type=click.Path(exists=True, allow_dash=True), required=False)
@sources.shared
@options.name
@click.option("-o", "--output", type=click.Choice(FORMATS), help="The form; svg by default.")
@click.option(
    "--out", type=click.Path(dir_okay=False), callback=options.placed, help="Write to a file."
)
@options.as_json
def diff(*, old: str, new: str | None, manifests: tuple[str, ...], name: str, **how: Any) -> None:
    """Draw which connections a change adds, removes or changes.

    OLD and NEW are manifests; without NEW the live cluster is the new state.
    """
    from k8slab import policy as engine  # noqa: PLC0415
    from k8slab.graphs.difference import of_changes  # noqa: PLC0415

    before, after = sources.compile_both(old, new, manifests, name)
    _give(of_changes(engine.diff(before, after)), **how)


COMMANDS = (policy, matrix, topology, diff)
"""What `groups.graph` offers."""


def _give(found: Any, **how: Any) -> None:
    """Write a graph: as its parts for programs, or as a picture."""
    if how["as_json"]:
        show_json(found.to_json())
    else:
        _write(found.file, how)


def _write(drawn: Callable[[str], bytes], how: dict[str, Any]) -> None:
    out = how["out"]
    form = how["output"] or (Path(out).suffix.lstrip(".") if out else "") or "svg"
    if form not in FORMATS:
        raise UsageError(f"there is no form {form!r}", hint=f"take one of {', '.join(FORMATS)}")
    if not out and form in ("png", "pdf") and sys.stdout.isatty():
        raise UsageError(f"{form} is no text for a terminal", hint=f"give --out graph.{form}")
    content = drawn(form)
    if out:
        write_file(out, content)
        tell(f"written to {out}")
    elif form in ("png", "pdf"):
        sys.stdout.buffer.write(content)
    else:
        show(content.decode().rstrip("\n"))
