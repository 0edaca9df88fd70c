"""Grade bundles by replaying them: a score is reproduced and not trusted.

For each bundle a fresh embedded cluster is started in a state directory of its own, which goes
with it whatever happens. There each exercise is set up anew from the grader's own course, the
answer is admitted (`admission`), replayed (`difference`) and graded like any other. What the
learner's journal claims is only put beside it. `marking` does so for all learners of a class.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab import clusters
from k8slab.clusters import homes
from k8slab.course import admission, library, renamed, symbols
from k8slab.course.bundle import BundleError
from k8slab.course.difference import Difference, replay
from k8slab.course.journal import Journal
from k8slab.course.lab import load
from k8slab.course.session import Session
from k8slab.course.setup import wanted_mark
from k8slab.embedded.config import ClusterConfig
from k8slab.errors import K8slabError
from k8slab.grading import Context, Finding, Result, Status
from k8slab.grading.report import Grades, Score
from k8slab.programs import with_variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from k8slab.course.bundle import Bundle
    from k8slab.course.lab import Exercise, Lab

    Told = Callable[[str], None]

Asked = Mapping[str, Sequence[str]]
"""What was asked for: exercises of labs, by name."""

DUAL = "dual-stack"
DEFAULT_NODES = ClusterConfig().nodes
MOST_NODES = 5
"""Nodes of a replay's cluster, whatever a bundle says: several clusters run side by side."""
_HOME = "K8SLAB_HOME"


def grade_bundle(
    bundle: Bundle,
    learner: str,
    *,
    told: Told,
    asked: Asked | None = None,
    home: Path | None = None,
) -> Grades:
    """Grade one bundle on fresh clusters, in the state directory `home`, which goes afterwards.

    What counts is what was `asked`, and all of it: what is not in the bundle is not begun, and
    what else is in there is left out. Without it, every exercise of each lab of which the bundle
    has one.
    """
    answers = bundle.answers
    scores: list[Score] = []
    with fresh_home(home) as place:
        there = _Clusters(answers["cluster"], told)
        journal = Journal(place / "progress.sqlite")
        journal.add("", "seed", "", value=answers["seed"])
        for name, wanted in (asked or _named(answers)).items():
            work = _Work(name, _lab(name, answers["seed"]), there, journal)
            given = answers["labs"].get(name, {"exercises": {}})["exercises"]
            if work.lab:
                given = renamed.today(given, work.lab)
            for exercise in wanted or work.counted(given):
                told(f"{name}/{exercise}")
                scores.append(work.score(exercise, given.get(exercise)))
        return Grades(learner, bundle.source, answers["made"], tuple(scores), notes=there.notes)


def _named(answers: dict[str, Any]) -> Asked:
    """Return the labs of which a bundle has an exercise, for all that these labs have."""
    return {name: () for name, entry in answers["labs"].items() if entry["exercises"]}


