"""The start of a challenge: set the scene up, break it, wait until the symptom shows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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
from k8slab.challenges.history import runs
from k8slab.challenges.standing import is_ours, spent
from k8slab.challenges.words import words
from k8slab.clusters import shape
from k8slab.course import setup
from k8slab.course.journal import Journal
from k8slab.course.sealing import seal, unseal
from k8slab.errors import ClusterNotReadyError
from k8slab.grading import Context, Status, additions, collateral
from k8slab.grading.checks import run_check
from k8slab.grading.polling import Polling
from k8slab.grading.wants import look
from k8slab.objects import meta
from k8slab.probes.outcome import Outcome
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.challenges.recipe import Case
    from k8slab.challenges.seeds import Choice
    from k8slab.grading import Finding
    from k8slab.grading.wants import Want
    from k8slab.objects.meta import Object

SYMPTOM_SECONDS = 40.0
LONGEST_PAUSE = 0.1
"""Seconds between two looks for the symptom: somebody waits for it."""
SILENCE = 0.25
"""Seconds until silence is taken for the symptom. Nothing is scored by it, and what answers later
than that after all is looked at again where it should be open: a check waits for longer."""


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
    own = [one for one in journal.events(JOURNAL, "begin") if not one.data.get("of")]
    number = sum(bool(one.data.get("drawn")) for one in own)
    seed = seeds.seed_of(choice, journal.seed, number)
    # What cannot be begun ends nothing. The shape is seen afterwards: a fault may hide a node.
    seeds.pick(choice, seed, {*cluster.capabilities, *seeds.SHAPE})
    if (old := current(cluster, journal=journal, told=told)) is not None:
        told("ending the challenge before")
        old.end()
    elif (left := last_begun(cluster, journal)) is not None and is_open(left, cluster, journal):
        # It went with the cluster that had this name before.
        journal.add(JOURNAL, "reset", left.subject, cluster=cluster.name, gone=True)
    found = seeds.pick(choice, seed, seeds.possible(cluster))
    filled = words(seed, shape.workers(cluster.list("nodes")))
    case = recipe.read(found, seed, filled, cluster.capabilities)
    told("making the scene")
    if any(cluster.get("namespaces", name) is not None for name in case.namespaces):
        _remove(cluster, case, told)
    secret = {"fault": found.id, "words": filled, "before": actions.before(cluster, case)}
    journal.add(
        JOURNAL,
        "begin",
        str(seed),
        cluster=cluster.name,
        uid=identity(cluster),
        listed=is_ours(cluster),
        sealed=seal(secret),
        of=choice.names,
        drawn=choice.seed is None,
        asked=choice.asked,
        times=len(runs(journal, seed)) + 1,
        within=choice.minutes,  # as it was called, whatever is left of the time
        **_known(journal, seed, found.id, choice.minutes),
    )
    begun = last_begun(cluster, journal)
    assert begun is not None
    challenge = Challenge(cluster, case, journal, begun, told)
    if challenge.shown:
        told("its answer was shown before: it gives no points any more")
    _make(challenge)
    if challenge.late and not challenge.shown:
        told("its time was over before: it gives no points any more")
    return challenge


def _known(journal: Journal, seed: int, fault: str, minutes: float) -> dict[str, Any]:
    """Return what is known of this challenge already, from whenever it was begun before.

    A seed gives the same challenge again on any cluster: the answer that was shown is its answer,
    a guess that was wrong is still wrong, and time that was limited is spent. The shortest limit
    that it was begun with stays.
    """
    same = [
        run
        for run in runs(journal, seed)
        if unseal(run[0].data["sealed"], "the journal")["fault"] == fault
    ]
    known = [event for run in same for event in run]
    limited = [run for run in same if run[0].data.get("minutes")]
    limits = [run[0].data["minutes"] for run in limited]
    return {
        "shown": any(event.kind == "solution" for event in known),
        "wrong": wrong_of(event for event in known if event.kind == "diagnosis"),
        "minutes": min([*limits, *([minutes] if minutes else [])], default=0),
        "spent": spent(limited),
    }


def _make(challenge: Challenge) -> None:
    cluster, case = challenge.cluster, challenge.case
    cluster.apply([_space(name, case) for name in case.namespaces])
    cluster.apply([obj for obj in case.setup if obj["kind"] != "Namespace"])
    setup.wait_ready(cluster, case.sound, SYMPTOM_SECONDS)
    given = additions.given(challenge.context, Snapshot(cluster))
    others = None
    if case.inject:
        # Such a scene is whole now; one that is broken from the start never was.
        _await_services(challenge)
        others = _others(challenge)
    challenge.told("breaking it")
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


def _await_services(challenge: Challenge) -> None:
    """Return when the nodes have the Services of the scene.

    Pods are ready a moment before the nodes' rules know of them as endpoints. An agent stopped
    within it would leave rules without endpoints, and the challenge would be another one.
    """
    case = challenge.case
    selecting = (o for o in case.setup if o["kind"] == "Service" and o["spec"].get("selector"))
    there = {(meta.name_of(service), meta.namespace_of(service)) for service in selecting}
    wants = [
        want
        for want in case.wishes.wants
        if want.wish == Outcome.OPEN.value and (to := want.flow.destination).kind == "svc"
        if (to.name, to.namespace) in there
    ]
    _poll(challenge, lambda: _not_as_wanted(challenge, wants))


def _await_symptom(challenge: Challenge) -> None:
    """Return when the symptom shows; `ClusterNotReadyError` when it does not."""
    _poll(challenge, lambda: _not_shown(challenge))


def _poll(challenge: Challenge, look_once: Callable[[], list[str]]) -> None:
    seen = Polling(
        look=look_once,
        good=lambda missing: not missing,
        quiet=lambda _: False,
        deadline=SYMPTOM_SECONDS,
        settled=1,
        longest_pause=LONGEST_PAUSE,
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
    with ThreadPoolExecutor() as pool:  # both may wait for silence
        shown = pool.map(lambda spec: run_check(context, spec), symptom.checks)
        wrong = _not_as_wanted(challenge, symptom.wants)
        wrong += [f"{one.check}: {' '.join(one.lines)}" for one in shown if not _passed(one)]
    fine = [run_check(context, spec) for spec in symptom.fails] if not wrong else []
    return wrong + [f"{one.check}: it is fine" for one in fine if _passed(one)]


def _not_as_wanted(challenge: Challenge, wants: Sequence[Want]) -> list[str]:
    pairs = look(challenge.cluster, wants, deadline=SILENCE)
    return [f"{w}: {seen.outcome.value}" for w, seen in pairs if not w.fulfilled_by(seen.outcome)]


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
