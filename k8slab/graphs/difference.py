"""The difference of two estates as a graph: + added, - removed, ~ changed.

Each mark has its own line and arrow besides its colour: added is bold, removed dashed with a
bar, changed dotted with a diamond. Equal changes between the same kind of ends are put
together: all workloads to which one source gains the same ports are one node.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from k8slab.graphs.flowgraph import Edge, FlowGraph, side_node
from k8slab.policy.ports import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.policy import AddressSet, Change, Group

_MARKS = {"added": "+", "removed": "-", "changed": "~"}


def of_changes(changes: Iterable[Change], *, title: str = "What the change does") -> FlowGraph:
    """Draw the changes; the edges' `why` names the policies that caused them."""
    together: dict[tuple, set[Group | AddressSet]] = defaultdict(set)
    for change in changes:
        same = (change.kind, change.source, change.before, change.after, change.causes)
        together[(*same, _space(change.destination))].add(change.destination)
    merged: dict[tuple, set[Group | AddressSet]] = defaultdict(set)
    for (kind, source, before, after, causes, _), ends in together.items():
        targets = (kind, before, after, causes, frozenset(ends))
        merged[(*targets, _space(source))].add(source)
    edges = [
        _edge(kind, (sources, ends), (before, after), causes)
        for (kind, before, after, causes, ends, _), sources in merged.items()
    ]
    edges.sort(key=lambda edge: (edge.mark, edge.source, edge.destination))
    nodes = {end for edge in edges for end in (edge.source, edge.destination)}
    note = "" if edges else "nothing changes"
    return FlowGraph(title, tuple(sorted(nodes)), tuple(edges), note)


def _space(side: Group | AddressSet) -> str:
    return getattr(side, "namespace", "(outside)")


def _edge(
    kind: str,
    ends: tuple[Iterable[Group | AddressSet], Iterable[Group | AddressSet]],
    ports: tuple[PortSet, PortSet],
    causes: tuple[str, ...],
) -> Edge:
    before, after = ports
    source, destination = (side_node(end) for end in ends)
    shown = after if kind != "removed" else before
    was = before if kind == "changed" else PortSet()
    return Edge(source, destination, shown, _MARKS[kind], ", ".join(causes), was)
