"""The start of an exercise, as the journal tells it: what was open, and what was right then.

A check compares with what was measured right after the set-up. Which set-up that was, the
cluster says: a namespace that is made anew has a new UID (Kubernetes, "Object Names and IDs"),
so the journal's event holds the UID of the exercise's namespace and counts for no other one,
be it of another cluster or of the time before a reset.

The event also holds the UIDs of all namespaces that the set-up made. A later version of the course
may make others; what is taken down are those that were noted and that nobody made anew.

The event is written before the namespace gets its mark: whoever interrupts a set-up leaves no
mark, and the next one measures again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.course import setup
from k8slab.course.sealing import seal, unseal
from k8slab.grading import Context, additions, baseline, collateral, values
from k8slab.grading.grade import missing_capabilities
from k8slab.objects import meta
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.course.journal import Event, Journal
    from k8slab.course.lab import Exercise
    from k8slab.grading.additions import Given

NOTHING: Mapping[str, Any] = {"open": []}
"""What is noted about a set-up that somebody else's journal measured: not what was given."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One exercise on one cluster, and the journal that tells about it."""

    lab: str
    exercise: Exercise
    cluster: Any
    journal: Journal

    @property
    def uid(self) -> str:
        """The UID of the exercise's namespace; empty where it is not there."""
        return _uid(self.cluster, self.exercise.namespace)

    @property
    def context(self) -> Context:
        """What values of the cluster are read with."""
        return Context(self.cluster, self.exercise.namespace, self.exercise.setup)

    def newest(self, kind: str, subject: str) -> Event | None:
        """Return the newest event of this kind on this cluster; older journals name none."""
        name = self.cluster.name
        events = self.journal.events(self.lab, kind, subject)
        here = (one for one in reversed(events) if one.data.get("cluster", name) == name)
        return next(here, None)


def _uid(cluster: Any, namespace: str) -> str:
    space = cluster.get("namespaces", namespace)
    return meta.uid_of(space) if space is not None else ""


def note(attempt: Attempt, measured: Mapping[str, Any] = NOTHING) -> None:
    """Write the event of a set-up whose namespaces stand in the cluster."""
    uids = {name: _uid(attempt.cluster, name) for name in attempt.exercise.namespaces}
    place = {"cluster": attempt.cluster.name, "uid": attempt.uid, "namespaces": uids}
    attempt.journal.add(attempt.lab, "setup", attempt.exercise.id, **measured, **place)


def last(attempt: Attempt) -> Event | None:
    """Return the event of the set-up that stands in the cluster; ``None`` without one."""
    uid, name = attempt.uid, attempt.exercise.id
    for event in reversed(attempt.journal.events(attempt.lab, "setup", name)):
        if event.data.get("uid") == uid:
            return event
    # A journal of before UIDs were noted: what was set up on this cluster and not reset since.
    begun, reset = attempt.newest("setup", name), attempt.newest("reset", name)
    if begun is None or "uid" in begun.data or (reset is not None and reset.id > begun.id):
        return None
    return begun


def left_behind(attempt: Attempt) -> list[str]:
    """Return the namespaces that set-ups of the exercise made and that this course's has not."""
    noted: dict[str, str] = {}
    for event in attempt.journal.events(attempt.lab, "setup", attempt.exercise.id):
        noted |= event.data.get("namespaces", {})
    other = sorted(noted.keys() - set(attempt.exercise.namespaces))
    return [name for name in other if noted[name] and _uid(attempt.cluster, name) == noted[name]]


def other_seed(attempt: Attempt) -> str:
    """Say with which other seed's names the set-up stands; empty where the names are the own ones.

    Set-ups of before seeds were noted on them are the own ones where the journal knows them.
    """
    exercise, cluster = attempt.exercise, attempt.cluster
    stands = setup.mark_of(cluster, exercise)
    if exercise.seed is None or stands in ("", setup.wanted_mark(exercise)):
        return ""
    if seed := setup.seed_of(cluster, exercise):
        return "" if seed == str(exercise.seed) else f"the seed {seed}"
    return "" if last(attempt) else "another seed"


def measure(attempt: Attempt) -> dict[str, Any]:
    """Return what is open at the start, every other flow where that must stay, what is given."""
    exercise, context = attempt.exercise, attempt.context
    wants = exercise.wishes.wants
    found: dict[str, Any] = {"open": sorted(baseline(context, wants))}
    if exercise.wishes.no_collateral:
        found["others"] = collateral.measure(attempt.cluster, exercise.namespaces, wants)
    found["given"] = additions.given(context, Snapshot(attempt.cluster))
    if told := _told_now(context, exercise):
        found["sealed"] = seal({"told": told})
    return found


def given(attempt: Attempt) -> Given | None:
    """Return what the cluster itself had put into the fresh set-up; ``None``: nobody noted it."""
    begun = last(attempt)
    return begun.data.get("given") if begun else None


def told(event: Event) -> dict[str, str]:
    """Return the right answers of questions about the start; older journals have them in clear."""
    if "sealed" not in event.data:
        return dict(event.data.get("told", {}))
    found: dict[str, str] = unseal(event.data["sealed"], "the journal")["told"]
    return found


def _told_now(context: Context, exercise: Exercise) -> dict[str, str]:
    """Return the right answers of questions about the start; of what cannot be told, none.

    A provider without the capability that a question takes is told so when it is checked.
    """
    if missing_capabilities(context.cluster, exercise.wishes):
        return {}
    asked = [spec for spec in exercise.wishes.checks if spec.get("at_start")]
    return {spec["id"]: values.as_text(values.read(context, spec["value"])) for spec in asked}
