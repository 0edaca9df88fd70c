"""What an author still owes to a lab: what is missing, and what has not the promised form.

Everything that can be judged without a cluster. Each finding names its place: a file and
line, a notebook and cell, or an exercise. Whether the graders tell right answers from wrong
ones is what ``make mutants`` finds out.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from k8slab.course import deciding
from k8slab.course.answers import ALTERNATIVE, DIRECTORY, REFERENCE, SORTS, WRONG, read_answers
from k8slab.course.lab import FILE, TO_COMPLETE, WORKED, load, read_yaml
from k8slab.course.release import BEGIN, END, NOTEBOOKS, read_source, released
from k8slab.errors import K8slabError
from k8slab.grading.result import STRETCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from k8slab.course.lab import Exercise, Lab, Prediction

CELLS, WORDS, LINES = 45, 120, 15
"""Cells of a core notebook, words of a text cell, lines of a code cell: at most so many."""

PREDICTIONS, EXERCISES = (3, 5), (4, 6)
"""Of each so many stand in a core notebook."""

ONLY_IMPORT = "from k8slab import lab"
CALLS = ("begin", "check", "predict", "observe", "explain", "quiz")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that an author has to mend: where it is, and what it is."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"

    def to_dict(self) -> dict[str, str]:
        """Return it as plain JSON values."""
        return asdict(self)


def review(source: Path, course: Path | None = None) -> list[Problem]:
    """Return what is wrong with or missing in a lab's source directory, in order of its files.

    `course` holds ``topics.yaml`` and ``claims.yaml``; without it ids are not compared.
    """
    try:
        lab = load(source)
        books = {
            name: _cells(released(read_source(source / f"{name}.md")))
            for name in NOTEBOOKS
            if (source / f"{name}.md").exists()
        }
        for exercise in lab.exercises.values():
            read_answers(source, exercise)
    except K8slabError as error:
        return [Problem(str(source), str(error))]
    if "lab" not in books:
        return [Problem(str(source / "lab.md"), "is missing: the notebook with its answers")]
    found: list[Problem] = []
    if lab.name != source.name:
        told = f"field 'lab' is {lab.name!r}; it must be the directory's name, {source.name!r}"
        found.append(Problem(str(source / FILE), told))
    for name, cells in books.items():
        place = str(source / f"{name}.md")
        found += [*_form(cells, place, core=name == "lab"), *_names(cells, place, lab)]
    found += _core(books["lab"], source, lab)
    found += _beyond(books["lab"], source, lab)
    found += _met(books.values(), source, lab)
    found += _parts(books.values(), source, lab)
    found += _undecided(source, lab)
    found += _answers(source, lab)
    if course is not None:
        found += _ids(source, lab, course)
    return found


Cells = list[dict[str, Any]]


def _cells(notebook: Any) -> Cells:
    return [{"type": cell["cell_type"], "source": cell["source"]} for cell in notebook["cells"]]


def _code(cells: Cells) -> str:
    return "\n".join(cell["source"] for cell in cells if cell["type"] == "code")


def _called(cells: Cells, method: str) -> list[str]:
    """Return the first arguments of a method of `lab`, in order and without repetition."""
    return list(dict.fromkeys(re.findall(rf'lab\.{method}\("([^"]+)"', _code(cells))))


def _form(cells: Cells, place: str, *, core: bool) -> Iterator[Problem]:
    """Yield what is longer than a learner should meet, and imports that are not ours."""
    if core and len(cells) > CELLS:
        yield Problem(place, f"{len(cells)} cells, at most {CELLS} in a core")
    for number, cell in enumerate(cells):
        text, where = cell["source"], f"{place}, cell {number} ({cell['source'][:30]!r})"
        if cell["type"] == "markdown" and (words := len(text.split())) > WORDS:
            yield Problem(where, f"{words} words, at most {WORDS}")
        if cell["type"] == "code" and (lines := len(text.splitlines())) > LINES:
            yield Problem(where, f"{lines} lines, at most {LINES}")
    for line in re.findall(r"^\s*((?:import|from)\s.*)$", _code(cells), re.MULTILINE):
        if line != ONLY_IMPORT:
            yield Problem(place, f"{line!r}: a notebook imports k8slab alone ({ONLY_IMPORT})")


def _names(cells: Cells, place: str, lab: Lab) -> Iterator[Problem]:
    quizzes = {found.quiz for found in lab.predictions.values() if found.quiz}
    predictions = {found.id for found in lab.predictions.values() if not found.quiz}
    known = {"begin": set(lab.exercises), "check": set(lab.exercises), "quiz": quizzes}
    for method in CALLS:
        for name in _called(cells, method):
            if name not in known.get(method, predictions):
                there = ", ".join(sorted(known.get(method, predictions))) or "none"
                yield Problem(place, f'lab.{method}("{name}"): there are {there}')


def _core(cells: Cells, source: Path, lab: Lab) -> Iterator[Problem]:
    """Yield where the core is not the round of the course: predict, observe, explain, check."""
    place = str(source / "lab.md")
    made = _called(cells, "predict")
    if not PREDICTIONS[0] <= len(made) <= PREDICTIONS[1]:
        yield Problem(place, f"{len(made)} predictions; a core has {_range(PREDICTIONS)}")
    for method in ("observe", "explain"):
        if _called(cells, method) != made:
            yield Problem(place, f"lab.{method} must follow each lab.predict, in the same order")
    core = _called(cells, "check")
    if not EXERCISES[0] <= len(core) <= EXERCISES[1]:
        yield Problem(place, f"{len(core)} exercises are checked; a core has {_range(EXERCISES)}")
    if core != list(lab.exercises)[: len(core)]:
        yield Problem(place, f"its exercises are not in the order of {FILE}")
    order = [lab.exercises[one] for one in core if one in lab.exercises]
    for number, (exercise, word) in enumerate(zip(order, (WORKED, TO_COMPLETE), strict=False), 1):
        if not exercise.title.startswith(word):
            text = f"number {number} of a core begins with {word!r}"
            yield Problem(f"{source / FILE}, exercise {exercise.id}", text)
    for exercise in order:
        if exercise.title.startswith("Transfer:") != exercise.transfer:
            text = "a title that begins with 'Transfer:' and `transfer: true` go together"
            yield Problem(f"{source / FILE}, exercise {exercise.id}", text)
    for exercise in order[2::3]:
        if not exercise.transfer:
            text = "every third exercise of a core is a transfer"
            yield Problem(f"{source / FILE}, exercise {exercise.id}", text)


def _beyond(cells: Cells, source: Path, lab: Lab) -> Iterator[Problem]:
    """Yield exercises of which titles do not say whether they are in the core."""
    core = _called(cells, "check")
    for name, exercise in lab.exercises.items():
        if (name in core) == exercise.title.startswith(STRETCH):
            text = f"titles begin with {STRETCH!r} beyond the core, and only there"
            yield Problem(f"{source / FILE}, exercise {name}", text)


def _range(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]} to {bounds[1]}"


def _met(books: Iterable[Cells], source: Path, lab: Lab) -> Iterator[Problem]:
    """Yield exercises and predictions that no notebook shows."""
    met = {
        method: {name for cells in books for name in _called(cells, method)}
        for method in ("check", "predict", "quiz")
    }
    for exercise in lab.exercises:
        if exercise not in met["check"]:
            yield Problem(f"{source / FILE}, exercise {exercise}", "no notebook checks it")
    for found in lab.predictions.values():
        there = found.quiz in met["quiz"] if found.quiz else found.id in met["predict"]
        if not there:
            yield Problem(f"{source / FILE}, prediction {found.id}", "no notebook asks it")


def _parts(books: Iterable[Cells], source: Path, lab: Lab) -> Iterator[Problem]:
    """Yield questions of a quiz that lead to a part of the notebooks that is not there."""
    text = [cell["source"] for cells in books for cell in cells if cell["type"] == "markdown"]
    headings = re.findall(r"^## (.*)$", "\n".join(text), re.MULTILINE)
    for found in lab.predictions.values():
        if found.part and found.part not in headings:
            place = f"{source / FILE}, prediction {found.id}"
            yield Problem(place, f"no notebook has the part {found.part!r} (a heading with ##)")


def _undecided(source: Path, lab: Lab) -> Iterator[Problem]:
    """Yield predictions that are measured, and against which no experiment could speak."""
    for found in lab.predictions.values():
        if not found.quiz and found.observe and not deciding.by_experiment(found):
            text = "what is observed decides nothing: `observe` needs `decides`"
            yield Problem(f"{source / FILE}, prediction {found.id}", text)


_MEANING = {
    REFERENCE: "the right answer",
    ALTERNATIVE: "another right answer",
    WRONG: "an answer that must not pass",
}
_OF_MUTANTS = "mutants"
"""A list of generated mutants that are right answers too."""


def _answers(source: Path, lab: Lab) -> Iterator[Problem]:
    for exercise in lab.exercises:
        place = source / DIRECTORY / exercise
        files = sorted(place.glob("*.yaml"))
        sorts = [path.stem.partition("-")[0] for path in files]
        for sort in SORTS:
            if sort not in sorts:
                end = "" if sort == REFERENCE else "-*"
                yield Problem(str(place), f"{sort}{end}.yaml is missing: {_MEANING[sort]}")
        for path, sort in zip(files, sorts, strict=True):
            if sort not in (*SORTS, _OF_MUTANTS):
                allowed = ", ".join(SORTS)
                yield Problem(str(path), f"is no answer's name; allowed are {allowed}")
    for directory in sorted((source / DIRECTORY).glob("*/")):
        if directory.name not in lab.exercises:
            yield Problem(str(directory), f"belongs to no exercise of {FILE}")


def _ids(source: Path, lab: Lab, course: Path) -> Iterator[Problem]:
    """Yield topics and claims that the course does not have, and entries that name no topic."""
    topics = {entry["id"] for entry in read_yaml(course / "topics.yaml")["topics"]}
    claims = {entry["id"] for entry in read_yaml(course / "claims.yaml")}
    entries: list[Exercise | Prediction] = [*lab.exercises.values(), *lab.predictions.values()]
    for found in entries:
        what = type(found).__name__.lower()
        place = f"{source / FILE}, {what} {found.id}"
        if not found.topics:
            yield Problem(place, "names no topic of the course (field 'topics')")
        for name in sorted({*found.topics} - topics):
            yield Problem(place, f"there is no topic {name!r} in {course / 'topics.yaml'}")
        for name in sorted({*found.claims} - claims):
            yield Problem(place, f"there is no claim {name!r} in {course / 'claims.yaml'}")


def solution_regions(text: str) -> list[str]:
    """Return what stands between the marks of a solution in a notebook's source."""
    return re.findall(rf"{BEGIN}\n(.*?)\n\s*{END}", text, re.DOTALL)
