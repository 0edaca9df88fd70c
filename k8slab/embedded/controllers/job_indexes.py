"""Numbers of an Indexed Job that fail each for itself (``backoffLimitPerIndex``); pure.

How often a number has failed stands in an annotation of its latest pod. So a failed pod is held
until its successor, which has one failure more, is there. Source: ``pkg/controller/job``
(isIndexFailed, getPodsWithDelayedDeletionPerIndex, getNewIndexFailureCounts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers import job_policies
from k8slab.objects.meta import Object, annotations_of

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
MOST = 2**31 - 1


def fail_alone(job: Object) -> bool:
    """Say whether each number of the Job has a limit of its own."""
    return job["spec"].get("backoffLimitPerIndex") is not None


def is_lost(job: Object, pod: Object) -> bool:
    """Say whether with this failed pod its number has failed for good."""
    found = job_policies.failure(job, pod)
    if found.action == "FailIndex":
        return True
    return found.counts and noted(pod, FAILURES, 0) >= int(job["spec"]["backoffLimitPerIndex"])


def failures(pod: Object | None) -> int:
    """Return how often the number of a failed pod has failed with it; 0 where there is none."""
    return noted(pod, FAILURES, 0) + noted(pod, IGNORED, 0) + 1 if pod else 0


def told(job: Object, before: Object | None) -> Mapping[str, str]:
    """Return the annotations of a new pod, for whose number `before` has failed last, if any."""
    if before is None:
        return {FAILURES: "0"}
    counts = job_policies.failure(job, before).counts
    ignored = noted(before, IGNORED, 0) + (not counts)
    made = {FAILURES: str(noted(before, FAILURES, 0) + counts)}
    return {**made, IGNORED: str(ignored)} if ignored else made


def noted(pod: Object, name: str, otherwise: int) -> int:
    """Return the number that an annotation tells; `otherwise` for what somebody else wrote."""
    text = annotations_of(pod).get(name, "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else otherwise
    return number if number <= MOST else otherwise
