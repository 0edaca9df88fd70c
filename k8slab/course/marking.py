"""Grade what a class handed in: side by side, each learner by itself, and nobody forgotten.

Each of several bundles is graded in a process of its own, so that whatever one of them does,
whoever made it, ends the grading of that learner alone: an answer that no code foresaw, or a
process that the kernel ends when memory runs out. What the grader could not judge is done once
more when all others are done, by itself on a fresh cluster: on a busy machine that is often all
that it takes. If the grader fails again the report says so (`Grades.complete`); it is never a
silent zero.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.clusters import homes
from k8slab.course import library
from k8slab.course.bundle import SUFFIX, BundleError, read
from k8slab.course.replay import Asked, grade_bundle
from k8slab.errors import K8slabError, UsageError
from k8slab.grading.harmless import visible
from k8slab.grading.report import Grades, Report, Score, handed_in
from k8slab.programs import with_variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from k8slab.course.bundle import Bundle

    Told = Callable[[str], None]

MAX_BUNDLES = 10_000
_ENDINGS = (SUFFIX, ".ipynb")
"""Of what is handed in: the name of whoever does is the rest."""
_log = logging.getLogger(__name__)


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
            for path in sorted(place.rglob("*"))
            if path.name.lower().endswith(SUFFIX) and path.is_file() and not path.is_symlink()
        ]
        if not inside:
            raise UsageError(f"{place}: there is no bundle ({SUFFIX}) in this directory")
        found += inside
    if len(found) > MAX_BUNDLES:
        raise UsageError(f"{len(found)} bundles are too many at once", hint="grade a part of them")
    return found


def learner_names(files: Sequence[Path]) -> list[str]:
    """Return a name for each file, no two the same: the file's, with directories where needed.

    So many directories are put before it as tell it from all others. Raises `UsageError` for a
    file that is named twice.
    """
    paths = [_parts(file) for file in files]
    depths = [1] * len(files)
    while True:
        names = ["/".join(path[-depth:]) for path, depth in zip(paths, depths, strict=True)]
        same = [number for number, name in enumerate(names) if names.count(name) > 1]
        if not same:
            return names
        longer = [number for number in same if depths[number] < len(paths[number])]
        if not longer:
            raise UsageError(
                f"two learners would both be called {names[same[0]]!r}",
                hint="name each file once, or rename one of them",
            )
        for number in longer:
            depths[number] += 1


def _parts(file: Path) -> list[str]:
    """Return the steps to a file, of which none leads upwards, as they can be shown."""
    place = Path(os.path.normpath(file.absolute()))
    known = file.name.lower()  # some systems that hand out files write .ZIP
    ending = next((ending for ending in _ENDINGS if known.endswith(ending)), "")
    stem = file.name[: len(file.name) - len(ending)].strip(".") or "nameless"
    return [visible(part) for part in (*place.parent.parts[1:], stem)]


@dataclass(frozen=True)
class Job:
    """One bundle to be graded."""

    file: Path
    learner: str
    asked: Asked | None = None
    prefix: str = ""
    """How lines about it begin: who it is, and which of how many."""


def grade_bundles(
    files: Sequence[Path],
    *,
    told: Told,
    said: Told | None = None,
    workers: int = 0,
    asked: Asked | None = None,
) -> Report:
    """Grade each bundle on fresh clusters; one that is broken is reported, the rest goes on.

    `told` gets the step that begins, `said` (otherwise `told`) what came of one of several. So
    many at once as there are `workers`, by default one for each processor. With `asked` that
    alone counts, and all of it (`replay.grade_bundle`).
    """
    library.labs_directory()  # without a course nobody can be graded: told at once
    jobs = _jobs(files, asked)
    run = partial(_apart, said=said or told, workers=workers or os.cpu_count() or 1)
    if len(jobs) == 1:
        run = partial(_here, told=told)
    else:
        told(f"grading {len(jobs)} bundles")
    found = dict(run(jobs))

    def again(learner: str, part: Asked | None) -> Grades:
        (job,) = (one for one in jobs if one.learner == learner)
        told(f"{learner}: {_named(part)} once more, alone")
        return dict(run([replace(job, asked=part or job.asked)]))[learner]

    return handed_in(twice(found[job.learner], again) for job in jobs)


def _named(part: Asked | None) -> str:
    return (
        ", ".join(f"{lab}/{one}" for lab, found in (part or {}).items() for one in found) or "all"
    )


def grade_one(bundle: Bundle, learner: str, *, told: Told, asked: Asked) -> Report:
    """Grade one bundle that was read already; what fails is done twice here too."""

    def once(_learner: str, part: Asked | None) -> Grades:
        grade = partial(grade_bundle, bundle, learner, told=told, asked=part or asked)
        return _guarded(learner, bundle.source, grade)

    return handed_in([twice(once(learner, None), once)])


def _jobs(files: Sequence[Path], asked: Asked | None) -> list[Job]:
    names = learner_names(files)
    if len(names) == 1:
        return [Job(files[0], names[0], asked, names[0])]
    return [
        Job(file, name, asked, f"{name} ({number} of {len(names)})")
        for number, (file, name) in enumerate(zip(files, names, strict=True), 1)
    ]


# What could not be judged.


def twice(grades: Grades, again: Callable[[str, Asked | None], Grades]) -> Grades:
    """Have done again, once, what the grader could not judge; `again` with ``None`` does all."""
    if grades.unfinished:
        return again(grades.learner, None)
    scores = [
        _second(score, again(grades.learner, {score.lab: (score.result.exercise,)}))
        if score.undecided
        else score
        for score in grades.scores
    ]
    return replace(grades, scores=tuple(scores))


def _second(first: Score, found: Grades) -> Score:
    """Return the second score of an exercise; the first where the second try made none."""
    said = f"judged twice, the first time it said: {first.result.status.value}"
    if found.error or not found.scores:
        failed = found.error.partition("\n")[0]
        return replace(first, notes=(*first.notes, f"done once more, which failed: {failed}"))
    (score,) = found.scores
    return replace(score, notes=(*score.notes, said))


def _guarded(learner: str, source: str, grade: Callable[[], Grades]) -> Grades:
    """Grade one learner; whatever goes wrong is in their grades, and ends nobody else's."""
    try:
        return grade()
    except BundleError as error:
        return Grades(learner, source, error=str(error))
    except K8slabError as error:
        return Grades(learner, source, error=str(error), unfinished=True)
    except Exception as error:  # noqa: BLE001  a bundle is a stranger's: the others go on, this is told
        _log.exception("grading %s failed", visible(source))
        last = "".join(traceback.format_exception_only(error)).strip()
        told = f"{source}: grading it failed, which is no fault of the answers: {last}"
        return Grades(learner, source, error=told, unfinished=True)


