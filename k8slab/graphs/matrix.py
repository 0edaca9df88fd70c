"""The connectivity matrix as a picture and as a table: a sign in every cell, colour besides."""

from __future__ import annotations

from html import escape
from math import ceil
from typing import TYPE_CHECKING

from k8slab.graphs.svg import Picture, html_table, titled
from k8slab.probes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.probes import Matrix, Party, Port

CELL = 26
MARGIN = 8
ELLIPSIS = "\u2026"
LETTER = 7.25
"""Width of a letter at the font size used, in pixels: DejaVu Sans Mono has 0.602 of its size."""

# Fill and ink: readable side by side for colour-blind eyes, contrast of 4.5 and more.
_COLOURS = {
    Outcome.OPEN: ("#d7f0dd", "#14532d"),
    Outcome.REFUSED: ("#fde3c8", "#7c2d12"),
    Outcome.SILENT: ("#e5e7eb", "#1f2937"),
    Outcome.UNRESOLVED: ("#e0e7ff", "#312e81"),
    Outcome.FAILED: ("#ffffff", "#991b1b"),
}


def short(party: Party, namespaces: set[str]) -> str:
    """Return a party's name without the namespace in which most are; see `_home`."""
    text, home = str(party), _home(namespaces)
    if not home or not party.namespace:
        return text
    if party.namespace == home:
        return text.replace(f"{home}/", "", 1)
    return text.replace(f"{home}-", ELLIPSIS, 1)


def _home(namespaces: set[str]) -> str:
    """Return the namespace after which all the others are called, as those of one exercise are."""
    spaces = namespaces - {""}
    shortest = min(spaces, key=len, default="")
    return shortest if all(s.startswith(f"{shortest}-") for s in spaces - {shortest}) else ""


def _note(matrix: Matrix) -> str:
    spaces = _namespaces(matrix) - {""}
    home = _home(spaces)
    if not home or len(spaces) == 1:
        return ""
    return f"Names without a namespace are in {home}; {ELLIPSIS} stands for {home}-"


def _columns(matrix: Matrix) -> list[tuple[Party, Port, str]]:
    spaces = _namespaces(matrix)
    return [
        (party, port, f"{short(party, spaces)} {port}")
        for party in matrix.destinations
        for port in matrix.ports
    ]


def _namespaces(matrix: Matrix) -> set[str]:
    return {party.namespace for party in (*matrix.sources, *matrix.destinations)}


def summary(matrix: Matrix) -> str:
    """Say in one sentence what the matrix shows."""
    counts = dict.fromkeys(Outcome, 0)
    for seen in matrix.cells.values():
        counts[seen.outcome] += 1
    told = ", ".join(f"{number} {outcome.value}" for outcome, number in counts.items() if number)
    note = f" {found}." if (found := _note(matrix)) else ""
    return f"Connectivity matrix, {len(matrix.cells)} flows: {told or 'none'}.{note}"


def table(matrix: Matrix) -> str:
    """Return the matrix as an HTML table of signs and words."""
    spaces = _namespaces(matrix)
    columns = _columns(matrix)
    rows = []
    for source in matrix.sources:
        cells = [matrix.cells.get((source, party, port)) for party, port, _ in columns]
        told = [f"{c.outcome.sign} {c.outcome.value}" if c else "" for c in cells]
        rows.append([short(source, spaces), *told])
    return html_table(["from / to", *(name for _, _, name in columns)], rows, summary(matrix))


def picture(matrix: Matrix) -> Picture:
    """Draw the matrix: a row for each source, a column for each destination and port."""
    spaces = _namespaces(matrix)
    columns = _columns(matrix)
    left = MARGIN + _widest(short(s, spaces) for s in matrix.sources) + 8
    top = MARGIN + _widest(name for _, _, name in columns) + 8
    parts = [_column_label(left + n * CELL, top, name) for n, (_, _, name) in enumerate(columns)]
    for row, source in enumerate(matrix.sources):
        y = top + row * CELL
        parts.append(
            f'<text x="{left - 6}" y="{y + 17}" text-anchor="end">'
            f"{escape(short(source, spaces))}</text>"
        )
        parts += [
            _cell(left + n * CELL, y, matrix.cells.get((source, party, port)))
            for n, (party, port, _) in enumerate(columns)
        ]
    told = _legend(matrix)
    y = top + len(matrix.sources) * CELL + 20
    legend = "".join(
        f'<text x="{MARGIN}" y="{y + n * 16}">{escape(line)}</text>' for n, line in enumerate(told)
    )
    foot = y + 16 * len(told) + MARGIN
    width = max(left + len(columns) * CELL, MARGIN + _widest(told)) + MARGIN
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{foot}" '
        f'viewBox="0 0 {width} {foot}" font-family="monospace" font-size="12">'
        f'<rect width="{width}" height="{foot}" fill="#ffffff"/>'
        f"{''.join(parts)}{legend}</svg>"
    )
    alt = f"{summary(matrix)} The table beside it has every cell."
    return Picture(titled(svg, alt), alt)


def _column_label(x: int, top: int, name: str) -> str:
    at = f"{x + 17},{top - 6}"
    return f'<text x="{x + 17}" y="{top - 6}" transform="rotate(-90 {at})">{escape(name)}</text>'


def _cell(x: int, y: int, seen: object) -> str:
    box = f'<rect x="{x}" y="{y}" width="{CELL - 2}" height="{CELL - 2}" rx="3" '
    outcome = getattr(seen, "outcome", None)
    if outcome is None:
        return f'{box}fill="#ffffff" stroke="#d1d5db" stroke-dasharray="2 2"/>'
    fill, ink = _COLOURS[outcome]
    return (
        f'{box}fill="{fill}" stroke="{ink}"/><text x="{x + 12}" y="{y + 17}" '
        f'text-anchor="middle" fill="{ink}" font-weight="bold">{outcome.sign}</text>'
    )


def _legend(matrix: Matrix) -> list[str]:
    used = {seen.outcome for seen in matrix.cells.values()}
    lines = [f"{o.sign} {o.value}: {o.meaning}" for o in Outcome if o in used]
    return [*lines, *([note] if (note := _note(matrix)) else [])]


def _widest(lines: Iterable[str]) -> int:
    """Return the pixels that the longest of some lines takes."""
    return ceil(LETTER * max(map(len, lines), default=0))
