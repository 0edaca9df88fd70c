"""One look-up of a name step by step, as DOT text, as a table, and as lines of text.

Each name that one server was asked for is a box; what came back stands in it. A name that does
not exist is dashed, an unanswered question dotted, the one with the answer has a double frame.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from k8slab.graphs.dot import quote, render
from k8slab.graphs.svg import Picture, html_table
from k8slab.probes.lookups import NO_ANSWER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.probes.lookups import Lookup, Query

LISTED = 4
"""More addresses than these are counted; the table has each."""

HEAD = ["step", "asked for", "type", "server", "answer"]


def summary(lookup: Lookup) -> str:
    """Say in one sentence what the look-up cost and what came of it."""
    names = len({query.name for query in lookup.queries})
    count = len(lookup.queries)
    cost = (
        f"{count} {'query' if count == 1 else 'queries'} for "
        f"{names} {'name' if names == 1 else 'names'}"
    )
    return f"{lookup.name} from {lookup.pod}: {cost}; {_ending(lookup)}"


def _ending(lookup: Lookup) -> str:
    found = lookup.addresses
    if len(found) > LISTED:
        return f"found {len(found)} addresses"
    return f"found {', '.join(found)}" if found else "nothing was found"


def ranking(lookups: Sequence[Lookup]) -> str:
    """Order look-ups by what they cost: ``fewest queries first: web 2 = db 2 < example.com 8``.

    Where a query was not answered it was sent again, so what was counted is no comparison.
    """
    if any(query.answer == NO_ANSWER for lookup in lookups for query in lookup.queries):
        return "a query was not answered, and sent again: the numbers cannot be compared"
    ordered = sorted(lookups, key=lambda one: len(one.queries))
    costs = [len(one.queries) for one in ordered]
    signs = ["", *(" = " if few == more else " < " for few, more in itertools.pairwise(costs))]
    told = [
        f"{sign}{one.name} {len(one.queries)}" for sign, one in zip(signs, ordered, strict=True)
    ]
    return f"fewest queries first: {''.join(told)}"


def rows(lookup: Lookup) -> list[list[str]]:
    """Return the cells of the table: a row for each query."""
    return [
        [str(number), query.name, query.type, query.server, query.told]
        for number, (_, queries) in enumerate(lookup.steps(), 1)
        for query in queries
    ]


def table(lookup: Lookup) -> str:
    """Return the look-up as an HTML table."""
    return html_table(HEAD, rows(lookup), summary(lookup))


def text(lookup: Lookup) -> str:
    """Return the look-up as lines of text in columns."""
    cells = [HEAD, *rows(lookup)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([summary(lookup), *(lines if lookup.queries else [])])


def alt(lookup: Lookup) -> str:
    """Say in words what the picture shows."""
    parts = [
        f"step {number}: {name} {_told(queries)}"
        for number, (name, queries) in enumerate(lookup.steps(), 1)
    ]
    return f"DNS look-up of {summary(lookup)}. {'; '.join(parts) or 'Nothing was asked'}."


def dot(lookup: Lookup) -> str:
    """Return the picture as DOT text."""
    asker = f"{lookup.pod}\nlooks up {lookup.name}"
    if lookup.options or lookup.search:
        asker += f"\n{lookup.options or 'no options'}, {len(lookup.search)} search domains"
    lines = [
        "digraph lookup {",
        '  edge [color="#4b5563"]; node [fontname="Helvetica", fontsize=11, shape=box];',
        f'  pod [shape=ellipse, style=filled, fillcolor="#eef2ff", label={quote(asker)}];',
    ]
    before = "pod"
    for number, (name, queries) in enumerate(lookup.steps(), 1):
        kinds = ", ".join(query.type for query in queries)
        label = f"{number}. {name}\n{kinds} asked of {queries[0].server}\n{_told(queries)}"
        lines.append(f"  step{number} [{_style(queries)}, label={quote(label)}];")
        lines.append(f"  {before} -> step{number};")
        before = f"step{number}"
    end = _ending(lookup)
    lines.append(f"  end [shape=ellipse, label={quote(end)}]; {before} -> end;")
    return "\n".join([*lines, "}"])


def picture(lookup: Lookup) -> Picture:
    """Draw it with graphviz, within the budget."""
    return render(dot(lookup), alt(lookup), edges=len(lookup.steps()) + 1)


def _told(queries: list[Query]) -> str:
    return "; ".join(dict.fromkeys(_brief(query) for query in queries))


def _brief(query: Query) -> str:
    if len(query.records) <= LISTED:
        return query.told
    return f"{len(query.records)} records" + (" (truncated)" if query.truncated else "")


def _style(queries: list[Query]) -> str:
    if any(query.records for query in queries):
        return 'peripheries=2, style=filled, fillcolor="#d7f0dd"'
    if all(query.answer == NO_ANSWER for query in queries):
        return 'style=dotted, penwidth=2, fillcolor="#ffffff"'
    return 'style="dashed,filled", fillcolor="#f3f4f6"'
