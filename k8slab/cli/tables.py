"""Tables as results: in columns, as CSV, as Markdown, or as values for programs."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.cli.console import show, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORMS = ("table", "json", "csv", "md")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people, and the same as `values` for programs, which need not be text alone."""

    name: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    values: Sequence[dict[str, Any]] = field(default=())


def write(tables: Sequence[Table], form: str) -> None:
    """Write tables in one of `FORMS`: alone, or each under its name."""
    if form == "json":
        found = {table.name.replace(" ", "_"): table.values for table in tables}
        show_json(found if len(found) > 1 else tables[0].values)
        return
    for number, table in enumerate(tables):
        if number:
            show(f"\n{table.name}")
        if form == "csv":
            sys.stdout.write(_csv(table.heads, table.rows))
        elif form == "md":
            show(_markdown(table.heads, table.rows))
        else:
            show_table(table.heads, table.rows)


def _csv(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return comma-separated values (RFC 4180)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(heads)
    writer.writerows(rows)
    return text.getvalue()


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines
    )
