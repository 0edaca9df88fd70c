"""What policies allow as a table: who may reach whom, a sign and the ports in each cell.

Rows and columns are workloads, equal ones together; of very many, namespaces. Signs:
``+`` all ports, ``o`` some ports (named on the cell), ``.`` nothing, ``-`` a pod and itself:
"a Pod cannot block access to itself" (Kubernetes documentation, "Network Policies"); ``/`` where
neither end is in the namespaces that were asked for, and nobody looked.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

from k8slab.errors import ProgramError
from k8slab.graphs import flowgraph
from k8slab.graphs.dot import draw, quote, render
from k8slab.graphs.svg import html_table
from k8slab.policy.ports import ALL, PortSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.graphs.flowgraph import Node
    from k8slab.graphs.svg import Picture
    from k8slab.policy.listing import Connections

MOST = 100
"""Rows that can be read; of more workloads namespaces are shown."""

_SIGNS = {"+": "#d7f0dd", "o": "#fde68a", ".": "#e5e7eb", "-": "#ffffff", "/": "#ffffff"}
ITSELF = "a pod and itself: no policy stops it"
ASIDE = "not looked at here"
MEANINGS = {"+": "all ports", "o": "some ports", ".": "nothing", "-": ITSELF, "/": ASIDE}


@dataclass(frozen=True)
class Allowed:
    """The table: for a source and a destination the ports; a pair that is missing has none.

    Of one pod and itself no policy decides: such a pair is in no cell, and has a sign of its own.
    """

    nodes: tuple[Node, ...]
    cells: Mapping[tuple[str, str], PortSet]
    note: str = ""
    about: frozenset[str] = frozenset()
    """The namespaces that were asked for: of pairs with no end in them nothing is known."""

    @classmethod
    def of(cls, found: Connections, *, namespaces: Sequence[str] = ()) -> Allowed:
        """Make the table of all connections, or of those that touch some namespaces."""
        parts = flowgraph.Parts.of(found, namespaces)
        by_namespace = len(parts.nodes) > MOST
        cells: dict[tuple[Node, Node], PortSet] = defaultdict(PortSet)
        for block in parts.blocks:
            sources = parts.named(block.sources, by_namespace=by_namespace)
            destinations = parts.named(block.destinations, by_namespace=by_namespace)
            for source in sources:
                for destination in destinations:
                    if source is destination and source.alone:
                        continue
                    cells[source, destination] |= block.ports
        ends = {end for pair in cells for end in pair}
        nodes = ends if by_namespace else ends | parts.nodes
        count = f"{len(parts.groups)} workloads, by namespace"
        notes = [f"{count}: a cell is {flowgraph.SOME}"] if by_namespace else []
        if namespaces:
            notes.append(f"only what goes from or to {', '.join(sorted(namespaces))}")
        ports = {(a.key, b.key): found for (a, b), found in cells.items()}
        about = frozenset(namespaces or (group.namespace for group in parts.groups))
        return cls(tuple(sorted(nodes, key=_order)), ports, "; ".join(notes), about)

    def sign(self, source: Node, destination: Node) -> str:
        """Return the sign of one cell."""
        if source.key == destination.key and source.alone:
            return "-"
        if not (self._asked_for(source) or self._asked_for(destination)):
            return "/"
        ports = self.cells.get((source.key, destination.key))
        if not ports:
            return "."
        return "+" if ports == ALL else "o"

    def _asked_for(self, node: Node) -> bool:
        return node.kind == flowgraph.WORKLOAD or (
            node.kind == flowgraph.NAMESPACE and node.key in self.about
        )

    def alt(self) -> str:
        """Say in words what the table shows."""
        size = f"{len(self.nodes)} rows and columns"
        note = f" {self.note}." if self.note else ""
        itself = " No policy stops a pod and itself." if any(n.alone for n in self.nodes) else ""
        pairs = f"{len(self.cells)} pairs connected"
        return f"Matrix of what policies allow: {size}, {pairs}.{itself}{note}"

    def dot(self) -> str:
        """Return the table as DOT text: one node with an HTML-like table."""
        box = 'WIDTH="22" HEIGHT="20" FIXEDSIZE="TRUE"'
        head = "".join(f"<TD {box}>{number}</TD>" for number in range(1, len(self.nodes) + 1))
        rows = [f'<TR><TD ALIGN="LEFT">from (row) to (column)</TD>{head}</TR>']
        for number, source in enumerate(self.nodes, 1):
            cells = "".join(self._cell(source, each, box) for each in self.nodes)
            name = escape(f"{number}  {_line(source)}")
            rows.append(f'<TR><TD ALIGN="LEFT">{name}</TD>{cells}</TR>')
        legend = ",  ".join(f"{sign} {meaning}" for sign, meaning in self._legend().items())
        width = len(self.nodes) + 1
        rows.append(f'<TR><TD ALIGN="LEFT" COLSPAN="{width}" BORDER="0">{legend}</TD></TR>')
        table = f'<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="0">{"".join(rows)}</TABLE>'
        title = quote(f"What policies allow\n{self.note}".strip())
        return (
            f"digraph matrix {{ graph [label={title}, labelloc=t, fontname=Helvetica];\n"
            "  node [shape=plain, fontname=Helvetica, fontsize=11];\n"
            f"  table [label=<{table}>];\n}}"
        )

    def _legend(self) -> dict[str, str]:
        """Return what the signs mean: of namespaces, for some pair of their workloads."""
        if not any(node.kind == flowgraph.NAMESPACE for node in self.nodes):
            return MEANINGS
        some = {sign: f"{MEANINGS[sign]} for some of them" for sign in "+o"}
        return some | {".": "nothing for any of them", "/": ASIDE}

    def _cell(self, source: Node, destination: Node, box: str) -> str:
        sign = self.sign(source, destination)
        allowed = self.cells.get((source.key, destination.key)) or MEANINGS[sign]
        told = escape(f"{_line(source)} to {_line(destination)}: {allowed}", quote=True)
        return f'<TD {box} BGCOLOR="{_SIGNS[sign]}" TITLE="{told}" HREF=" ">{sign}</TD>'

    def picture(self) -> Picture:
        """Draw it as SVG."""
        return render(self.dot(), self.alt(), edges=0)

    def table(self) -> str:
        """Return the pairs that are connected as an HTML table."""
        rows = [[pair["from"], pair["to"], pair["ports"]] for pair in self.to_json()["connections"]]
        return html_table(["from", "to", "ports"], rows, "What policies allow")

    def file(self, form: str) -> bytes:
        """Draw it as svg, png, pdf or dot."""
        return draw(self.dot(), self.alt(), edges=0, form=form)

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain values."""
        names = {node.key: _line(node, node.label) for node in self.nodes}
        return {
            "title": self.alt(),
            "connections": [
                {"from": names[source], "to": names[destination], "ports": str(ports)}
                for (source, destination), ports in sorted(self.cells.items())
            ],
        }


def _order(node: Node) -> tuple[bool, str, str]:
    return (node.kind == flowgraph.OUTSIDE, node.namespace, node.label)


def _line(node: Node, names: str = "") -> str:
    """Return a node in one line, with all names or those that a picture has."""
    text = flowgraph.one_line(names or node.drawn)
    return f"{node.namespace}/{text}" if node.namespace else text


def policies_file(
    found: Connections, form: str, *, title: str, namespaces: Sequence[str] = ()
) -> bytes:
    """Draw what policies allow as a graph, or as a matrix where a graph takes too long."""
    graph = flowgraph.of_connections(found, title=title, namespaces=namespaces)
    if len(graph.edges) <= flowgraph.READABLE_EDGES or form == "dot":
        try:
            return graph.file(form)
        except ProgramError:  # a layout may take for ever; a matrix never does
            pass
    table = Allowed.of(found, namespaces=namespaces)
    why = f"a matrix, since {len(graph.edges)} edges make no readable graph"
    return replace(table, note=f"{why}; {table.note}".strip("; ")).file(form)
