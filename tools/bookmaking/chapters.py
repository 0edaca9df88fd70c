"""Turn a lab's notebook into a page of the book, in MyST Markdown.

Text cells stay as they are. A code cell is shown as learners get it, and under it what it printed
when the book was made. What a reader should find out first is folded: what a prediction is
decided by, and an answer with its outputs. Answers of transfers are not shown at all, since these
are what a learner shows the idea with. Cells that only authors have are left out.

What a learner is told after choosing (the right reason with its source) is folded too, and made of
the lab, since nobody chooses anything while the book is made (`reasons`).

Outputs are the HTML that a notebook shows (each view of ours says the same without widgets and
scripts), set into the page as it is: not searched, so that no answer is found by a search.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from bookmaking import reasons
from bookmaking.parts import DIRECTIVE
from k8slab.course.release import BEGIN, END, strip_solutions
from k8slab.course.review import solution_regions
from k8slab.notebook.views import NOT_PREDICTED, paragraphs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k8slab.course import Lab

_CALL = re.compile(r'lab\.(begin|check|predict|quiz)\("([^"]+)"')
_ANCHORS = {"begin": "exercise", "check": "exercise", "predict": "prediction", "quiz": "quiz"}
FOLDED = {"observe": "What was observed", "quiz_result": "The answers"}
"""Calls whose outputs a reader should not see before thinking, and what stands there instead."""
WHY = "What is right, and why"
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_NOT_PREDICTED = paragraphs(NOT_PREDICTED)
"""True of each observation in a book, and of no use to its reader."""
_NOTEBOOK = re.compile(r"\[([^\]]+)\]\((?:[^()\s]*/)?([^()/\s]+)\.ipynb\)")
"""A link to a notebook, in Markdown."""

NOTE = """\
:::{note}
This is the lab as it ran on k8slab's own cluster when the book was made. Addresses, ages and the
random ends of names differ on yours. Answers are folded, and so is what was observed, and why:
predict first. To work through it yourself: `k8slab lab NUMBER`.
:::"""
NOT_RUN = """\
:::{note}
This is the lab without its outputs: the machine that made the book could run no cluster.
To work through it yourself: `k8slab lab NUMBER`.
:::"""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One notebook: its source with answers, what a learner has of it, and whether it ran."""

    lab: Lab
    cells: list[Any]
    ran: bool
    about: str = ""
    """Lines for the head of the page: time, where its topics are listed."""
    terms: Mapping[str, str] = field(default_factory=dict)
    """Terms of the glossary, by the lower-case word in which a text may have them."""
    pages: frozenset[str] = frozenset()
    """The chapters of this book, by the names of their notebooks."""
    claims: reasons.Claims = field(default_factory=dict)
    """The claims of the course, by their ids."""

    def page(self) -> str:
        """Return the page."""
        parts = _Parts(self)
        return "\n\n".join(part for part in parts.all() if part) + "\n"


def anchor(lab: str, kind: str, name: str) -> str:
    """Return the name by which pages refer to an exercise, a prediction or a quiz of a lab."""
    return f"{lab}-{kind}-{name}"


def _shown(cells: list[Any]) -> list[Any]:
    return [cell for cell in cells if "solution" not in cell["metadata"].get("tags", ())]


