"""Try the answers of many exercises at once, each worker on a cluster of its own.

Most of the time of a trial is waiting (for pods, for what a learner's check waits for), so there
are more workers than processors. A worker is a process with a cluster in a state directory
that goes with all clusters in it when the run ends, by Ctrl-C too.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab import clusters
from k8slab.course.answers import read_answers
from k8slab.course.lab import load
from k8slab.course.mutants.generate import mutants
from k8slab.course.mutants.trials import Trial, Trials
from k8slab.course.mutants.tried import Tried
from k8slab.errors import K8slabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from k8slab.course.lab import Lab
    from k8slab.grading import Wishes

PART = 40
"""Answers that one job looks at, at most: a set-up of its own costs as much as a few of them."""


ROUND = 5
"""How often an answer is repeated before the next exercise has its turn: a set-up costs as much as
one or two of them, and a run that is ended early has tried all exercises as often."""


@dataclass(frozen=True, slots=True)
class Job:
    """A part of the trials of one exercise, or one of its answers again and again."""

    directory: Path
    exercise: str
    part: tuple[int, int] = (0, 1)
    size: int = 0
    """How much there is to do, roughly: answers, and what is looked at for each."""
    every: bool = False
    """Whether mutants that do the same are all tried."""
    repeat: int = 0
    """How often the reference and a near miss are tried instead; 0 for every answer once."""
    round: int = 0
    """What is repeated is done in rounds, each through all exercises."""


@dataclass(frozen=True)
class Report:
    """What came of a job; `error` where it could not be done."""

    lab: str
    exercise: str
    trials: list[Trial] = field(default_factory=list)
    error: str = ""
    seconds: float = 0
    alike: int = 0
    """Mutants that were not tried, since another one does the same."""


def jobs(
    directory: Path, wanted: Sequence[str], *, repeat: int = 0, every: bool = False
) -> list[Job]:
    """Return the jobs for the exercises `wanted` (LAB or LAB/EXERCISE; all without any)."""
    found: list[Job] = []
    for file in sorted(directory.glob("*/exercises.yaml")):
        lab = load(file.parent)
        for exercise in lab.exercises:
            names = {lab.name, lab.name.partition("-")[0]}
            names |= {f"{name}/{exercise}" for name in names}
            if not wanted or names & set(wanted):
                found += _parts(lab, exercise, repeat=repeat, every=every)
    return sorted(found, key=lambda job: -job.size)


def _parts(lab: Lab, exercise: str, *, repeat: int, every: bool) -> Iterator[Job]:
    if repeat:
        for number, begun in enumerate(range(0, repeat, ROUND)):
            times = min(ROUND, repeat - begun)
            yield Job(lab.directory, exercise, repeat=times, size=2 * times, round=number)
        return
    answers = read_answers(lab.directory, lab.exercise(exercise))
    each = [len(mutants(lab.exercise(exercise), one)) if one.right else 0 for one in answers]
    size = sum(each) + len(each) + 1
    parts = -(-size // PART)
    for number in range(parts):
        work = _looks(lab.exercise(exercise).wishes) * size // parts
        yield Job(lab.directory, exercise, (number, parts), work, every)


def _looks(wishes: Wishes) -> int:
    """Return how often a trial waits, roughly: who waits longest must not begin last.

    All flows together are one look. A check runs programs in pods. And where more than policies
    may be changed programs begin anew, which are waited for until they listen.
    """
    policies_only = all("policies" in pattern for pattern in wishes.may_change or ("anything",))
    return 1 + len(wishes.checks) + (0 if policies_only else 2)


def rounds(todo: Sequence[Job]) -> list[list[Job]]:
    """Return the jobs of each round."""
    last = max(job.round for job in todo)
    return [[job for job in todo if job.round == number] for number in range(last + 1)]


def run(todo: Sequence[Job], workers: int) -> Iterator[Report]:
    """Do the jobs and yield their reports as they come, in any order."""
    # Not below a long directory: paths of sockets are short (108 bytes, unix(7)).
    home = Path(tempfile.mkdtemp(prefix="k8slab-mutants-"))
    os.environ["K8SLAB_HOME"] = str(home)
    # A fresh interpreter for each worker: this one may have threads and handlers of a caller.
    pool = multiprocessing.get_context("spawn").Pool(min(workers, len(todo)), _begin)
    try:
        yield from pool.imap_unordered(_do, todo)
    finally:
        pool.terminate()
        pool.join()
        for name in clusters.names():
            clusters.delete(name)
        shutil.rmtree(home)


def _begin() -> None:
    """Leave Ctrl-C to the parent, which ends the workers and their clusters."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@cache
def _cluster(ip_family: str) -> clusters.Cluster:
    wanted = clusters.Wanted(ip_family=ip_family)
    return clusters.up(f"{ip_family}-{os.getpid()}", provider="embedded", wanted=wanted)


def _do(job: Job) -> Report:
    lab = load(job.directory)
    needs = lab.exercise(job.exercise).wishes.needs
    began = time.monotonic()
    found: list[Trial] = []
    error, alike = "", 0
    tried = Tried(Path(os.environ["K8SLAB_HOME"], "tried", lab.name, job.exercise))
    with tempfile.TemporaryDirectory(dir=os.environ["K8SLAB_HOME"], prefix="scratch-") as scratch:
        try:
            trials = Trials.on(
                _cluster("dual" if "dual-stack" in needs else "ipv4"),
                lab,
                job.exercise,
                Path(scratch),
                tried=tried,
                part=job.part,
                every=job.every,
            )
            found += trials.again(job.repeat) if job.repeat else trials.run()
            alike = trials.alike
            trials.stage.close()
        except K8slabError as problem:
            error = f"{type(problem).__name__}: {problem}"
    return Report(lab.name, job.exercise, found, error, time.monotonic() - began, alike)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep processors busy meanwhile, so that everything else waits for its turn."""
    context = multiprocessing.get_context("spawn")
    made = [context.Process(target=_spin, daemon=True) for _ in range(processes)]
    for process in made:
        process.start()
    try:
        yield
    finally:
        for process in made:
            process.terminate()
            process.join()


def _spin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    number = 0
    while True:
        number = (number * 31 + 7) % 1_000_003
