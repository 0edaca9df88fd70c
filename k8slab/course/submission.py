"""Gather what a learner hands in: the answers that stand in the cluster, and what was typed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k8slab.clusters.permitted import permitted
from k8slab.course import setup, start, turns
from k8slab.course.difference import Difference, Estate
from k8slab.course.progress import progress
from k8slab.course.session import Session
from k8slab.grading import interrupted
from k8slab.grading.additions import Added, doubtful
from k8slab.grading.watched import pattern_of
from k8slab.objects import meta
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.course.journal import Journal
    from k8slab.course.lab import Exercise, Lab
    from k8slab.course.progress import LabProgress


@dataclass
class Gathered:
    """What was found: the value of ``answers.json``, and what the learner should know of it."""

    answers: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    """One line for each exercise that is handed in."""
    warnings: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Say whether there is nothing to hand in."""
        return not any(lab["exercises"] for lab in self.answers["labs"].values())


def gather(
    chosen: Sequence[tuple[Lab, Sequence[str]]],
    cluster: Any,
    journal: Journal,
    *,
    told: Callable[[str], None] = lambda _line: None,
) -> Gathered:
    """Read the answers to the chosen exercises from the cluster and the journal."""
    answers: dict[str, Any] = {
        "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seed": journal.seed(),
        "versions": {"k8slab": __version__, "provider": cluster.provider},
        "cluster": _cluster(cluster),
        "labs": {},
    }
    attempts = [
        start.Attempt(lab.name, lab.exercises[name], cluster, journal)
        for lab, names in chosen
        for name in names
    ]
    gathered = Gathered(answers)
    with turns.alone(cluster, [one.exercise for one in attempts], doing="submit", told=told):
        told("reading the cluster")
        begun = [one for one in attempts if setup.is_marked(cluster, one.exercise)]
        for one in begun:
            if not start.other_seed(one):  # what a check that was killed took is nobody's answer
                interrupted.mend(one.context)
        estate = Estate.read(cluster, [one.exercise for one in begun])
        for lab, names in chosen:
            session = Session(lab, cluster, journal)
            answers["labs"][lab.name] = _lab(gathered, session, names, told=told, estate=estate)
    return gathered


def _cluster(cluster: Any) -> dict[str, Any]:
    """Return what a replay should know of the cluster; how many nodes only where one may see."""
    nodes = permitted(lambda: cluster.list("nodes"))
    return {"name": cluster.name, **({"nodes": min(10, len(nodes))} if nodes else {})}


def _lab(
    gathered: Gathered,
    session: Session,
    names: Sequence[str],
    *,
    estate: Estate,
    told: Callable[[str], None],
) -> dict[str, Any]:
    lab, found = session.lab, {}
    counted = progress(lab, session.journal)
    for name in names:
        told(f"gathering {lab.name}/{name}")
        claimed = _claimed(session, lab.exercises[name], counted)
        if entry := _entry(gathered, session, lab.exercises[name], estate, claimed):
            found[name] = entry
    predictions = {"made": counted.predicted, "of": counted.predictions}
    return {"exercises": found, "predictions": predictions}


def _entry(
    gathered: Gathered,
    session: Session,
    exercise: Exercise,
    estate: Estate,
    claimed: dict[str, Any],
) -> dict[str, Any] | None:
    """Return one exercise's entry; ``None`` when nothing was ever done about it."""
    place = f"{session.lab.name}/{exercise.id}"
    mark = setup.mark_of(session.cluster, exercise)
    if not mark:
        if not claimed["checks"]:
            return None
        gathered.warnings.append(
            f"{place}: checked before, but it is not set up in this cluster now: nothing of it "
            "can be handed in"
        )
        return {"claimed": claimed}
    attempt = start.Attempt(session.lab.name, exercise, session.cluster, session.journal)
    if other := start.other_seed(attempt):
        gathered.warnings.append(
            f"{place}: it stands in this cluster with the names of {other}, which are not yours: "
            "nothing of it can be handed in"
        )
        return {"claimed": claimed}
    given = start.given(attempt)
    difference = estate.difference(exercise, given)
    if given is None:
        gathered.warnings += _doubts(attempt, difference)
    typed = _typed(session, exercise)
    words = [difference.told(), *([f"{len(typed)} answers typed"] if typed else [])]
    gathered.lines.append(f"{place}: {', '.join(words)}")
    if mark != setup.wanted_mark(exercise):
        gathered.warnings.append(
            f"{place}: another version of the course set it up, and it is graded by this one: "
            "begin it again, do your work there, and hand that in"
        )
    if claimed["points"] and claimed["status"] != "passed":
        gathered.warnings.append(
            f"{place}: it was solved once, and its last check says {claimed['status']}: "
            "what stands in the cluster now is handed in"
        )
    return {"setup": mark, "claimed": claimed, "typed": typed, **_parts(difference)}


def _doubts(attempt: start.Attempt, difference: Difference) -> list[str]:
    """Say what may be the cluster's own, where nobody noted what it had put there."""
    unknown = replace(attempt.context, given=None)
    spaces = (obj for obj in difference.changed if obj["kind"] == "Namespace")
    found = [Added(pattern_of(obj), meta.namespace_of(obj)) for obj in (*difference.added, *spaces)]
    named = [one.pattern for one in found if doubtful(unknown, one)]
    line = (
        f"{attempt.lab}/{attempt.exercise.id}: {', '.join(named)}: handed in, but by you or by the "
        "cluster itself: this journal did not see what the cluster had put there at the start; "
        "reset the exercise with --keep-mine (keep_mine=True): it is noted then, and your work "
        "is done again"
    )
    return [line] if named else []


def _parts(difference: Difference) -> dict[str, Any]:
    return {
        "added": [*difference.added],
        "changed": [*difference.changed],
        "deleted": [*difference.deleted],
    }


def _claimed(session: Session, exercise: Exercise, counted: LabProgress) -> dict[str, Any]:
    """Return what the journal says about an exercise, as its learner sees it."""
    lab, journal = session.lab.name, session.journal
    checks = journal.about(lab, "check", exercise.ids)
    steps = {event.data.get("step") for event in journal.about(lab, "hint", exercise.ids)}
    return {
        "status": checks[-1].data.get("status", "") if checks else "",
        "points": counted.points.get(exercise.id, 0),
        "max_points": exercise.wishes.points,
        "checks": len(checks),
        "hints": len(steps),
        "saw_solution": exercise.id in counted.saw_solution,
    }


def _typed(session: Session, exercise: Exercise) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for question, one in session.typed(exercise).items():
        found[question] = {"text": one.text}
        if one.stands_for:
            found[question]["stands_for"] = one.stands_for
    return found
