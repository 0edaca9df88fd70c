"""Grade bundles by replaying them: a score is reproduced and not trusted.

For each bundle a fresh embedded cluster is started in a state directory of its own, which goes
with it whatever happens. There each exercise is set up anew from the grader's own course, the
answer is admitted (`admission`), replayed (`difference`) and graded like any other. What the
learner's journal claims is only put beside it.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab import clusters
from k8slab.course import admission, library, symbols
from k8slab.course.bundle import SUFFIX, Bundle, BundleError, read
from k8slab.course.difference import Difference, replay
from k8slab.course.journal import Journal
from k8slab.course.lab import load
from k8slab.course.session import Session
from k8slab.course.setup import wanted_mark
from k8slab.errors import K8slabError, UsageError
from k8slab.grading import Context, Finding, Result, Status
from k8slab.grading.report import Grades, Report, Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from k8slab.course.lab import Exercise, Lab

    Told = Callable[[str], None]

MAX_BUNDLES = 10_000
DUAL = "dual-stack"
_HOME = "K8SLAB_HOME"


def find_bundles(places: Sequence[Path]) -> list[Path]:
    """Return the bundles that are named, and those in directories; raises `UsageError`."""
    found: list[Path] = []
    for place in places:
        if not place.is_dir():
            found.append(place)
            continue
        # A link may lead to somebody else's answers.
        inside = [
            path
            for path in sorted(place.rglob(f"*{SUFFIX}"))
            if path.is_file() and not path.is_symlink()
        ]
        if not inside:
            raise UsageError(f"{place}: there is no bundle ({SUFFIX}) in this directory")
        found += inside
    if len(found) > MAX_BUNDLES:
        raise UsageError(f"{len(found)} bundles are too many at once", hint="grade a part of them")
    return found


def learner_names(files: Sequence[Path]) -> list[str]:
    """Return a name for each bundle: the file's, with its directory's where two are the same."""
    stems = [file.name.removesuffix(SUFFIX).strip(".") or "nameless" for file in files]
    return [
        f"{file.absolute().parent.name}/{stem}" if stems.count(stem) > 1 else stem
        for file, stem in zip(files, stems, strict=True)
    ]


def grade_bundles(files: Sequence[Path], *, told: Told, workers: int = 0) -> Report:
    """Grade each bundle on fresh clusters; one that is broken is reported, the rest goes on.

    So many at once as there are `workers`, by default one for each processor.
    """
    names = learner_names(files)
    workers = min(workers or os.cpu_count() or 1, len(files))
    if workers < 2:
        each = zip(files, names, _prefixes(names), strict=True)
        return Report(tuple(_grade_file(f, name, partial(_tell, told, p)) for f, name, p in each))
    return Report(tuple(_side_by_side(files, names, told, workers)))


def _side_by_side(
    files: Sequence[Path], names: Sequence[str], told: Told, workers: int
) -> Iterator[Grades]:
    """Grade in processes: a state directory is a process' own, since its environment names it."""
    pool = multiprocessing.get_context("spawn").Pool(workers, _begin)
    try:
        found = pool.imap(_grade_quietly, zip(files, names, strict=True))
        for prefix, grades in zip(_prefixes(names), found, strict=True):
            told(f"{prefix}: {grades.points:g} of {grades.max_points:g} points")
            yield grades
    finally:
        pool.terminate()
        pool.join()


