"""One after the other: what looks at an exercise or changes it holds the exercise's lock.

A check replaces pods and adds its own. Another one beside it, from a notebook and a shell,
would take them for the learner's doing or remove them; whoever hands in would hand them in.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from k8slab.clusters import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from k8slab.course.lab import Exercise

PATIENCE = 1.0
"""Seconds to wait without a word: most commands are over by then."""


@contextmanager
def alone(
    cluster: Any, exercises: Iterable[Exercise], *, doing: str, told: Callable[[str], None]
) -> Iterator[None]:
    """Hold exercises of a cluster for the length of a block; who waits is told for whom.

    All take them in the same order, so that no two wait for each other. Not reentrant.
    """
    holder = named(doing)
    wanted = {one.namespace: one for one in exercises}
    with ExitStack() as held:
        for namespace in sorted(wanted):
            held.enter_context(_alone(cluster, wanted[namespace], holder, told))
        yield


def named(doing: str) -> str:
    """Return how somebody who waits is told who works."""
    return f"{doing} (process {os.getpid()})"


def _alone(
    cluster: Any, exercise: Exercise, holder: str, told: Callable[[str], None]
) -> AbstractContextManager[None]:
    return held(cluster, exercise.namespace, holder, lambda line: told(f"{exercise.id}: {line}"))


@contextmanager
def held(cluster: Any, place: str, holder: str, told: Callable[[str], None]) -> Iterator[None]:
    """Hold one place of a cluster; not reentrant."""

    def waiting(other: str) -> None:
        told(f"waiting for another command: {other or 'it has just begun'}")

    # No name of a cluster has a dot: this is not the lock of a cluster.
    name = f"{cluster.name}.{place}"
    with records.exclusive(name, waiting=waiting, holder=holder, patience=PATIENCE) as waited:
        if waited:
            told("the other one is over, going on")
        yield
