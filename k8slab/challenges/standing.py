"""How long challenges stood ready: what a limit of time is spent on.

A challenge stands until somebody ends it, whatever is done meanwhile: its clock is on the wall.
The command that removes its cluster notes the end (`removal`). With a cluster that goes in another
way it goes unseen: what the learner did last in the challenge is then its end.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from k8slab import clusters
from k8slab.challenges.challenge import JOURNAL, identity
from k8slab.clusters import records
from k8slab.errors import K8slabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from k8slab.course.journal import Event, Journal

ANYWHERE = "existing"
"""The provider of clusters that are elsewhere: what is not known here any more may still run."""


def spent(limited: Sequence[Sequence[Event]]) -> float:
    """Return for how many seconds challenges stood ready: each until its end, or until now.

    Where two stood side by side, on two clusters, their time counts once.
    """
    total = last = 0.0
    for began, ended in sorted(map(_stood, limited)):
        total += max(0.0, ended - max(began, last))
        last = max(last, ended)
    return total


def _stood(run: Sequence[Event]) -> tuple[float, float]:
    """Return from when to when a challenge stood ready; one that never did, for no time."""
    ready = next((event.time for event in run if event.kind == "setup"), None)
    if ready is None:
        return 0.0, 0.0
    ends = [event for event in run if event.kind == "reset"]
    if ends and not ends[0].data.get("gone"):
        return ready, ends[0].time
    if ends or is_gone(run[0]):
        return ready, [event for event in run if event not in ends][-1].time
    return ready, time.time()


def is_ours(cluster: Any) -> bool:
    """Say whether a cluster is made and removed under its name here: gone when that is gone.

    A cluster of others is only forgotten, and one that is given by its kubeconfig alone may be
    called as one of ours is.
    """
    return cluster.provider != ANYWHERE and cluster.name in clusters.names()


@contextmanager
def removal(name: str, journal: Journal) -> Iterator[None]:
    """Note the end of the challenge that stands on a cluster, when the block has removed it."""
    name = records.chosen_name(name)
    stands = _standing(name, journal)
    yield
    if stands:
        journal.add(JOURNAL, "reset", stands.subject, cluster=name)


def _standing(name: str, journal: Journal) -> Event | None:
    """Return the begin of the challenge that nobody ended on a cluster of ours; else ``None``."""
    here = [one for one in journal.events(JOURNAL) if one.data.get("cluster") == name]
    last = next((one for one in reversed(here) if one.kind == "begin"), None)
    if last is None or not last.data.get("listed"):
        return None
    ended = any(one.id > last.id and one.kind == "reset" for one in here)
    return None if ended or is_gone(last) else last


def is_gone(begun: Event) -> bool:
    """Say whether the cluster of a challenge is known to be gone: removed, or made anew.

    Of one that does not run nobody can say which it is: it is taken for the same.
    """
    name = begun.data.get("cluster", "")
    if not begun.data.get("listed"):
        return False
    if name not in clusters.names():
        return True
    try:
        there = identity(clusters.attach(name))
    except K8slabError:
        return False
    return bool(there != begun.data.get("uid", there))
