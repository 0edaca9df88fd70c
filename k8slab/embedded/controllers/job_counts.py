"""What a Job has counted of its pods, so that each counts once and a deleted one still does.

A pod of a Job has a finalizer, which holds it, deleted or not, until it is counted. To count it
takes three writes, after each of which the daemon may end: its UID into the status
(``uncountedTerminatedPods``), the finalizer off, the UID into the number. A pod that an Indexed Job
counts as succeeded needs no UID: its number in ``completedIndexes`` cannot count twice.
Source: ``pkg/controller/job`` (trackJobStatusAndRemoveFinalizers, getNewFinishedPods).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers import conditions, job_indexes, job_policies, times
from k8slab.embedded.controllers.indexes import Indexes
from k8slab.embedded.controllers.job_policies import has_failed
from k8slab.embedded.controllers.pods import is_active
from k8slab.embedded.controllers.seldom import JOB_TRACKING
from k8slab.objects.meta import Object, is_deleting, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

FINALIZER = JOB_TRACKING
INDEX = "batch.kubernetes.io/job-completion-index"
NO_INDEX = -1
FIRST_DELAY, LONGEST_DELAY = 10.0, 600.0
"""Seconds until a failed pod has a successor: DefaultJobPodFailureBackOff and its maximum."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many pods of a Job have ended, counted in its status already or about to be."""

    succeeded: int
    failed: int
    new_succeeded: Sequence[Object] = ()
    new_failed: Sequence[Object] = ()
    done: Indexes = Indexes()  # noqa: RUF009  a value, and the same for all
    """The numbers of an Indexed Job for which a pod has succeeded."""
    lost: Indexes = Indexes()  # noqa: RUF009
    """The numbers that have failed for good, where each has a limit of its own."""
    held: Mapping[int, Object] = field(default_factory=dict)
    """By number: the failed pod that waits for its successor, which counts on from it."""

    def among(self, pods: Iterable[Object]) -> Tally:
        """Return the same with only those of the new ends that are of these pods."""
        uids = {uid_of(pod) for pod in pods}
        succeeded, failed = (
            [pod for pod in new if uid_of(pod) in uids]
            for new in (self.new_succeeded, self.new_failed)
        )
        return replace(self, new_succeeded=succeeded, new_failed=failed)


def tally(job: Object, owned: Sequence[Object]) -> Tally:
    """Count what has ended among the pods of a Job."""
    status = job.get("status") or {}
    noted = uncounted(status)
    known = {*noted["succeeded"], *noted["failed"]}
    fresh = [p for p in owned if is_tracked(p) and uid_of(p) not in known and is_valid(job, p)]
    succeeded = [p for p in fresh if phase(p) == "Succeeded"]
    failed = [p for p in fresh if has_failed(job, p)]
    count = status.get("succeeded", 0) + len(noted["succeeded"]) + len(succeeded)
    failures = status.get("failed", 0) + len(noted["failed"])
    failures += sum(1 for pod in failed if job_policies.failure(job, pod).counts)
    if not is_indexed(job):
        return Tally(count, failures, succeeded, failed)
    done = Indexes.parse(status.get("completedIndexes", ""), completions(job))
    done = done.including(index_of(pod) for pod in succeeded)
    found = Tally(len(done), failures, succeeded, failed, done)
    return _each_alone(job, owned, found) if job_indexes.fail_alone(job) else found


def _each_alone(job: Object, owned: Sequence[Object], found: Tally) -> Tally:
    """Return the tally with the numbers that have failed, and the pods that wait for another."""
    told = (job.get("status") or {}).get("failedIndexes", "")
    lost = Indexes.parse(told, completions(job)).including(
        index_of(pod) for pod in found.new_failed if job_indexes.is_lost(job, pod)
    )
    active = (index_of(pod) for pod in owned if is_active(pod))
    settled = found.done.united(lost).including(active)
    held: dict[int, Object] = {}
    for pod in sorted(found.new_failed, key=lambda p: (job_indexes.failures(p), ended_at(p))):
        if index_of(pod) not in settled:
            held[index_of(pod)] = pod  # the latest stays
    return replace(found, lost=lost, held=held)


