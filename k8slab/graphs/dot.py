"""From DOT text to a picture, with a budget: a layout that takes minutes is no answer.

`dot` on a random graph of 200 nodes and 2,000 edges does not finish. So a graph with more
edges than `EDGES` is not given to it at all, and one that takes longer than `SECONDS` is
stopped; `neato -n`-like fallbacks are worse than a sentence. The picture itself then says
why it is empty, and the table beside it has everything.
"""

from __future__ import annotations

from html import escape

from k8slab import programs
from k8slab.errors import EnvironmentLacksError
from k8slab.graphs.svg import Picture, titled

EDGES = 600
SECONDS = 8.0


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
