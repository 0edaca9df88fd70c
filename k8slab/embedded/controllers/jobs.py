"""Jobs: pods that run to completion, so many at a time, so many in all.

An Indexed Job runs one pod for each number below ``completions``. Source: batch/v1 ``JobSpec``;
``pkg/controller/job``. A pod that failed counts against
``backoffLimit``; the next one comes after 10 s, doubled by each failure, at most 10 min.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers import conditions, pods, times
from k8slab.embedded.controllers.children import Children
from k8slab.embedded.controllers.controller import Controller
from k8slab.objects.meta import Object, annotations_of, is_deleting, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.controllers.context import Context

RESOURCE = "jobs.batch"
COMPONENT = "job-controller"
FIRST_DELAY, LONGEST_DELAY = 10.0, 600.0
DEFAULT_LIMIT = 6
INDEX = "batch.kubernetes.io/job-completion-index"


class Jobs(Controller):
    """The loop over Jobs."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "jobs")
        self._pods = self._own(Children(context.api, RESOURCE, "pods", self.loop))

    def _reconcile(self, key: str) -> float | None:
        namespace, name = key.split("/", 1)
        job = self._context.api.get(RESOURCE, name, namespace)
        if job is None or is_deleting(job):
            return None
        if ended := _end(job):
            return self._expire(job, ended)
        owned = self._pods.claim(job)
        failed = [p for p in owned if _phase(p) == "Failed"]
        verdict = _verdict(job, owned, failed)
        wait = None
        if verdict is None:
            wait = self._run(job, owned, failed)
        else:
            for pod in owned:
                if pods.is_active(pod):
                    pods.delete(self._context, pod)
        self._write_status(job, self._pods.of(job), verdict)
        return wait

    def _run(self, job: Object, owned: Sequence[Object], failed: Sequence[Object]) -> float | None:
        """Have as many active pods as ``parallelism`` and the rest to do allow."""
        spec = job["spec"]
        active = [p for p in owned if pods.is_active(p)]
        succeeded = _succeeded(job, owned)
        completions = spec.get("completions")
        wanted = spec.get("parallelism", 1)
        if completions is not None:
            wanted = min(wanted, completions - succeeded)
        elif succeeded:
            wanted = min(wanted, len(active))  # a work queue is done when one pod says so
        if spec.get("suspend"):
            wanted = 0
        for pod in pods.first_to_go(active)[: max(0, len(active) - wanted)]:
            pods.delete(self._context, pod)
        if len(active) >= wanted:
            return _deadline_in(job)
        if (wait := _back_off(failed)) > 0:
            return wait
        indexes = missing_indexes(job, owned)
        for number in range(wanted - len(active)):
            if indexes is None:
                self._create(job)
            elif number < len(indexes):
                self._create(job, indexes[number])
        return _deadline_in(job)

    def _create(self, job: Object, index: int | None = None) -> None:
        pod = pods.from_template(job, job["spec"]["template"])
        pod["metadata"]["generateName"] = f"{name_of(job)}-"
        if index is not None:
            _give_index(job, pod, index)
        made = pods.create(self._context, job, pod, component=COMPONENT)
        text = f"Created pod: {name_of(made)}"
        self._context.events.record(job, "SuccessfulCreate", text, component=COMPONENT)

    def _write_status(self, job: Object, owned: Sequence[Object], verdict: Object | None) -> None:
        api = self._context.api
        latest = api.get(RESOURCE, name_of(job), namespace_of(job))
        if latest is None:
            return
        before = latest.get("status") or {}
        active = [p for p in owned if pods.is_active(p)]
        status: Object = {
            "startTime": before.get("startTime") or times.text(),
            "ready": sum(1 for p in active if pods.is_ready(p)),
            "terminating": sum(1 for p in owned if is_deleting(p)),
        }
        for field, count in (
            ("active", len(active)),
            ("succeeded", _succeeded(job, owned)),
            ("failed", sum(1 for p in owned if _phase(p) == "Failed")),
        ):
            if count:
                status[field] = count
        if is_indexed(job):
            status["completedIndexes"] = ranges(completed_indexes(job, owned))
        found = before.get("conditions") or []
        if verdict is not None:
            found = conditions.put(found, verdict)
            if verdict["type"] == "Complete":
                status["completionTime"] = times.text()
        if found:
            status["conditions"] = found
        if status != before:
            api.update_status(RESOURCE, {**latest, "status": status})
        if verdict is not None:
            reason = "Completed" if verdict["type"] == "Complete" else verdict["reason"]
            text = "Job completed" if verdict["type"] == "Complete" else verdict["message"]
            warning = verdict["type"] == "Failed"
            record = self._context.events.record
            record(job, reason, text, component=COMPONENT, warning=warning)

    def _expire(self, job: Object, ended: float) -> float | None:
        """Delete a finished Job after ``ttlSecondsAfterFinished``."""
        keep = job["spec"].get("ttlSecondsAfterFinished")
        if keep is None:
            return None
        left = float(keep) - clock.elapsed(ended)
        if left > 0:
            return left
        self._context.api.delete(RESOURCE, name_of(job), namespace_of(job))
        return None


