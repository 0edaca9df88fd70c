"""Grading: one exercise with denied flows, as a learner checks it."""

import tempfile
import time
from pathlib import Path

from cluster import state
from harness import Limits, bench

from k8slab import clusters
from k8slab.course import Journal, Session, load
from k8slab.objects import manifests

LAB = Path(__file__).parents[1] / "tests" / "data" / "solutions" / "90-example"
EXERCISE = "protect"
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
