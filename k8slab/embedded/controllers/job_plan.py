"""What to do for a Job now: which pods come and go, and whether it has ended; pure.

A Job ends in two steps. First it is decided (``SuccessCriteriaMet``, ``FailureTarget``) and its
pods are deleted; when the last of them has gone and is counted, it is ``Complete`` or ``Failed``.
Source: batch/v1 ``JobSpec``, ``JobStatus``; ``pkg/controller/job`` (syncJob, manageJob).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers import (
    conditions,
    deletion_order,
    job_counts,
    job_indexes,
    job_policies,
    pods,
    times,
)
from k8slab.embedded.controllers.job_counts import NO_INDEX, BackOff, index_of, is_indexed
from k8slab.embedded.controllers.job_policies import has_failed, waits_for_end
from k8slab.objects.meta import Object, is_deleting, uid_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.controllers.job_counts import Tally

DEFAULT_LIMIT = 6
MOST = 500
"""Pods made or deleted at one look (upstream's ``MaxPodCreateDeletePerSync``)."""

FINAL = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps that are next."""

    verdict: Object | None = None
    """The condition with which it is decided how the Job ends, one of the keys of `FINAL`."""
    deletions: Sequence[Object] = ()
    creations: Sequence[int] = ()
    """The numbers of pods that are missing; `NO_INDEX` for each where they have none."""
    wait: float | None = None
    """Seconds until the Job has to be looked at again."""


def plan(job: Object, owned: Sequence[Object], found: Tally, back_off: BackOff) -> Plan:
    """Return what is to be done for a Job that controls the pods `owned`."""
    active = [pod for pod in owned if pods.is_active(pod)]
    verdict = _decided(job) or _failure(job, owned, found) or _success(job, found)
    if verdict is not None:
        return Plan(verdict, active)
    if is_deleting(job):
        return Plan()
    deadline = None if is_suspended(job) else deadline_in(job)
    wanted = _wanted(job, found, len(active))
    deletions = _too_many(job, active, wanted)[:MOST]
    left = len(active) - len(deletions)
    going = _going(job, owned)
    if not left and _is_enough(job, found):
        text = "Reached expected number of succeeded pods"
        return Plan(condition("SuccessCriteriaMet", "CompletionsReached", text), deletions)
    if deletions or left + len(going) >= wanted:
        return Plan(None, deletions, (), deadline)
    wait = 0.0 if job_indexes.fail_alone(job) else back_off.left()
    creations: list[int] = []
    if wait <= 0:
        count = min(wanted - left - len(going), MOST)
        creations, wait = _rested(_missing(job, [*active, *going], found, count), found)
    if wait > 0 and deadline is not None:
        wait = min(wait, deadline)
    return Plan(None, (), creations, wait if wait > 0 else deadline)


def is_suspended(job: Object) -> bool:
    """Say whether the Job is to have no pods for now."""
    return bool(job["spec"].get("suspend"))


def deadline_in(job: Object) -> float | None:
    """Return the seconds until ``activeDeadlineSeconds`` have passed since the Job's start."""
    seconds = job["spec"].get("activeDeadlineSeconds")
    if seconds is None:
        return None
    begun = (job.get("status") or {}).get("startTime")
    return float(seconds) - (clock.elapsed(times.seconds(begun)) if begun else 0.0)


def condition(kind: str, reason: str, message: str, *, status: bool = True) -> Object:
    """Return a condition of a Job that begins now."""
    return {
        "type": kind,
        "status": conditions.word(status),
        "reason": reason,
        "message": message,
        "lastProbeTime": times.text(),
        "lastTransitionTime": times.text(),
    }


def _decided(job: Object) -> Object | None:
    found = (job.get("status") or {}).get("conditions")
    for kind in FINAL:
        if conditions.is_true(found, kind):
            return conditions.find(found, kind)
    return None


def _failure(job: Object, owned: Sequence[Object], found: Tally) -> Object | None:
    if why := job_policies.fatal(job, owned):
        return condition("FailureTarget", "PodFailurePolicy", why)
    limit = job["spec"].get("backoffLimit", DEFAULT_LIMIT)
    if found.failed > limit or _restarted_too_often(job, owned, limit):
        text = "Job has reached the specified backoff limit"
        return condition("FailureTarget", "BackoffLimitExceeded", text)
    left = deadline_in(job)
    if left is not None and left <= 0 and not is_suspended(job):
        text = "Job was active longer than specified deadline"
        return condition("FailureTarget", "DeadlineExceeded", text)
    return _failed_numbers(job, found) if job_indexes.fail_alone(job) else None


def _failed_numbers(job: Object, found: Tally) -> Object | None:
    limit = job["spec"].get("maxFailedIndexes")
    if limit is not None and len(found.lost) > limit:
        text = "Job has exceeded the specified maximal number of failed indexes"
        return condition("FailureTarget", "MaxFailedIndexesExceeded", text)
    if found.lost and len(found.lost) + len(found.done) >= job_counts.completions(job):
        return condition("FailureTarget", "FailedIndexes", "Job has failed indexes")
    return None


def _success(job: Object, found: Tally) -> Object | None:
    why = job_policies.success(job, found.done)
    return condition("SuccessCriteriaMet", "SuccessPolicy", why) if why else None


def _restarted_too_often(job: Object, owned: Sequence[Object], limit: int) -> bool:
    """Say whether containers were started again too often; they count where pods do not fail."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(
        container.get("restartCount", 0)
        for pod in owned
        if not pods.is_finished(pod)
        for kind in ("initContainerStatuses", "containerStatuses")
        for container in (pod.get("status") or {}).get(kind) or ()
    )
    return bool(restarts >= max(limit, 1))


def _is_enough(job: Object, found: Tally) -> bool:
    completions = job["spec"].get("completions")
    if completions is None:
        return found.succeeded > 0  # a work queue is done when one pod says so
    return found.succeeded >= int(completions)


def _wanted(job: Object, found: Tally, active: int) -> int:
    """Return how many active pods ``parallelism`` and the rest to do allow."""
    if is_suspended(job):
        return 0
    completions, parallelism = job["spec"].get("completions"), job["spec"].get("parallelism", 1)
    if completions is None:
        return active if found.succeeded else int(parallelism)
    return max(0, min(int(parallelism), int(completions) - found.succeeded))


def _too_many(job: Object, active: Sequence[Object], wanted: int) -> list[Object]:
    """Return the pods that go: those whose number is wrong or taken, and then the least useful."""
    spare = len(active) - wanted
    wrong = _misnumbered(job, active) if is_indexed(job) else {}
    if spare <= 0 and not wrong:
        return []
    rest = [pod for pod in active if uid_of(pod) not in wrong]
    return [*wrong.values(), *deletion_order.first_to_go(rest)[: max(0, spare - len(wrong))]]


def _misnumbered(job: Object, active: Sequence[Object]) -> dict[str, Object]:
    """Return by their UIDs the pods without a number of the Job, and all but one of each number."""
    numbers = {index_of(pod) for pod in active}
    if len(numbers) == len(active) and all(job_counts.is_valid(job, pod) for pod in active):
        return {}
    found: dict[str, Object] = {}
    taken: set[int] = set()
    for pod in reversed(deletion_order.first_to_go(active)):
        if not job_counts.is_valid(job, pod) or index_of(pod) in taken:
            found[uid_of(pod)] = pod
        taken.add(index_of(pod))
    return found


def _going(job: Object, owned: Sequence[Object]) -> list[Object]:
    """Return the deleted pods in whose place none may come before they have ended."""
    if not waits_for_end(job):
        return []
    deleted = (pod for pod in owned if is_deleting(pod) and not pods.is_finished(pod))
    return [pod for pod in deleted if not has_failed(job, pod)]


def _missing(job: Object, there: Sequence[Object], found: Tally, count: int) -> list[int]:
    if not is_indexed(job):
        return [NO_INDEX] * count
    taken = found.done.united(found.lost).including(index_of(pod) for pod in there)
    return taken.missing(job_counts.completions(job), count)


def _rested(numbers: Sequence[int], found: Tally) -> tuple[list[int], float]:
    """Return which numbers may have their next pod, and the seconds until another may.

    Where each number fails for itself, it has a back-off of its own (getRemainingTimePerIndex).
    """
    waits = [(number, _rest(found.held.get(number))) for number in numbers]
    ready = [number for number, wait in waits if wait <= 0]
    return ready, min((wait for _, wait in waits if wait > 0), default=0.0)


def _rest(pod: Object | None) -> float:
    if pod is None:
        return 0.0
    return BackOff(job_indexes.failures(pod), job_counts.ended_at(pod)).left()


def can_be_counted(job: Object, pod: Object, verdict: Object | None, found: Tally) -> bool:
    """Say whether a pod need not be held any longer: it, or the whole Job, has come to its end."""
    if verdict is not None or is_deleting(job) or job_counts.phase(pod) == "Succeeded":
        return True
    held = found.held.get(index_of(pod))
    return has_failed(job, pod) and (held is None or uid_of(held) != uid_of(pod))