def _verdict(job: Object, owned: Sequence[Object], failed: Sequence[Object]) -> Object | None:
    """Return the condition that ends the Job, if it has ended."""
    spec = job["spec"]
    succeeded = _succeeded(job, owned)
    active = sum(1 for p in owned if pods.is_active(p))
    completions = spec.get("completions")
    enough = succeeded >= completions if completions is not None else bool(succeeded) and not active
    if enough:
        text = "Reached expected number of succeeded pods"
        return _condition("Complete", "CompletionsReached", text)
    if (left := _deadline_in(job)) is not None and left <= 0:
        text = "Job was active longer than specified deadline"
        return _condition("Failed", "DeadlineExceeded", text)
    if len(failed) > spec.get("backoffLimit", DEFAULT_LIMIT):
        text = "Job has reached the specified backoff limit"
        return _condition("Failed", "BackoffLimitExceeded", text)
    return None


def is_indexed(job: Object) -> bool:
    """Say whether each pod of a Job has a number."""
    return bool(job["spec"].get("completionMode") == "Indexed")


def completed_indexes(job: Object, owned: Sequence[Object]) -> list[int]:
    """Return the numbers for which a pod has succeeded, each once."""
    done = {_index(pod) for pod in owned if _phase(pod) == "Succeeded"}
    return [number for number in range(job["spec"].get("completions") or 0) if number in done]


def missing_indexes(job: Object, owned: Sequence[Object]) -> list[int] | None:
    """Return the numbers that no pod has succeeded for or works on; ``None`` without numbers."""
    if not is_indexed(job):
        return None
    taken = {_index(p) for p in owned if pods.is_active(p) or _phase(p) == "Succeeded"}
    return [number for number in range(job["spec"].get("completions") or 0) if number not in taken]


def ranges(numbers: Sequence[int]) -> str:
    """Write sorted numbers as ``completedIndexes`` does: ``0-2,4``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def _succeeded(job: Object, owned: Sequence[Object]) -> int:
    if is_indexed(job):
        return len(completed_indexes(job, owned))
    return sum(1 for pod in owned if _phase(pod) == "Succeeded")


def _index(pod: Object) -> int:
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else -1


def _give_index(job: Object, pod: Object, index: int) -> None:
    """Tell a new pod its number: in name, labels, annotations, host name and environment."""
    metadata = pod["metadata"]
    metadata["generateName"] = f"{name_of(job)}-{index}-"
    metadata["labels"][INDEX] = metadata["annotations"][INDEX] = str(index)
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}
    spec = {**pod["spec"]}
    spec.setdefault("hostname", f"{name_of(job)}-{index}")
    for field in ("initContainers", "containers"):
        if field in spec:
            spec[field] = [{**c, "env": [*(c.get("env") or ()), variable]} for c in spec[field]]
    pod["spec"] = spec


def _condition(kind: str, reason: str, message: str) -> Object:
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastProbeTime": times.text(),
    }


def _end(job: Object) -> float:
    """Return when the Job ended; 0.0 while it has not."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return times.seconds(condition["lastTransitionTime"])
    return 0.0


def _deadline_in(job: Object) -> float | None:
    seconds = job["spec"].get("activeDeadlineSeconds")
    begun = (job.get("status") or {}).get("startTime")
    if seconds is None or begun is None:
        return None
    return float(seconds) - clock.elapsed(times.seconds(begun))


def _back_off(failed: Sequence[Object]) -> float:
    if not failed:
        return 0.0
    last = max(_ended_at(pod) for pod in failed)
    delay = min(FIRST_DELAY * 2 ** (len(failed) - 1), LONGEST_DELAY)
    return float(delay - clock.elapsed(last))


def _ended_at(pod: Object) -> float:
    ends = [
        times.seconds(((c.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        for c in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    return max(ends, default=times.seconds(pod["metadata"].get("creationTimestamp")))


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))
