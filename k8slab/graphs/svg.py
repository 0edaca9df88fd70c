"""Pictures as SVG text with a title, which screen readers read."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: `svg` text, `alt` text that says the same, and a note about limits."""

    svg: str
    alt: str
    note: str = ""

    def html(self) -> str:
        """Return a figure: the picture with its alt text, as an image without scripts."""
        data = base64.b64encode(self.svg.encode()).decode()
        caption = f"<figcaption>{escape(self.note)}</figcaption>" if self.note else ""
        return (
            f'<figure style="margin:0"><img alt="{escape(self.alt, quote=True)}" '
            f'style="max-width:100%" src="data:image/svg+xml;base64,{data}"/>{caption}</figure>'
        )


def titled(svg: str, title: str) -> str:
    """Put role, label and title into the outermost ``svg`` element."""
    start = svg.index("<svg")
    end = svg.index(">", start) + 1
    head = svg[start : end - 1].replace("<svg", '<svg role="img"', 1)
    label = escape(title, quote=True)
    body = re.sub(r"^\s*<title>.*?</title>", "", svg[end:], count=1, flags=re.DOTALL)
    return f'{head} aria-label="{label}"><title>{escape(title)}</title>{body}'


def html_table(head: list[str], rows: list[list[str]], caption: str = "") -> str:
    """Return a plain HTML table with row and column headers; all text is escaped."""
    left = 'style="text-align:left"'  # JupyterLab's own style pushes words to the right
    top = "".join(f'<th scope="col" {left}>{escape(cell)}</th>' for cell in head)
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td {left}>{escape(cell)}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row" {left}>{escape(first)}</th>{cells}</tr>')
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{told}<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