def is_tracked(pod: Object) -> bool:
    """Say whether a pod waits to be counted."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def is_valid(job: Object, pod: Object) -> bool:
    """Say whether the pod's end counts: one of an Indexed Job has to have one of its numbers."""
    return not is_indexed(job) or 0 <= index_of(pod) < completions(job)


def uncounted(status: Object) -> dict[str, list[str]]:
    """Return the UIDs that the status has noted and not counted."""
    noted = status.get("uncountedTerminatedPods") or {}
    return {word: list(noted.get(word) or ()) for word in ("succeeded", "failed")}


def note(status: Object, **ended: Iterable[Object]) -> Object:
    """Return the status with the UIDs of these pods noted as ``succeeded`` or ``failed``.

    What is noted as one is never the other, such as a pod that was deleted and then succeeded.
    """
    noted = uncounted(status)
    known = {uid for uids in noted.values() for uid in uids}
    for word, pods in ended.items():
        noted[word] += [uid for uid in map(uid_of, pods) if uid not in known]
    return {**status, "uncountedTerminatedPods": {k: v for k, v in noted.items() if v}}


def settle(status: Object, is_held: Callable[[str], bool]) -> Object:
    """Return the status with those noted pods counted that no finalizer holds any more."""
    made = dict(status)
    noted = uncounted(status)
    for word, uids in noted.items():
        held = [uid for uid in uids if is_held(uid)]
        if len(held) < len(uids):
            made[word] = made.get(word, 0) + len(uids) - len(held)
        noted[word] = held
    made["uncountedTerminatedPods"] = {k: v for k, v in noted.items() if v}
    return made


@dataclass(frozen=True, slots=True)
class BackOff:
    """How many pods have failed since one succeeded, and when the last of them did."""

    failures: int = 0
    last: float = 0.0

    def after(self, found: Tally) -> BackOff:
        """Return what it is with the pods that have just ended."""
        ends = sorted(ended_at(pod) for pod in found.new_failed)
        if not found.new_succeeded:
            return replace(self, failures=self.failures + len(ends), last=max([self.last, *ends]))
        success = max(ended_at(pod) for pod in found.new_succeeded)
        later = [end for end in ends if end > success]
        return BackOff(len(later), max(later, default=0.0))

    def left(self) -> float:
        """Return the seconds until the next pod may come; 0 or less: now."""
        if not self.failures:
            return 0.0
        # Bounded: a power of that many is no float any more.
        delay = min(FIRST_DELAY * 2 ** min(self.failures - 1, 10), LONGEST_DELAY)
        return float(delay - clock.elapsed(self.last))


def ended_at(pod: Object) -> float:
    """Return when a pod ended, as well as it can be told (getFinishedTime)."""
    status, metadata = pod.get("status") or {}, pod["metadata"]
    ends = [
        times.seconds(((c.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        for c in status.get("containerStatuses") or ()
    ]
    if ends and all(ends):
        return max(ends)
    ready = conditions.find(status.get("conditions"), "Ready") or {}
    if ready.get("status") == "False":
        return times.seconds(ready.get("lastTransitionTime"))
    if is_deleting(pod):
        grace = metadata.get("deletionGracePeriodSeconds") or 0
        return times.seconds(metadata["deletionTimestamp"]) - float(grace)
    return times.seconds(metadata.get("creationTimestamp"))


def is_indexed(job: Object) -> bool:
    """Say whether each pod of a Job has a number."""
    return bool(job["spec"].get("completionMode") == "Indexed")


def completions(job: Object) -> int:
    """Return how many numbers an Indexed Job has."""
    return int(job["spec"].get("completions") or 0)


def index_of(pod: Object) -> int:
    """Return the number of a pod; `NO_INDEX` for one without."""
    return job_indexes.noted(pod, INDEX, NO_INDEX)


def phase(pod: Object) -> str:
    """Return the pod's phase, empty where nobody has set one."""
    return str((pod.get("status") or {}).get("phase", ""))
