"""From DOT text to a picture, with a budget: a layout that takes minutes is no answer.

`dot` on a random graph of 200 nodes and 2,000 edges does not finish. So a graph with more
edges than `EDGES` is not given to it at all, and one that takes longer than `SECONDS` is
stopped; `neato -n`-like fallbacks are worse than a sentence. The picture itself then says
why it is empty, and the table beside it has everything.
"""

from __future__ import annotations

import tempfile
from html import escape
from pathlib import Path

from k8slab import programs
from k8slab.errors import EnvironmentLacksError, UsageError
from k8slab.graphs.svg import Picture, titled

EDGES = 600
SECONDS = 8.0
FORMATS = ("svg", "png", "pdf", "dot")
ROOM = 'margin="0.2,0.055"'
"""For boxes with lines that begin at the left: browsers draw letters up to a twentieth wider than
`dot` reckons, which would stand out at the right. (Inches; it has 0.11 by itself.)"""


def quote(text: str) -> str:
    """Return a DOT string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def render(dot: str, alt: str, *, edges: int) -> Picture:
    """Draw DOT text as SVG; `edges` is how many it has, `alt` what it shows in words."""
    if edges > EDGES:
        return _instead(alt, f"{edges} edges are too many to draw (at most {EDGES})")
    try:
        done = programs.run(["dot", "-Tsvg"], stdin=dot, deadline=SECONDS)
    except EnvironmentLacksError as error:  # not there, too slow, or it refused
        return _instead(alt, error.args[0].splitlines()[0], error.hint)
    return Picture(titled(done.stdout[done.stdout.index("<svg") :], alt), alt)


def draw(dot: str, alt: str, *, edges: int, form: str) -> bytes:
    """Return the picture as a file of this form: svg, png, pdf, or the DOT text itself.

    Raises `UsageError` for a graph with too many edges, `EnvironmentLacksError` when `dot` is
    missing or does not end in time.
    """
    if form == "dot":
        return f"{dot}\n".encode()
    if edges > EDGES:
        raise UsageError(
            f"{edges} edges are too many to draw (at most {EDGES})",
            hint="take `k8slab graph matrix`, or less of the estate: --namespace, --focus",
        )
    with tempfile.TemporaryDirectory(prefix="k8slab-graph-") as directory:
        file = Path(directory) / f"graph.{form}"
        programs.run(["dot", f"-T{form}", "-o", str(file)], stdin=dot, deadline=SECONDS)
        drawn = file.read_bytes()
    if form != "svg":
        return drawn
    text = drawn.decode()
    return (titled(text[text.index("<svg") :], alt) + "\n").encode()


def _instead(alt: str, why: str, hint: str = "") -> Picture:
    note = f"No picture: {why}. The table has everything."
    lines = [note, *([hint] if hint else [])]
    texts = "".join(
        f'<text x="8" y="{24 + 18 * n}">{escape(line)}</text>' for n, line in enumerate(lines)
    )
    width, height = 16 + 8 * max(len(line) for line in lines), 24 + 18 * len(lines)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="monospace" font-size="12"><rect width="{width}" height="{height}" '
        f'fill="#ffffff" stroke="#6b7280"/>{texts}</svg>'
    )
    return Picture(titled(svg, f"{alt} {note}"), alt, note)
