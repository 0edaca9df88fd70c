"""The policy graph as a picture whose nodes and edges answer "why": by click, Enter or a choice.

One piece of HTML holds everything: the SVG, the answers as JSON, a short script without any
library (``clickable.js``), and a table that says the same. So it needs no kernel and no request,
works in a notebook that was saved or made into a page, and where scripts and SVG are taken out
(GitHub, a notebook that is not trusted) the table is left.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.graphs.flowgraph import ends_of, one_line
from k8slab.graphs.reasons import Reasons, nodes_to_choose
from k8slab.graphs.svg import html_table

if TYPE_CHECKING:
    from k8slab.graphs.flowgraph import FlowGraph, Node
    from k8slab.policy.estate import Estate

MOST_TO_CHOOSE = 24
"""Of more workloads not every pair can be asked about in the picture: the answers are in it."""

_SCRIPT = Path(__file__).with_suffix(".js")
_STYLE = """\
@ROOT@ svg{max-width:100%;height:auto}
@ROOT@ [role=button]{cursor:pointer}
@ROOT@ [role=button]:focus{outline:2px solid #1d4ed8;outline-offset:2px}
@ROOT@ [aria-pressed=true] text{text-decoration:underline;font-weight:bold}
@ROOT@ [aria-pressed=true]>path:not(.wide),@ROOT@ [aria-pressed=true]>polygon{stroke-width:3}
@ROOT@ label{margin-right:1em}
@ROOT@ output{display:block;white-space:pre-wrap;font-family:monospace;margin:6px 0}
"""


@dataclass(frozen=True)
class Clickable:
    """A policy graph with the reasons of its edges."""

    graph: FlowGraph
    estate: Estate

    def html(self) -> str:
        """Return the picture, the answers, and the table."""
        picture = self.graph.picture()
        details = f"<details><summary>The same as a table</summary>{self.table()}</details>"
        if picture.note:  # there is nothing to click: the note says why
            return picture.html() + details
        data = json.dumps(self._data(), separators=(",", ":")).replace("<", "\\u003c")
        name = hashlib.sha256((picture.svg + data).encode()).hexdigest()[:10]
        root = f'[data-k8slab="{name}"]'
        script = _SCRIPT.read_text(encoding="utf-8").replace("@ROOT@", root)
        svg = picture.svg.replace(' id="', f' id="{name}-')
        return (
            f'<div data-k8slab="{name}"><style>{_STYLE.replace("@ROOT@", root)}'
            f'</style><p class="k8slab-hint" hidden>Click an edge or a node (or Tab and Enter)'
            f" to see why it is there{_choosing(self._choices)}</p>{svg}"
            f'<p class="k8slab-choice" hidden>{self._boxes()}</p>'
            f'<output role="status" aria-live="polite"></output>'
            f'<script type="application/json">{data}</script></div>'
            f"<script>{script}</script>{details}"
        )

    def table(self) -> str:
        """Return the edges with their reasons in short as an HTML table."""
        rows = [[*each[:2], each[2], why] for each, why in self._rows]
        return html_table(["from", "to", "ports", "why"], rows, self.graph.title)

    def text(self) -> str:
        """Return the same as lines."""
        lines = [f"{each[0]} -> {each[1]}: {each[2]} ({why})" for each, why in self._rows]
        note = [self.graph.note] if self.graph.note else []
        return "\n".join([self.graph.title, *note, *(lines or ["nothing is allowed"])])

    @cached_property
    def _reasons(self) -> Reasons:
        return Reasons(self.estate)

    @cached_property
    def _rows(self) -> list[tuple[tuple[str, str, str], str]]:
        return [
            (
                (*ends_of(edge), one_line(edge.label)),
                self._reasons.brief(edge.source, edge.destination),
            )
            for edge in self.graph.edges
        ]

    @cached_property
    def _choices(self) -> list[Node]:
        found = nodes_to_choose(self.graph.nodes)
        return found if len(found) <= MOST_TO_CHOOSE else []

    def _boxes(self) -> str:
        if not self._choices:
            return ""
        names = self.graph.names()
        options = "".join(
            f'<option value="{names[node.key]}">{escape(_line(node))}</option>'
            for node in self._choices
        )
        return (
            f"<label>from <select><option></option>{options}</select></label>"
            f"<label>to <select><option></option>{options}</select></label>"
        )

    def _data(self) -> dict[str, Any]:
        """Return the answers: by node, and by pair; equal texts are there once."""
        names = self.graph.names()
        edges = {
            f"edge{number}": f"{names[edge.source.key]} {names[edge.destination.key]}"
            for number, edge in enumerate(self.graph.edges)
        }
        wanted = {(edge.source, edge.destination) for edge in self.graph.edges}
        wanted |= {(a, b) for a in self._choices for b in self._choices if _asked(a, b)}
        found = {
            f"{names[a.key]} {names[b.key]}": self._reasons.pair(a, b) for a, b in sorted(wanted)
        }
        texts = list(dict.fromkeys(found.values()))
        numbers = {text: number for number, text in enumerate(texts)}
        return {
            "edges": edges,
            "nodes": {names[node.key]: self._reasons.node(node) for node in self.graph.nodes},
            "pairs": {pair: numbers[text] for pair, text in found.items()},
            "texts": texts,
        }


def _asked(source: Node, destination: Node) -> bool:
    """Say whether policies decide about a pair: some pod has to be in it."""
    if source == destination:
        return bool(source.other)
    return bool(source.namespace or destination.namespace)


def _line(node: Node) -> str:
    text = one_line(node.drawn)
    return f"{node.namespace}/{text}" if node.namespace else text


def _choosing(choices: list[Node]) -> str:
    return ", or choose two workloads to see why not." if choices else "."
