"""The start of a challenge: set the scene up, break it, wait until the symptom shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.challenges import actions, losing, recipe, seeds
from k8slab.challenges.challenge import (
    JOURNAL,
    Challenge,
    alone,
    current,
    identity,
    is_open,
    last_begun,
    silent,
    wrong_of,
)  # fmt: skip
from k8slab.challenges.words import words
from k8slab.course import setup
from k8slab.course.journal import Journal
from k8slab.course.sealing import seal, unseal
from k8slab.errors import ClusterNotReadyError
from k8slab.grading import Context, Status, additions, collateral
from k8slab.grading.checks import run_check
from k8slab.grading.polling import Polling
from k8slab.grading.wants import look
from k8slab.objects import meta
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.challenges.recipe import Case
    from k8slab.challenges.seeds import Choice
    from k8slab.grading import Finding
    from k8slab.objects.meta import Object

SYMPTOM_SECONDS = 40.0


def start(
    cluster: Any,
    choice: Choice | None = None,
    *,
    journal: Journal | None = None,
    told: Callable[[str], None] = silent,
) -> Challenge:
    """Begin a challenge: set its scene up, break it, and wait until the symptom shows.

    Ends the one that is under way. Raises `UsageError` for a fault that cannot be injected here,
    `ClusterNotReadyError` when the symptom does not show.
    """
    with alone(cluster, "a start", told):
        return _start(cluster, choice or seeds.Choice(), journal or Journal(), told)


def _start(
    cluster: Any, choice: Choice, journal: Journal, told: Callable[[str], None]
) -> Challenge:
    if (old := current(cluster, journal=journal, told=told)) is not None:
        told("ending the challenge before")
        old.end()
    elif (left := last_begun(cluster, journal)) is not None and is_open(left, cluster, journal):
        # It went with the cluster that had this name before.
        journal.add(JOURNAL, "reset", left.subject, cluster=cluster.name)
    name = choice.sequence
    earlier = [one for one in journal.events(JOURNAL, "begin") if one.data.get("of", "") == name]
    number = sum(bool(one.data.get("drawn")) for one in earlier)
    seed = seeds.seed_of(choice, journal.seed, number)
    found = seeds.pick(choice, seed, seeds.possible(cluster))
    filled = words(seed, seeds.worker_names(cluster))
    case = recipe.read(found, seed, filled, cluster.capabilities)
    told("making the scene")
    if cluster.get("namespaces", case.namespace) is not None:
        _remove(cluster, case, told)
    secret = {"fault": found.id, "words": filled, "before": actions.before(cluster, case)}
    journal.add(
        JOURNAL,
        "begin",
        str(seed),
        cluster=cluster.name,
        uid=identity(cluster),
        sealed=seal(secret),
        of=name,
        drawn=choice.seed is None,
        minutes=choice.minutes,
        **_known(journal, seed, found.id),
    )
    begun = last_begun(cluster, journal)
    assert begun is not None
    challenge = Challenge(cluster, case, journal, begun, told)
    if challenge.shown:
        told("its answer was shown before: it gives no points any more")
    _make(challenge)
    return challenge


def _known(journal: Journal, seed: int, fault: str) -> dict[str, Any]:
    """Return what is known of this challenge already, from whenever it was begun before.

    A seed gives the same challenge again on any cluster: the answer that was shown is its answer,
    and a guess that was wrong is still wrong.
    """
    same, shown, diagnoses = False, False, []
    for event in journal.events(JOURNAL, subject=str(seed)):
        if event.kind == "begin":
            same = unseal(event.data["sealed"], "the journal")["fault"] == fault
        elif same:
            shown = shown or event.kind == "solution"
            diagnoses += [event] if event.kind == "diagnosis" else []
    return {"shown": shown, "wrong": wrong_of(diagnoses)}


def _make(challenge: Challenge) -> None:
    cluster, case = challenge.cluster, challenge.case
    cluster.apply([_space(name, case) for name in case.namespaces])
    cluster.apply([obj for obj in case.setup if obj["kind"] != "Namespace"])
    setup.wait_ready(cluster, case.sound, SYMPTOM_SECONDS)
    given = additions.given(challenge.context, Snapshot(cluster))
    challenge.told("breaking it")
    # A scene that is broken afterwards is whole now; one that is broken from the start never was.
    others = _others(challenge) if case.inject else None
    actions.run(cluster, case, case.inject)
    challenge.told("waiting until it shows")
    _await_symptom(challenge)
    if others is None:
        others = _others(challenge)
    lost = losing.places(cluster, case)
    challenge.note(
        "setup",
        others=others,
        given=given,
        sealed=seal({"lost": "".join(lost[:1]), "also": lost[1:]}),
    )


def _space(name: str, case: Case) -> Object:
    given = (obj for obj in case.setup if obj["kind"] == "Namespace" and meta.name_of(obj) == name)
    labels = {**meta.labels_of(next(given, {})), **setup.LABELS}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _others(challenge: Challenge) -> list[list[Any]]:
    """Measure every flow of the scene that the challenge is not about: it has to stay so."""
    case = challenge.case
    wants = [*case.wishes.wants, *case.symptom.wants]
    return collateral.measure(challenge.cluster, case.namespaces, wants)


def _await_symptom(challenge: Challenge) -> None:
    """Return when the symptom shows; `ClusterNotReadyError` when it does not."""
    seen = Polling(
        look=lambda: _not_shown(challenge),
        good=lambda missing: not missing,
        quiet=lambda _: False,
        deadline=SYMPTOM_SECONDS,
        settled=1,
    ).run()
    if seen:
        raise ClusterNotReadyError(
            f"the challenge {challenge.seed} does not show what it should: {'; '.join(seen)}",
            hint="k8slab challenge stop brings everything back; another seed may do",
        )


def _not_shown(challenge: Challenge) -> list[str]:
    """Look once, and say what of the symptom does not show; nothing when all of it does."""
    cluster, symptom = challenge.cluster, challenge.case.symptom
    context = Context(cluster, challenge.namespace, challenge.case.setup, deadline=0.0)
    pairs = look(cluster, symptom.wants)
    wrong = [f"{w}: {seen.outcome.value}" for w, seen in pairs if not w.fulfilled_by(seen.outcome)]
    if wrong:
        return wrong
    shown = [run_check(context, spec) for spec in symptom.checks]
    wrong += [f"{one.check}: {' '.join(one.lines)}" for one in shown if not _passed(one)]
    fine = [run_check(context, spec) for spec in symptom.fails] if not wrong else []
    return wrong + [f"{one.check}: it is fine" for one in fine if _passed(one)]


def _passed(finding: Finding) -> bool:
    return finding.status is Status.PASSED


def mend(cluster: Any, case: Case) -> None:
    """Mend a case as its recipe does; for tests of the recipes."""
    actions.run(cluster, case, case.fix)
    for obj in case.mended if not case.fix else ():
        actions.replace(cluster, obj)


def _remove(cluster: Any, case: Case, told: Callable[[str], None]) -> None:
    """Delete a case's namespaces, and return when they are gone."""
    for name in case.namespaces:
        cluster.delete("namespaces", name)
    for name in case.namespaces:
        told(f"waiting until the namespace {name} is gone")
        cluster.wait("namespaces", name, until="delete", deadline=actions.GONE_SECONDS)