@dataclass
class _Clusters:
    """The fresh clusters of one bundle, each started when an exercise first needs it."""

    wanted: dict[str, Any]
    told: Told
    running: dict[str, Any] = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        """Return how many nodes they have: the course's number, or more where it was answered.

        Fewer could make an exercise easier than it is, so a bundle does not choose that.
        """
        return min(max(self._had, DEFAULT_NODES), MOST_NODES)

    @property
    def _had(self) -> int:
        had: int = self.wanted.get("nodes", DEFAULT_NODES)
        return had

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what is otherwise than the course has it."""
        if self._had == DEFAULT_NODES:
            return ()
        return (f"answered in a cluster of {self._had} nodes, graded in one of {self.nodes}",)

    def get(self, exercise: Exercise) -> Any:
        family = "dual" if DUAL in exercise.wishes.needs else ""
        if family not in self.running:
            name = (
                f"{self.wanted['name']}-dual"[-40:].lstrip("-") if family else self.wanted["name"]
            )
            wanted = clusters.Wanted(nodes=self.nodes, ip_family=family)
            self.running[family] = clusters.up(
                name, provider="embedded", wanted=wanted, progress=self.told
            )
        return self.running[family]


@contextmanager
def fresh_home(path: Path | None = None) -> Iterator[Path]:
    """Give a state directory of its own; what is in it goes with it, Ctrl-C or not.

    If this process is killed, the next one that grades or starts a cluster removes it.
    """
    homes.sweep()
    home = homes.Home(path) if path else homes.make()
    try:
        with with_variable(_HOME, str(home.path)):
            yield home.path
    finally:
        with _undisturbed():
            home.remove()


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

    def counted(self, given: Mapping[str, Any]) -> list[str]:
        """Return all exercises of the lab in its order, then those handed in that it has not."""
        own = [*self.lab.exercises] if self.lab else []
        return [*own, *(one for one in given if one not in own)]

    def score(self, exercise: str, given: dict[str, Any] | None) -> Score:
        """Grade one exercise; what the cluster says against it is its own score's alone."""
        claimed = _claim(given["claimed"], self.lab, exercise) if given else None
        if self.lab is None or exercise not in self.lab.exercises:
            line = "this course has no such exercise: it was renamed, removed, or is of another one"
            return Score(self.name, _empty(exercise, Status.NOT_STARTED, line), claimed)
        found = self.lab.exercise(exercise)
        if given is None:
            line = "nothing was handed in"
            return Score(self.name, _empty(exercise, Status.NOT_STARTED, line, found), claimed)
        if "setup" not in given:
            line = "nothing was handed in: it was not set up when the bundle was made"
            return Score(self.name, _empty(exercise, Status.NOT_STARTED, line, found), claimed)
        cluster = self.there.get(found)
        # Whoever grades is told why at once: each replay is the first check of its journal.
        session = Session(self.lab, cluster, self.journal, self.there.told, withholds=False)
        started = time.monotonic()
        limit = _limit(given, found, claimed)
        notes, stated = _notes(given, found, limit), tuple[str, ...]()
        difference = _difference(given)
        try:
            admission.admit(cluster, found, difference)
            with _cleared(cluster, found, given):
                refused, stated = _replay(session, found, given, difference)
                notes += [f"the cluster refused {line}" for line in refused]
                result = replace(session.check(exercise), limit=limit)
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


def _limit(given: dict, exercise: Exercise, claimed: float | None) -> float | None:
    """Return the most that an answer can give where its solution was shown (`points`).

    When it was shown, and what was earned before, only the learner's journal knows: as with hints
    its word counts, against the learner alone. So no more is given than was claimed.
    """
    if claimed is None or exercise.worked or not given["claimed"]["saw_solution"]:
        return None
    return claimed if claimed < exercise.wishes.points else None


def _notes(given: dict, exercise: Exercise, limit: float | None) -> list[str]:
    notes = []
    if given["setup"] != wanted_mark(exercise):
        notes.append("it was answered on another version of the course; graded by this one")
    if given["claimed"]["saw_solution"]:
        counted = "" if limit is None else f": no more than the {limit:g} points from before count"
        notes.append(f"the learner looked at the solution{counted}")
    return notes


def _difference(given: dict) -> Difference:
    return Difference(
        tuple(given.get("added", ())),
        tuple(given.get("changed", ())),
        tuple(given.get("deleted", ())),
    )


def _replay(
    session: Session, exercise: Exercise, given: dict, difference: Difference
) -> tuple[list[str], tuple[str, ...]]:
    """Set up and replay; returns what the cluster refused and which answers are stated."""
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


@contextmanager
def _cleared(cluster: Any, exercise: Exercise, given: dict) -> Iterator[None]:
    """Clear up after a block, also where an error ended it: the next exercise has this cluster too.

    Not after Ctrl-C: the cluster goes then.
    """
    try:
        yield
    except K8slabError:
        _clear(cluster, exercise, given)
        raise
    _clear(cluster, exercise, given)


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
    return Result(name, title, points, (Finding("the answer", status, tuple(line.split("\n"))),))
