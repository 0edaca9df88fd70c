"""A packet's journey as a picture: a box for each stay, arrows with what the packet was then.

The way there is drawn with full lines, the way back with dashed ones, and numbers give the
order. The place where the packet was lost is an octagon with a thick border and says so; a
refusal is an answer: the place that refused has a box with two borders, and its own word.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from k8slab.graphs.dot import ROOM, draw, quote, render
from k8slab.graphs.svg import html_table
from k8slab.probes.steps import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.graphs.svg import Picture
    from k8slab.probes.steps import Journey, Place, Step

_WIDTH = 52
"""Letters of a line in a box."""
_SHAPES = {
    "pod": 'shape=box, style="rounded,filled", fillcolor="#eef2ff"',
    "node": 'shape=box, style=filled, fillcolor="#f3f4f6"',
    "switch": 'shape=ellipse, style=filled, fillcolor="#f3f4f6"',
    "world": 'shape=house, style="filled,dashed", fillcolor="#fef3c7"',
}
_LOST = 'shape=octagon, style="filled,bold", penwidth=3, fillcolor="#fee2e2", color="#b91c1c"'
_REFUSED = 'shape=box, peripheries=2, style=filled, fillcolor="#ffedd5", color="#9a3412"'
_LEGS = {"there": 'color="#1d4ed8"', "back": 'color="#4b5563", style=dashed'}


@dataclass(frozen=True)
class _Stay:
    """One stay of the packet, or of its answer, at a place."""

    leg: str
    place: Place
    steps: tuple[Step, ...]

    @property
    def packet(self) -> str:
        """Return the packet as it left."""
        return next((step.packet for step in reversed(self.steps) if step.kind == "leaves"), "")


@dataclass(frozen=True)
class JourneyGraph:
    """The picture of a journey."""

    journey: Journey

    def dot(self) -> str:
        """Return the picture as DOT text."""
        stays = list(self._stays())
        nodes, drawn = self._nodes(stays)
        title = quote("\n".join(textwrap.wrap(self.journey.headline(), 2 * _WIDTH)))
        lines = [
            f"digraph journey {{ graph [label={title}, labelloc=t, fontname=Helvetica];",
            "  graph [fontsize=13, rankdir=TB, nodesep=0.35, ranksep=0.6];",
            f"  node [fontname=Helvetica, fontsize=10, {ROOM}];",
            "  edge [fontname=Helvetica, fontsize=9];",
            *(f"  {line}" for line in drawn),
        ]
        number = 0
        for (stay, name), (after, other) in pairwise(zip(stays, nodes, strict=True)):
            if name == other:  # where the answer begins
                continue
            number += 1
            # The spaces keep the text off the arrow, which passes close by.
            label = quote(f"  {number}  {stay.packet}".replace(" > ", "\n  to "))
            back = ", constraint=false" if after.leg == "back" else ""
            lines.append(f"  {name} -> {other} [label={label}, {_LEGS[after.leg]}{back}];")
        return "\n".join([*lines, "}"])

    def alt(self) -> str:
        """Say in words what the picture shows."""
        told = [self.journey.headline() + "."]
        for leg, word in (("there", "There"), ("back", "Back")):
            places = [str(stay.place) for stay in self._stays() if stay.leg == leg]
            if places:
                told.append(f"{word}: {', '.join(places)}.")
        return " ".join(told)

    def picture(self) -> Picture:
        """Draw it as SVG."""
        return render(self.dot(), self.alt(), edges=0)

    def file(self, form: str) -> bytes:
        """Draw it as svg, png, pdf or dot."""
        return draw(self.dot(), self.alt(), edges=0, form=form)

    def table(self) -> str:
        """Return the same as an HTML table."""
        rows = [[str(number), *row] for number, row in enumerate(self.journey.rows(), 1)]
        heads = ["step", "way", "where", "microseconds", "what", "packet"]
        return html_table(heads, rows, self.journey.headline())

    def to_json(self) -> dict[str, Any]:
        """Return the journey as plain values."""
        return self.journey.to_json()

    def _stays(self) -> Iterator[_Stay]:
        """Yield the stays in order: a packet that comes in again begins another one."""
        for (leg, place), steps in groupby(self.journey.steps, key=lambda s: (s.leg, s.place)):
            yield _Stay(leg, place, tuple(steps))

    def _nodes(self, stays: list[_Stay]) -> tuple[list[str], list[str]]:
        """Return the box of each stay, and the boxes; the way back uses those of the way there."""
        names: list[str] = []
        boxes: dict[str, list[_Stay]] = {}
        for stay in stays:
            same = [
                name
                for name, members in boxes.items()
                if members[0].place == stay.place and stay.leg == "back" != members[-1].leg
            ]
            name = same[-1] if same else f"s{len(boxes)}"
            boxes.setdefault(name, []).append(stay)
            names.append(name)
        return names, [f"{name} [{self._box(members)}];" for name, members in boxes.items()]

    def _box(self, stays: list[_Stay]) -> str:
        ended = any(step.kind in ENDINGS for stay in stays for step in stay.steps)
        lines = [str(stays[0].place)]
        for stay in stays:
            back = "back: " if stay.leg == "back" else ""
            for step in stay.steps:
                if step.kind in ("enters", "leaves", "established"):
                    continue
                word = back
                if step.kind in ENDINGS:
                    where = "AFTER THIS" if step.facts.get("after") else "HERE"
                    word = f"{self.journey.ends_as.upper()} {where}: "
                lines += textwrap.wrap(f"{word}{step.text}", _WIDTH, subsequent_indent="   ")
        end = _REFUSED if self.journey.ends_as == "refused" else _LOST
        shape = end if ended else _SHAPES[stays[0].place.kind]
        label = quote("\n".join([*lines, ""])).replace("\\n", "\\l")  # lines begin at the left
        return f"{shape}, label={label}"
