"""Nodes that nobody can tell apart in a graph, so that one can stand for all of them.

Two kinds, as graph theory has them. *False twins* have the same neighbours, and what each
does with itself is the same: forty namespaces that only the monitoring reaches. *True twins*
have the same neighbours when each counts as its own, so they reach each other too. One pass
over the edges finds both: by a signature without the edges from a node to itself, then by
one with them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

Node = TypeVar("Node", bound="Hashable")


def twins(edges: Mapping[tuple[Node, Node], Hashable], nodes: Iterable[Node]) -> list[list[Node]]:
    """Part the nodes into sets of twins; `edges` gives each pair its label."""
    found, left = [], list(nodes)
    for itself in (False, True):
        classes: dict[Hashable, list[Node]] = defaultdict(list)
        signatures = _signatures(edges, left, itself=itself)
        for node in left:
            classes[signatures[node]].append(node)
        found += [members for members in classes.values() if len(members) > 1]
        left = [node for members in classes.values() if len(members) == 1 for node in members]
    return [*found, *([node] for node in left)]


def _signatures(
    edges: Mapping[tuple[Node, Node], Hashable], nodes: Iterable[Node], *, itself: bool
) -> dict[Node, Hashable]:
    outgoing: dict[Node, set] = defaultdict(set)
    incoming: dict[Node, set] = defaultdict(set)
    for (source, destination), label in edges.items():
        if itself or source != destination:
            outgoing[source].add((destination, label))
            incoming[destination].add((source, label))
    return {
        node: (
            frozenset(outgoing[node]),
            frozenset(incoming[node]),
            None if itself else edges.get((node, node)),
        )
        for node in nodes
    }
