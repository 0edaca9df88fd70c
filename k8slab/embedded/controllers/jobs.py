"""Jobs: pods that run to completion, so many at a time, so many in all.

An Indexed Job runs one pod for each number below ``completions``. Each look at a Job counts what
has ended (`job_counts`), decides (`job_plan`) and takes the steps here, in an order that survives
the end of the daemon between any two of them. Source: ``pkg/controller/job``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers import (
    conditions,
    job_counts,
    job_indexes,
    job_plan,
    job_policies,
    pods,
    times,
)
from k8slab.embedded.controllers.children import Children, while_unchanged
from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.job_counts import FINALIZER, INDEX, NO_INDEX, BackOff
from k8slab.embedded.controllers.job_policies import has_failed
from k8slab.embedded.controllers.loop import Loop, each_in_turn, try_each_in_turn
from k8slab.errors import ApiStatusError
from k8slab.objects.meta import (
    Object,
    controller_of,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    uid_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context
    from k8slab.embedded.controllers.job_counts import Tally
    from k8slab.embedded.controllers.job_plan import Plan

RESOURCE = "jobs.batch"
COMPONENT = "job-controller"
MOST_NOTED = 500
"""UIDs in the status at a time, some 20 KB (upstream's ``MaxUncountedPods``)."""


class Jobs(Controller):
    """The loop over Jobs, and a small one over pods that are held for a Job that is no more."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "jobs")
        self._back_offs: dict[str, BackOff] = {}
        self._pods = self._own(
            Children(context.api, RESOURCE, "pods", self.loop, finalizer=FINALIZER)
        )
        self._left_over = Loop("jobs-left-over", self._let_go)
        self._follow(RESOURCE, self._job_changed)
        self._follow("pods", lambda event: self._pod_changed(event.object))
        for pod in context.api.list("pods"):
            self._pod_changed(pod)

    async def close(self) -> None:
        """Follow nothing any more and stop both loops."""
        await super().close()
        await self._left_over.close()

    def _reconcile(self, key: str) -> Awaitable[float | None] | float | None:
        namespace, name = key.split("/", 1)
        job = self._context.api.get(RESOURCE, name, namespace)
        ended = _end(job) if job else 0.0
        if job is None or ended:
            self._back_offs.pop(key, None)
            return self._expire(job, ended) if job else None
        owned = self._pods.claim(job)
        found = job_counts.tally(job, owned)
        back_off = self._back_offs.get(key, BackOff()).after(found)
        plan = job_plan.plan(job, owned, found, back_off)
        return self._carry_out(job, owned, plan, found)

    async def _carry_out(
        self, job: Object, owned: Sequence[Object], plan: Plan, found: Tally
    ) -> float | None:
        due = partial(while_unchanged, self._context.api, RESOURCE, job)
        counts = plan.verdict is not None  # else a pod that is one too many is no failed one
        # A decided Job ends, whatever is changed in it meanwhile.
        going = plan.deletions if counts else due(plan.deletions)
        refused = await try_each_in_turn(going, lambda pod: self._delete(job, pod, counts=counts))
        try:
            create = partial(self._create, job, found)
            await each_in_turn(due(plan.creations), create)
        except ApiStatusError as error:
            refused = refused or error  # what has ended is counted all the same
        await self._count(job, owned, plan, found)
        if refused:
            raise refused
        return plan.wait

    def _create(self, job: Object, found: Tally, index: int) -> None:
        pod = pods.from_template(job, job["spec"]["template"])
        pod["metadata"]["generateName"] = f"{name_of(job)}-"
        held = pod["metadata"].setdefault("finalizers", [])
        if FINALIZER not in held:
            held.append(FINALIZER)
        if index != NO_INDEX:
            _give_index(job, pod, index)
        if job_indexes.fail_alone(job):
            pod["metadata"]["annotations"].update(job_indexes.told(job, found.held.get(index)))
        made = pods.create(self._context, job, pod, component=COMPONENT)
        self._tell(job, "SuccessfulCreate", f"Created pod: {name_of(made)}")

    def _delete(self, job: Object, pod: Object, *, counts: bool) -> None:
        if not counts:
            self._release(pod)
        pods.delete(self._context, pod)
        self._tell(job, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")

    def _release(self, pod: Object) -> None:
        """Take the finalizer off a pod; one that is gone already is as well."""
        api = self._context.api
        now = api.get("pods", name_of(pod), namespace_of(pod))
        if now is None or uid_of(now) != uid_of(pod) or not job_counts.is_tracked(now):
            return
        held = [f for f in now["metadata"]["finalizers"] if f != FINALIZER]
        api.update("pods", {**now, "metadata": {**now["metadata"], "finalizers": held}})

    # --- the status

    async def _count(self, job: Object, owned: Sequence[Object], plan: Plan, found: Tally) -> None:
        """Note the pods that had ended, let them go, count them, and end the Job if all have."""
        status = self._seen(job, plan)
        ended = [p for p in owned if job_counts.is_tracked(p)]
        ended = [p for p in ended if job_plan.can_be_counted(job, p, plan.verdict, found)]
        counted = ended[:MOST_NOTED]
        all_noted = len(counted) == len(ended)
        status = _noted(job, status, plan, counted)
        if job_counts.is_indexed(job):
            status["completedIndexes"] = str(found.done)
            status["succeeded"] = len(found.done)
        if job_indexes.fail_alone(job):
            status["failedIndexes"] = str(found.lost)
        if plan.verdict is not None:
            status["conditions"] = conditions.put(status.get("conditions"), plan.verdict)
        self._write(job, status)
        # What is not noted yet is new at the next look again, and counts then.
        back_off = self._back_offs.get(key_of(job), BackOff())
        self._back_offs[key_of(job)] = back_off.after(found.among(counted))
        await each_in_turn(counted, self._release)
        held = {uid_of(p) for p in self._pods.of(job) if job_counts.is_tracked(p)}
        status = job_counts.settle(status, held.__contains__)
        waiting = status["uncountedTerminatedPods"] or status["terminating"] or not all_noted
        if plan.verdict is None or waiting:
            self._write(job, status)
            return
        final = _final(plan.verdict)
        status["conditions"] = conditions.put(status["conditions"], final)
        if final["type"] == "Complete":
            status["completionTime"] = final["lastTransitionTime"]
        self._write(job, status)
        self._tell_end(job, final, status)

    def _seen(self, job: Object, plan: Plan) -> Object:
        """Return the status with what is to be seen of the pods, and when the Job began."""
        owned = self._pods.of(job)
        held = {uid_of(p) for p in owned if job_counts.is_tracked(p)}
        status = job_counts.settle(job.get("status") or {}, held.__contains__)
        active = [p for p in owned if pods.is_active(p)]
        status["active"] = len(active)
        status["ready"] = sum(1 for p in active if pods.is_ready(p))
        status["terminating"] = sum(1 for p in owned if is_deleting(p) and not pods.is_finished(p))
        if not status.get("startTime") and not job_plan.is_suspended(job):
            status["startTime"] = times.text()
        if plan.verdict is None and not is_deleting(job):
            self._suspend(job, status)
        return status

    def _suspend(self, job: Object, status: Object) -> None:
        """Say in the status, and tell, that the Job is suspended or is not any more."""
        suspended = job_plan.is_suspended(job)
        was = conditions.find(status.get("conditions"), "Suspended")
        if (was or {}).get("status", "False") == conditions.word(suspended):
            return
        word, text = ("Suspended", "Job suspended") if suspended else ("Resumed", "Job resumed")
        new = job_plan.condition("Suspended", f"Job{word}", text, status=suspended)
        status["conditions"] = conditions.put(status.get("conditions"), new)
        # The deadline is for the time since the Job runs without a pause.
        status["startTime"] = None if suspended else times.text()
        self._tell(job, word, text)

    def _write(self, job: Object, status: Object) -> None:
        api = self._context.api
        latest = api.get(RESOURCE, name_of(job), namespace_of(job))
        if latest is None or uid_of(latest) != uid_of(job):
            return
        shown = {k: v for k, v in status.items() if v or k in _SHOWN_AT_ZERO}
        if shown != (latest.get("status") or {}):
            api.update_status(RESOURCE, {**latest, "status": shown})

    def _tell_end(self, job: Object, final: Object, status: Object) -> None:
        if final["type"] == "Failed":
            self._tell(job, final["reason"], final["message"], warning=True)
            return
        wanted = job["spec"].get("completions")
        if wanted is not None and status.get("succeeded", 0) > wanted:
            text = "Too many succeeded pods running after completion count reached"
            self._tell(job, "TooManySucceededPods", text, warning=True)
        self._tell(job, "Completed", "Job completed")

    def _tell(self, job: Object, reason: str, text: str, *, warning: bool = False) -> None:
        self._context.events.record(job, reason, text, component=COMPONENT, warning=warning)

    def _expire(self, job: Object, ended: float) -> float | None:
        """Delete a finished Job after ``ttlSecondsAfterFinished``."""
        keep = job["spec"].get("ttlSecondsAfterFinished")
        if keep is None or is_deleting(job):
            return None
        left = float(keep) - clock.elapsed(ended)
        if left > 0:
            return left
        self._context.api.delete(RESOURCE, name_of(job), namespace_of(job))
        return None

    # --- pods that nobody counts any more

    def _job_changed(self, event: Event) -> None:
        if event.type == "DELETED" or _end(event.object):
            for pod in self._pods.of(event.object):
                self._pod_changed(pod)

    def _pod_changed(self, pod: Object) -> None:
        if job_counts.is_tracked(pod) and self._is_left_over(pod):
            self._left_over.add(key_of(pod))

    def _is_left_over(self, pod: Object) -> bool:
        owner = controller_of(pod)
        if owner is None or owner["kind"] != "Job":
            return owner is None
        job = self._context.api.get(RESOURCE, owner["name"], namespace_of(pod))
        return job is None or uid_of(job) != owner["uid"] or bool(_end(job))

    def _let_go(self, key: str) -> None:
        namespace, name = key.split("/", 1)
        pod = self._context.api.get("pods", name, namespace)
        if pod is not None and job_counts.is_tracked(pod) and self._is_left_over(pod):
            self._release(pod)


_SHOWN_AT_ZERO = ("failedIndexes", "ready", "terminating", "uncountedTerminatedPods")
"""Fields that upstream's structure writes even when they are 0 or empty."""


def _noted(job: Object, status: Object, plan: Plan, counted: Sequence[Object]) -> Object:
    """Return the status with the pods noted that are let go."""
    fails = plan.verdict is not None and plan.verdict["type"] == "FailureTarget"
    valid = [p for p in counted if job_counts.is_valid(job, p)]
    succeeded: list[Object] = []
    others: list[Object] = []
    for pod in valid:
        (succeeded if job_counts.phase(pod) == "Succeeded" else others).append(pod)
    failed = others if fails else [p for p in others if has_failed(job, p)]
    failed = [p for p in failed if job_policies.failure(job, p).counts]
    if job_counts.is_indexed(job):
        succeeded = []  # their numbers are noted
    return job_counts.note(status, succeeded=succeeded, failed=failed)


def _final(verdict: Object) -> Object:
    kind = job_plan.FINAL[verdict["type"]]
    return job_plan.condition(kind, verdict["reason"], verdict["message"])


def _give_index(job: Object, pod: Object, index: int) -> None:
    """Tell a new pod its number: in name, labels, annotations, host name and environment."""
    metadata = pod["metadata"]
    metadata["generateName"] = f"{name_of(job)}-{index}-"
    metadata["labels"][INDEX] = metadata["annotations"][INDEX] = str(index)
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}
    spec = {**pod["spec"], "hostname": f"{name_of(job)}-{index}"}
    for field in ("initContainers", "containers"):
        if field in spec:
            spec[field] = [_with_variable(container, variable) for container in spec[field]]
    pod["spec"] = spec


def _with_variable(container: Object, variable: Object) -> Object:
    own = container.get("env") or ()
    if any(one["name"] == variable["name"] for one in own):
        return container
    return {**container, "env": [*own, variable]}


def _end(job: Object) -> float:
    """Return when the Job ended; 0.0 while it has not."""
    found = (job.get("status") or {}).get("conditions")
    for word in ("Complete", "Failed"):
        if conditions.is_true(found, word):
            end = conditions.find(found, word) or {}
            # A status that somebody wrote by hand may lack the time.
            return times.seconds(
                end.get("lastTransitionTime") or job["metadata"]["creationTimestamp"]
            )
    return 0.0