class _Parts:
    """The parts of one page, in order; remembers what was named already."""

    def __init__(self, chapter: Chapter) -> None:
        self.chapter = chapter
        self.named: set[str] = set()
        self.linked: set[str] = set()
        self.exercise = ""

    def all(self) -> Iterator[str]:
        first = True
        for cell in _shown(self.chapter.cells):
            if cell["cell_type"] != "markdown":
                yield from self.code(cell)
            elif first:
                heading, _, rest = cell["source"].partition("\n")
                yield from (heading, self.head(), self.text(rest))
                first = False
            else:
                yield self.text(cell["source"])

    def head(self) -> str:
        note = NOTE if self.chapter.ran else NOT_RUN
        number = self.chapter.lab.name.partition("-")[0]
        return f"{note.replace('NUMBER', number)}\n\n{self.chapter.about}"

    def text(self, source: str) -> str:
        """Return a text with links to chapters for those to notebooks.

        The first bold mention of a term becomes a link to the glossary.
        """

        def link(found: re.Match[str]) -> str:
            term = self.chapter.terms.get(found[1].lower())
            if term is None or term in self.linked:
                return found[0]
            self.linked.add(term)
            return f"**{{term}}`{found[1]} <{term}>`**"

        def chapter(found: re.Match[str]) -> str:
            return f"[{found[1]}]({found[2]}.md)" if found[2] in self.chapter.pages else found[1]

        return _BOLD.sub(link, _NOTEBOOK.sub(chapter, source.strip()))

    def code(self, cell: Any) -> Iterator[str]:
        source = cell["source"]
        for method, name in _CALL.findall(source):
            if method == "begin":
                self.exercise = name
            place = anchor(self.chapter.lab.name, _ANCHORS[method], name)
            if place not in self.named:
                self.named.add(place)
                yield f"({place})="
        yield _fenced(_language(source), strip_solutions(source))
        shown = "".join(_output(one) for one in cell.get("outputs", ()))
        answers = solution_regions(source) if BEGIN in source else []
        if answers:
            yield self.answer(answers, shown)
        elif shown:
            framed = _framed(shown)
            summary = next((FOLDED[call] for call in FOLDED if f"lab.{call}(" in source), "")
            yield _raw(_folded(summary, framed) if summary else framed)
        if why := reasons.told(source, self.chapter.lab, self.chapter.claims):
            yield _raw(_folded(WHY, _framed(why)))

    def answer(self, answers: list[str], shown: str) -> str:
        """Return an answer, folded; of a transfer what the check said, and no answer."""
        exercise = self.chapter.lab.exercises.get(self.exercise)
        if exercise is not None and exercise.transfer:
            return "The answer is not printed here: it is what you show with this exercise."
        text = "\n".join(_dedented(one) for one in answers)
        printed = f"<pre>{escape(text)}</pre>{_framed(shown) if shown else ''}"
        return _raw(_folded("One answer, and what came of it", printed))


def _language(source: str) -> str:
    return "apply" if source.startswith("%%apply") else "ipython3"


def _dedented(text: str) -> str:
    lines = text.rstrip("\n").split("\n")
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[margin:] for line in lines)


def _fenced(language: str, text: str) -> str:
    assert END not in text
    fence = _fence(text)
    return f"{fence}{{code-block}} {language}\n{text}\n{fence}"


def _raw(html: str) -> str:
    fence = _fence(html)
    return f"{fence}{{{DIRECTIVE}}}\n{html}\n{fence}"


def _fence(text: str) -> str:
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    return "`" * max(3, longest + 1)


def _framed(html: str) -> str:
    return f'<div class="k8slab-output">{html}</div>'


def _folded(summary: str, html: str) -> str:
    return f'<details class="k8slab-fold"><summary>{escape(summary)}</summary>{html}</details>'


def _output(found: Any) -> str:
    """Return one output of a cell as HTML."""
    if found["output_type"] == "stream":
        return _preformatted(_as_terminal(found["text"]))
    if found["output_type"] == "error":
        return _preformatted(f"{found['ename']}: {found['evalue']}")
    data = found["data"]
    if "text/html" in data:
        view = data["text/html"].replace(_NOT_PREDICTED, "")
        return f'<div class="k8slab-view">{view}</div>'
    return _preformatted(data.get("text/plain", ""))


def _as_terminal(text: str) -> str:
    """Return what is left of a text where lines were written over."""
    return "\n".join(line.rstrip().rpartition("\r")[2] for line in text.split("\n"))


def _preformatted(text: str) -> str:
    return f"<pre>{escape(text.rstrip())}</pre>" if text.strip() else ""
