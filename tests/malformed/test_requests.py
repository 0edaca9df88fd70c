"""Requests that are wrong in every way that the schemas allow to think of.

What holds for each, see `judge`; besides, the daemon logs no error, a refused change changes
nothing, other clients are served meanwhile, and the daemon's memory stays bounded.

A sample runs with all tests, ten thousand with ``make test ARGS="-m slow tests/malformed"``. The
environment variable ``K8SLAB_SEED`` chooses other ones.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.malformed import asking, cases
from tests.malformed.judge import complaint, shown
from tests.malformed.served import memory_of
from tests.malformed.wire import Case

SEED = int(os.environ.get("K8SLAB_SEED", "1"))
PATIENCE = 15.0
"""Seconds that another client may wait at most while odd requests are answered; other tests
run on this machine at the same time."""

GROWTH = 150 << 20
"""Bytes by which the daemon may grow: objects that were accepted, and their history."""

TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"

WAYS = {  # name: strategy, sample, long run
    "creations": (cases.creations, 100, 2500),
    "definitions": (cases.definitions, 40, 800),
    "updates": (cases.updates, 110, 2800),
    "bodies": (cases.bodies, 60, 1200),
    "lab": (cases.lab, 20, 200),
    "queries": (asking.queries, 50, 1000),
    "paths": (asking.paths, 30, 400),
    "headers": (asking.headers, 30, 500),
    "streams": (asking.streams, 40, 600),
}


def runs():
    for name, (strategy, sample, long) in WAYS.items():
        yield pytest.param(strategy, sample, id=f"{name}-{sample}")
        marks = [pytest.mark.slow, pytest.mark.timeout(3600)]
        yield pytest.param(strategy, long, id=f"{name}-{long}", marks=marks)


@pytest.mark.parametrize(("strategy", "number"), list(runs()))
def test_no_request_breaks_the_server(served, kept, strategy, number):
    @seed(SEED)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy(served, kept))
    def judged(pair):
        judge(served, *pair)

    before = memory_of(served.daemon)
    with a_neighbour(served) as waits:
        judged()
    assert max(waits) < PATIENCE
    assert memory_of(served.daemon) - before < GROWTH


def judge(served, case: Case, path: str) -> None:
    """Send one request and check all that must hold."""
    before = served.wanted(path) if path and case.method != "POST" else None
    try:
        answer = served.wire.request(case)
    except TimeoutError:
        pytest.fail(f"no answer to {shown(case.raw())}")
    said = complaint(answer, case.method)
    assert not said, f"{said}\n{shown(case.raw())}"
    if path and answer.status < 300:
        look_and_clear(served, case, path)
    elif before is not None:
        assert served.wanted(path) == before, f"half changed by {shown(case.raw())}"
    logged = served.new_complaints()
    assert not logged, f"{logged}\n{shown(case.raw())}"


def look_and_clear(served, case: Case, path: str) -> None:
    """See that what was accepted can be shown as a table; remove what was made."""
    table = served.ask("GET", path, Accept=TABLE)
    assert table.status < 500, f"{table.body!r}\n{shown(case.raw())}"
    if case.method == "POST":
        served.ask("DELETE", f"{path}?gracePeriodSeconds=0")


@contextmanager
def a_neighbour(served):
    """Let another client ask all the time; yields how long it waited, each time."""
    waits = [0.0]
    done = threading.Event()
    wire = served.connect()

    def ask():
        while not done.wait(0.05):
            before = time.monotonic()
            answer = wire.request(Case("GET", "/api/v1/namespaces/default"))
            waits.append(time.monotonic() - before if answer else PATIENCE)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        done.set()
        thread.join()
        wire.close()
