"""The drawings of the book, as DOT: the rooms, drawn from the import rules themselves.

The import rules in ``pyproject.toml`` are what CI holds, so the picture cannot say otherwise.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_HEAD = """\
digraph rooms {
  graph [fontname="sans-serif", nodesep=0.4, tooltip="The rooms of k8slab"];
  node [shape=plain, fontname="sans-serif", fontsize=12];
"""


def rooms() -> str:
    """Return the rooms in their layers: each may import what stands below it."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {
        tuple(contract["containers"]): contract["layers"]
        for contract in rules["tool"]["importlinter"]["contracts"]
        if "containers" in contract
    }
    parts = [_HEAD]
    parts += _layers("k8slab", contracts[("k8slab",)], "k8slab", "#eef3fa")
    parts += _layers("embedded", contracts[("k8slab.embedded",)], "inside embedded", "#f6f1e7")
    return "\n".join([*parts, "}", ""])


def _layers(name: str, layers: list[Any], title: str, colour: str) -> list[str]:
    """Return one table: a row for each layer, a cell for each room."""
    widest = max(layer.count("|") + 1 for layer in layers)
    rows = [f'<TR><TD COLSPAN="{widest}" BORDER="0"><B>{title}</B></TD></TR>']
    for layer in layers:
        members = [room.strip() for room in layer.split("|")]
        spare = widest - len(members)  # the last room of a row takes what is left
        cells = [
            f'<TD BGCOLOR="white" COLSPAN="{1 + (spare if room == members[-1] else 0)}">{room}</TD>'
            for room in members
        ]
        rows.append(f"<TR>{''.join(cells)}</TR>")
    table = (
        f'<TABLE BGCOLOR="{colour}" BORDER="0" CELLBORDER="1" CELLSPACING="4" CELLPADDING="6">'
        f"{''.join(rows)}</TABLE>"
    )
    return [f'  "{name}" [label=<{table}>];']
