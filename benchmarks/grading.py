"""Grading: one exercise with denied flows, as a learner checks it; and all, as an author does."""

import sys
import tempfile
import time
from pathlib import Path

from cluster import state
from harness import Limits, bench

from k8slab import clusters, programs
from k8slab.course import Journal, Session, load
from k8slab.objects import manifests

LAB = Path(__file__).parents[1] / "tests" / "data" / "solutions" / "90-example"
EXERCISE = "protect"
SOLUTIONS = Path(__file__).parents[1] / "solutions"
ROUNDS = 20


def checks(*, solved):
    """Yield how long a check takes, with a reference answer or with one that is wrong."""
    with state(), tempfile.TemporaryDirectory() as scratch:
        session = Session(load(LAB), clusters.up(), Journal(Path(scratch) / "progress.sqlite"))
        session.begin(EXERCISE)
        answer = session.lab.exercise(EXERCISE).solution
        text = answer if solved else answer.replace("app: web", "app: batch")
        session.cluster.apply(manifests.load(text), namespace=f"lab90-{EXERCISE}")
        session.check(EXERCISE)
        for _ in range(ROUNDS):
            began = time.perf_counter()
            result = session.check(EXERCISE)
            yield time.perf_counter() - began
            assert result.passed is solved, result.text()


@bench("check", "check of a solved exercise, with new pods and lookalikes", Limits("s", 1.0, 0.2))
def solved():
    yield from checks(solved=True)


@bench("check-wrong", "check of a wrong answer, denied flows", Limits("s", 1.0, 0.2))
def wrong():
    yield from checks(solved=False)


@bench("mutants", "make mutants: every answer and mutant of all exercises", Limits("s", 180, 60))
def mutants():
    argv = [sys.executable, "-m", "k8slab.course.mutants", "--solutions", str(SOLUTIONS)]
    began = time.perf_counter()
    programs.run(argv, deadline=900.0)
    yield time.perf_counter() - began
