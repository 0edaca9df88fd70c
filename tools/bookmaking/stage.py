"""The sources that Sphinx gets: a copy of ``book/`` with the pages that are made for each build.

Made are the chapters, their list, the coverage, and the reference of what notebooks use. They are
not committed: they say what labs and code say, and are made again whenever the book is.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bookmaking import coverage, reference
from bookmaking.chapters import Chapter
from bookmaking.estimate import Estimate, estimate
from k8slab.challenges import catalogue
from k8slab.course import load
from k8slab.course.lab import FILE, read_yaml
from k8slab.course.release import NOTEBOOKS, notebook_file, notebook_name, read_source
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.course import Lab

ROOT = Path(__file__).parents[2]
BOOK, LABS, SOLUTIONS = ROOT / "book", ROOT / "labs", ROOT / "solutions"
COURSE = BOOK / "course"
INCLUDED = ("README.md",)
"""Files of the project that pages include; where they stand is kept."""


@dataclass(frozen=True, slots=True)
class Book:
    """A lab with its notebooks by name: the cells with answers, and how long each takes."""

    lab: Lab
    notebooks: Mapping[str, list[Any]]
    estimates: Mapping[str, Estimate]
    ran: bool


def sources(names: Sequence[str] = ()) -> list[Path]:
    """Return the sources of all released labs, or of those with these names or numbers.

    Raises `UsageError` for a name that no lab has.
    """
    found = sorted(SOLUTIONS / path.parent.name for path in LABS.glob(f"*/{FILE}"))
    known = {word: path for path in found for word in (path.name, path.name.partition("-")[0])}
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(path.name for path in found)
        raise UsageError(f"there is no lab {unknown[0]!r}", hint=f"there are: {there}")
    return sorted({known[name] for name in names}) if names else found


def stage(target: Path, executed: Mapping[str, Any], names: Sequence[str] = ()) -> Path:
    """Write all sources below `target`; return the directory that Sphinx reads.

    `executed` are the notebooks that ran; a lab of which none did has no outputs.
    """
    place = target / "book"
    shutil.copytree(BOOK, place, ignore=shutil.ignore_patterns("_build", ".*"))
    for name in INCLUDED:
        shutil.copyfile(ROOT / name, target / name)
    books = [read(source, executed) for source in sources(names)]
    terms = glossary(place / "glossary.md")
    (place / "labs").mkdir()
    pages = {
        notebook_name(book.lab.name, name): (book, name)
        for book in books
        for name in book.notebooks
    }
    for page, (book, name) in pages.items():
        made = chapter(book, name, terms=terms, pages=frozenset(pages))
        (place / "labs" / f"{page}.md").write_text(made.page(), encoding="utf-8")
    (place / "python.md").write_text(reference.page(), encoding="utf-8")
    titles = lab_titles([book.lab for book in books])
    (place / "labs" / "index.md").write_text(lab_list(books, titles), encoding="utf-8")
    promised = coverage.promises(COURSE)
    found = coverage.kept([book.lab for book in books], faults())
    text = coverage.page(titles, promised, found)
    (place / "course" / "coverage.md").write_text(text, encoding="utf-8")
    return place


def faults() -> list[str]:
    """Return the ids of the faults that a challenge can make."""
    return [one.id for one in catalogue.injectable() if one.recipe.is_file()]


def read(source: Path, executed: Mapping[str, Any]) -> Book:
    """Read one lab and its notebooks."""
    lab = load(LABS / source.name)
    notebooks, estimates, ran = {}, {}, False
    for name in NOTEBOOKS:
        if (source / f"{name}.md").exists():
            done = executed.get(notebook_name(source.name, name))
            ran = ran or done is not None
            notebooks[name] = (done or read_source(source / f"{name}.md"))["cells"]
            built = LABS / source.name / notebook_file(source.name, name)
            estimates[name] = estimate(_released(built), lab)
    return Book(lab, notebooks, estimates, ran)


def _released(path: Path) -> list[Any]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells]


def chapter(
    book: Book, name: str, *, terms: Mapping[str, str], pages: frozenset[str] = frozenset()
) -> Chapter:
    """Return the chapter of one notebook; it leads to those of the names `pages`."""
    found = book.estimates[name]
    number = book.lab.name.partition("-")[0]
    covered = f"[what this lab covers](#{coverage.anchor(number)})"
    about = (
        f"*Computed estimate: about {found.minutes} minutes ({found.told()}). What learners really"
        f" took is in their journals.* See also {covered}."
    )
    return Chapter(book.lab, book.notebooks[name], book.ran, about, terms, pages, claims())


def claims() -> dict[str, Any]:
    """Return the claims of the course by their ids."""
    return {entry["id"]: entry for entry in read_yaml(COURSE / coverage.FILES["claim"])}


def lab_titles(labs: Sequence[Lab]) -> dict[str, str]:
    """Return the titles of the course's labs by number, those that are not written yet too."""
    written = {lab.name.partition("-")[0]: lab.title for lab in labs}
    names = read_yaml(COURSE / "topics.yaml")["labs"]
    return {
        number: written.get(number, f"Lab {number}: {name.replace('-', ' ')}")
        for number, name in names.items()
    }


def lab_list(books: Sequence[Book], titles: Mapping[str, str]) -> str:
    """Return the page that lists the labs, those that are not written yet too."""
    rows = ["| lab | exercises | points | core | stretch |", "| --- | --- | --- | --- | --- |"]
    written = {book.lab.name.partition("-")[0]: book for book in books}
    for number, title in titles.items():
        book = written.get(number)
        if book is None:
            rows.append(f"| {title} | not written yet | | | |")
            continue
        points = sum(one.wishes.points for one in book.lab.exercises.values())
        times = [
            f"{book.estimates[one].minutes} min" if one in book.estimates else ""
            for one in NOTEBOOKS
        ]
        link = f"[{title}]({book.lab.name}.md)"
        rows.append(f"| {link} | {len(book.lab.exercises)} | {points:g} | {' | '.join(times)} |")
    pages = [notebook_name(book.lab.name, name) for book in books for name in book.notebooks]
    tree = "\n".join(pages)
    return f"{_LIST_HEAD}\n{chr(10).join(rows)}\n\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n"


_LIST_HEAD = """\
# The labs

Work through them in a notebook: `make lab`, or `k8slab lab 02` for one of them. The chapters here
are the same labs as they ran when the book was made, to read before, after, or on a telephone.
Each lab stands alone; 00 to 03 in their order are the easiest way in.

The minutes are **computed estimates**: words, cells, predictions and exercises at fixed rates. What
learners really took is in their journals.
"""


def glossary(page: Path) -> dict[str, str]:
    """Return the terms of the glossary by the lower-case words that a text may have for them."""
    if not page.exists():
        return {}
    text = page.read_text(encoding="utf-8")
    block = re.search(r"```\{glossary\}\n(.*?)```", text, re.DOTALL)
    lines = block[1].splitlines() if block else []
    terms = [line for line in lines if line and not line[0].isspace() and line[0] != ":"]
    return {word: term for term in terms for word in (f"{term.lower()}s", term.lower())}