def _begin() -> None:
    """Leave Ctrl-C to the parent; end tidily, with the clusters, when it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))


def _grade_quietly(what: tuple[Path, str]) -> Grades:
    return _grade_file(*what, lambda _line: None)


def _prefixes(names: Sequence[str]) -> list[str]:
    """Return how lines about each learner begin: which of how many it is."""
    if len(names) == 1:
        return [*names]
    return [f"{name} ({number} of {len(names)})" for number, name in enumerate(names, 1)]


def _tell(told: Told, prefix: str, line: str) -> None:
    told(f"{prefix}: {line}")


def _grade_file(file: Path, name: str, told: Told) -> Grades:
    try:
        return grade_bundle(read(file), name, told=told)
    except BundleError as error:
        return Grades(name, str(file), error=str(error))


def grade_bundle(bundle: Bundle, learner: str, *, told: Told) -> Grades:
    """Grade one bundle on fresh clusters."""
    answers = bundle.answers
    scores: list[Score] = []
    with fresh_home() as home:
        there = _Clusters(answers["cluster"], told)
        journal = Journal(home / "progress.sqlite")
        journal.add("", "seed", "", value=answers["seed"])
        for name, entry in answers["labs"].items():
            work = _Work(name, _lab(name, answers["seed"]), there, journal)
            for exercise in work.ordered(entry["exercises"]):
                told(f"{name}/{exercise}")
                scores.append(work.score(exercise, entry["exercises"][exercise]))
    return Grades(learner, bundle.source, answers["made"], tuple(scores))


@dataclass
class _Clusters:
    """The fresh clusters of one bundle, each started when an exercise first needs it."""

    wanted: dict[str, Any]
    told: Told
    running: dict[str, Any] = field(default_factory=dict)

    def get(self, exercise: Exercise) -> Any:
        family = "dual" if DUAL in exercise.wishes.needs else ""
        if family not in self.running:
            name = (
                f"{self.wanted['name']}-dual"[-40:].lstrip("-") if family else self.wanted["name"]
            )
            wanted = clusters.Wanted(nodes=self.wanted.get("nodes"), ip_family=family)
            self.running[family] = clusters.up(
                name, provider="embedded", wanted=wanted, progress=self.told
            )
        return self.running[family]


@contextmanager
def fresh_home() -> Iterator[Path]:
    """Give a state directory of its own; what is in it goes with it, Ctrl-C or not."""
    before = os.environ.get(_HOME)
    home = Path(tempfile.mkdtemp(prefix="k8slab-grade-"))  # short: Unix sockets lie in it
    os.environ[_HOME] = str(home)
    try:
        yield home
    finally:
        with _undisturbed():
            for name in clusters.names():
                clusters.delete(name)
            if before is None:
                del os.environ[_HOME]
            else:
                os.environ[_HOME] = before
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let nobody interrupt the end: a second Ctrl-C would leave a cluster behind."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _lab(name: str, seed: int) -> Lab | None:
    """Return the grader's own lab of this name, with the learner's names in it."""
    if name not in library.lab_names():
        return None
    return load(library.labs_directory() / name, lambda: seed)


@dataclass
class _Work:
    """One lab of one bundle: the grader's own lab of this name, if the course has it."""

    name: str
    lab: Lab | None
    there: _Clusters
    journal: Journal

    def ordered(self, exercises: dict[str, Any]) -> list[str]:
        """Return the exercises in the order of the lab, those that it does not have last."""
        own = [*self.lab.exercises] if self.lab else []
        return sorted(exercises, key=lambda one: own.index(one) if one in own else len(own))

    def score(self, exercise: str, given: dict[str, Any]) -> Score:
        """Grade one exercise; what goes wrong with it is its own score's and nobody else's."""
        claimed = _claim(given["claimed"], self.lab, exercise)
        if self.lab is None or exercise not in self.lab.exercises:
            line = "this course has no such exercise: it was renamed, removed, or is of another one"
            return Score(self.name, _empty(exercise, Status.NOT_STARTED, line), claimed)
        found = self.lab.exercise(exercise)
        if "setup" not in given:
            line = "nothing was handed in: it was not set up when the bundle was made"
            return Score(self.name, _empty(exercise, Status.NOT_STARTED, line, found), claimed)
        cluster = self.there.get(found)
        session = Session(self.lab, cluster, self.journal, self.there.told)
        started = time.monotonic()
        notes, stated = _notes(given, found), tuple[str, ...]()
        try:
            refused, stated = _replay(session, found, given)
            notes += [f"the cluster refused {line}" for line in refused]
            result = session.check(exercise)
            _clear(cluster, found, given)
        except BundleError as error:
            result = _empty(exercise, Status.FAILED, str(error), found)
        except K8slabError as error:
            result = _empty(exercise, Status.ERROR, str(error), found)
        seconds = time.monotonic() - started
        return Score(self.name, result, claimed, tuple(notes), stated, seconds)


def _claim(claimed: dict[str, Any], lab: Lab | None, exercise: str) -> float:
    """Return the points that are claimed, as this course's exercise gives them."""
    points, then = float(claimed["points"]), claimed.get("max_points")
    if lab is None or exercise not in lab.exercises or not then:
        return points
    return points * lab.exercises[exercise].wishes.points / float(then)


def _notes(given: dict, exercise: Exercise) -> list[str]:
    notes = []
    if given["setup"] != wanted_mark(exercise):
        notes.append("it was answered on another version of the course; graded by this one")
    if given["claimed"]["saw_solution"]:
        notes.append("the learner looked at the solution")
    return notes


def _replay(session: Session, exercise: Exercise, given: dict) -> tuple[list[str], tuple[str, ...]]:
    """Set up, admit and replay; returns what the cluster refused and which answers are stated."""
    difference = Difference(
        tuple(given.get("added", ())),
        tuple(given.get("changed", ())),
        tuple(given.get("deleted", ())),
    )
    admission.admit(session.cluster, exercise, difference)
    session.begin(exercise.id)
    for step in range(min(given["claimed"]["hints"], len(exercise.hints))):  # hints may cost points
        session.journal.add(session.lab.name, "hint", exercise.id, step=step + 1)
    refused = replay(session.cluster, difference, told=session.told)
    context = Context(session.cluster, exercise.namespace, exercise.setup)
    stated = []
    for question, typed in given.get("typed", {}).items():
        if question not in exercise.questions:
            continue
        text = typed["text"]
        if "stands_for" in typed:
            text = symbols.here(context, exercise, text, typed["stands_for"])
            stated.append(question)
        session.answer(question, text)
    return refused, tuple(stated)


def _clear(cluster: Any, exercise: Exercise, given: dict) -> None:
    """Remove what could be seen by the next exercise: objects of the whole cluster, and pods."""
    for obj in (*given.get("added", ()), *given.get("changed", ())):
        if "namespace" not in obj["metadata"] and obj["kind"] != "Namespace":
            resource = cluster.resources.of(obj)
            cluster.delete(
                f"{resource.plural}.{resource.group}".rstrip("."), obj["metadata"]["name"]
            )
    for space in exercise.namespaces:
        cluster.delete("namespaces", space)


def _empty(name: str, status: Status, line: str, exercise: Exercise | None = None) -> Result:
    title = exercise.title if exercise else name
    points = exercise.wishes.points if exercise else 0
    return Result(name, title, points, (Finding("the answer", status, (line,)),))