def _graded(job: Job, told: Told, home: Path | None = None) -> Grades:
    def grade() -> Grades:
        return grade_bundle(read(job.file), job.learner, told=told, asked=job.asked, home=home)

    return _guarded(job.learner, str(job.file), grade)


# In this process, and in others.


def _here(jobs: Sequence[Job], told: Told) -> Iterator[tuple[str, Grades]]:
    for job in jobs:
        yield job.learner, _graded(job, lambda line, job=job: told(f"{job.prefix}: {line}"))  # type: ignore[misc]


@dataclass(frozen=True)
class _Worker:
    """A process that grades one bundle, and what it leaves if it is killed."""

    job: Job
    process: Any
    home: homes.Home

    def end(self) -> None:
        """Wait until it has ended; it has cleaned up, unless it was killed."""
        self.process.join()
        self.home.remove()


_SAFE_PATH = "PYTHONSAFEPATH"
"""Lets a Python that begins look for no module in the current directory (python -P).

The answers may lie there: a `pickle.py` among them would grade them.
"""


@dataclass
class _Workers:
    """The processes that grade now, each with the pipe on which it tells its grades."""

    running: dict[Any, _Worker] = field(default_factory=dict)

    def start(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        mine, its = context.Pipe(duplex=False)
        home = homes.make()
        process = context.Process(target=_work, args=(its, job, home.path))
        with with_variable(_SAFE_PATH, "1"):
            process.start()
        its.close()  # so that the pipe ends with the process, whatever ends it
        self.running[mine] = _Worker(job, process, home)

    def finished(self) -> Iterator[tuple[Job, Grades]]:
        """Wait for the next that ends, perhaps several at once."""
        for pipe in connection.wait(list(self.running)):
            worker = self.running[pipe]
            grades = _received(pipe)
            worker.end()
            del self.running[pipe]
            yield worker.job, grades or _killed(worker)

    def stop(self) -> None:
        """End all, with their clusters."""
        for worker in self.running.values():
            worker.process.terminate()
        for worker in self.running.values():
            worker.end()


def _apart(jobs: Sequence[Job], said: Told, workers: int) -> Iterator[tuple[str, Grades]]:
    """Grade in processes: a state directory is a process' own, since its environment names it."""
    waiting, now = [*reversed(jobs)], _Workers()
    try:
        while waiting or now.running:
            while waiting and len(now.running) < workers:
                now.start(waiting.pop())
            for job, grades in now.finished():
                said(f"{job.prefix}: {_outcome(grades)}")
                yield job.learner, grades
    finally:
        now.stop()


def _received(pipe: Any) -> Grades | None:
    with pipe, suppress(EOFError):
        grades: Grades = pipe.recv()
        return grades
    return None


def _killed(worker: _Worker) -> Grades:
    job, code = worker.job, worker.process.exitcode
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    told = (
        f"{job.file}: the process that graded it was ended ({how})\n"
        "  perhaps the machine ran out of memory: try fewer --workers"
    )
    return Grades(job.learner, str(job.file), error=told, unfinished=True)


def _outcome(grades: Grades) -> str:
    if grades.error:
        return "not graded"
    return f"{grades.points:g} of {grades.max_points:g} points"


def _work(pipe: Any, job: Job, home: Path) -> None:
    """Be a worker. Ctrl-C is left to the parent; when it says so, end tidily with the clusters."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    pipe.send(_graded(job, lambda _line: None, home))
