"""CronJobs: a Job at each time of a schedule.

The Job of a time has that time in its name, so that it is made once even if the controller is
stopped in between. Of several missed times only the last is made up for. Source: batch/v1
``CronJobSpec``; ``pkg/controller/cronjob``.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from k8slab.embedded import clock as clocks
from k8slab.embedded.controllers import conditions, pods, times
from k8slab.embedded.controllers.children import Children
from k8slab.embedded.controllers.controller import Controller
from k8slab.errors import ApiStatusError
from k8slab.objects import schedules
from k8slab.objects.meta import Object, is_deleting, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.embedded.controllers.context import Context

RESOURCE = "cronjobs.batch"
JOBS = "jobs.batch"
COMPONENT = "cronjob-controller"
SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"


class CronJobs(Controller):
    """The loop over CronJobs."""

    def __init__(self, context: Context, clock: Callable[[], float] = clocks.now) -> None:
        super().__init__(context, "cronjobs")
        self._clock = clock
        self._jobs = self._own(Children(context.api, RESOURCE, JOBS, self.loop))

    def _reconcile(self, key: str) -> float | None:
        namespace, name = key.split("/", 1)
        cron = self._context.api.get(RESOURCE, name, namespace)
        if cron is None or is_deleting(cron):
            return None
        owned = self._jobs.of(cron)
        status = self._after_ends(cron, owned)
        self._forget_old(cron, owned)
        wait = None
        if not cron["spec"].get("suspend"):
            wait = self._on_time(cron, owned, status)
        self._write_status(cron, status)
        return wait

    def _after_ends(self, cron: Object, owned: Sequence[Object]) -> Object:
        """Return the status without the Jobs that have ended, each of which is told once.

        Only what the controller started itself is active, and counts for ``concurrencyPolicy``: a
        Job of ``kubectl create job --from`` has the CronJob as its owner and is unexpected.
        """
        status = dict(cron.get("status") or {})
        running = {uid_of(job) for job in owned if not _end(job)}
        # What somebody wrote there by hand may lack both; nobody then has its uid.
        active = [{"uid": "", "name": "", **one} for one in status.get("active") or ()]
        for reference in active:
            if reference["uid"] not in running:
                job = next((j for j in owned if uid_of(j) == reference["uid"]), None)
                self._tell_end(cron, reference["name"], job)
        status["active"] = [one for one in active if one["uid"] in running]
        for job in owned:
            if uid_of(job) in running and not any(one["uid"] == uid_of(job) for one in active):
                text = "Saw a job that the controller did not create or forgot: "
                self._tell(cron, "UnexpectedJob", text + name_of(job), warning=True)
        ends = [_end(job, "Complete") or {} for job in owned]
        if done := [end["lastTransitionTime"] for end in ends if end.get("lastTransitionTime")]:
            status["lastSuccessfulTime"] = max([*done, status.get("lastSuccessfulTime") or ""])
        return status

    def _tell_end(self, cron: Object, name: str, job: Object | None) -> None:
        end = _end(job) if job else None
        if end:
            text = f"Saw completed job: {name}, condition: {end['type']}"
            self._tell(cron, "SawCompletedJob", text)
        else:
            self._tell(cron, "MissingJob", f"Active job went missing: {name}")

    def _forget_old(self, cron: Object, owned: Sequence[Object]) -> None:
        """Delete ended Jobs beyond the history limits, the oldest first."""
        for word, field in (
            ("Complete", "successfulJobsHistoryLimit"),
            ("Failed", "failedJobsHistoryLimit"),
        ):
            ended = [job for job in owned if _end(job, word) and not is_deleting(job)]
            ended.sort(key=lambda job: (job.get("status") or {}).get("startTime") or "")
            for job in ended[: max(0, len(ended) - cron["spec"][field])]:
                self._delete(cron, job)

    def _on_time(self, cron: Object, owned: Sequence[Object], status: Object) -> float | None:
        """Make the Job of the last time that has passed; return the seconds to the next."""
        now = datetime.fromtimestamp(self._clock(), _zone(cron))
        due, following = self._times(cron, status, now)
        wait = (following - now).total_seconds() if following else None
        if due is None:
            return wait
        name = f"{name_of(cron)}-{int(due.timestamp()) // 60}"
        began = times.text(due.timestamp())
        if status.get("lastScheduleTime") == began or _names(status["active"], name):
            return wait
        limit = cron["spec"].get("startingDeadlineSeconds")
        if limit is not None and (now - due).total_seconds() > limit:
            late = f"Missed scheduled time to start a job: {due:%a, %d %b %Y %H:%M:%S %z}"
            self._tell(cron, "MissSchedule", late, warning=True)
            return wait
        if not self._has_room(cron, owned, status):
            return wait
        # One that is there already was made just before the daemon ended, and not noted.
        job = next((job for job in owned if name_of(job) == name), None)
        job = job or self._create(cron, name, due)
        status["active"] = [*status["active"], _reference(job)]
        status["lastScheduleTime"] = began
        return wait

    def _times(
        self, cron: Object, status: Object, now: datetime
    ) -> tuple[datetime | None, datetime | None]:
        """Return the last time that has passed since the last Job, and the one that comes."""
        schedule = schedules.parse(cron["spec"]["schedule"])
        since = times.seconds(status.get("lastScheduleTime")) or times.seconds(
            cron["metadata"]["creationTimestamp"]
        )
        limit = cron["spec"].get("startingDeadlineSeconds")
        if limit is not None:
            since = max(since, now.timestamp() - limit)
        begun = datetime.fromtimestamp(since, now.tzinfo)
        due = schedule.last(begun, now)
        return due, schedule.after(due or begun)

    def _has_room(self, cron: Object, owned: Sequence[Object], status: Object) -> bool:
        """Apply ``concurrencyPolicy`` to the Jobs that still run."""
        policy = cron["spec"]["concurrencyPolicy"]
        if policy == "Forbid" and status["active"]:
            text = "Not starting job because prior execution is running and concurrency policy is "
            self._tell(cron, "JobAlreadyActive", f"{text}Forbid")
            return False
        if policy == "Replace":
            running = {reference["uid"] for reference in status["active"]}
            for job in owned:
                if uid_of(job) in running:
                    self._delete(cron, job)
            status["active"] = []
        return True

    def _create(self, cron: Object, name: str, due: datetime) -> Object:
        template = cron["spec"]["jobTemplate"]
        metadata = template.get("metadata") or {}
        moment = due.astimezone(_zone(cron)).isoformat().replace("+00:00", "Z")
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "namespace": namespace_of(cron),
                "labels": dict(metadata.get("labels") or {}),
                "annotations": {**(metadata.get("annotations") or {}), SCHEDULED: moment},
                "ownerReferences": [pods.owner_reference(cron)],
            },
            "spec": template["spec"],
        }
        try:
            made = self._context.api.create(JOBS, job)
        except ApiStatusError as error:
            text = f"Error creating job: {error.message}"
            self._tell(cron, "FailedCreate", text, warning=True)
            raise
        self._tell(cron, "SuccessfulCreate", f"Created job {name}")
        return made

    def _delete(self, cron: Object, job: Object) -> None:
        api = self._context.api
        api.delete(JOBS, name_of(job), namespace_of(job), uid=uid_of(job))
        self._tell(cron, "SuccessfulDelete", f"Deleted job {name_of(job)}")

    def _write_status(self, cron: Object, status: Object) -> None:
        latest = self._context.api.get(RESOURCE, name_of(cron), namespace_of(cron))
        shown = {key: value for key, value in status.items() if value}
        if latest is not None and shown != (latest.get("status") or {}):
            self._context.api.update_status(RESOURCE, {**latest, "status": shown})

    def _tell(self, cron: Object, reason: str, text: str, *, warning: bool = False) -> None:
        self._context.events.record(cron, reason, text, component=COMPONENT, warning=warning)


def _zone(cron: Object) -> tzinfo:
    name = cron["spec"].get("timeZone")
    return ZoneInfo(name) if name else UTC


def _end(job: Object, *words: str) -> Object | None:
    """Return the condition with which a Job has ended, as one of these words if there are any."""
    found = (job.get("status") or {}).get("conditions")
    for word in words or ("Complete", "Failed"):
        if conditions.is_true(found, word):
            return conditions.find(found, word)
    return None


def _names(references: Sequence[Object], name: str) -> bool:
    return any(reference["name"] == name for reference in references)


def _reference(job: Object) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": name_of(job),
        "namespace": namespace_of(job),
        "uid": uid_of(job),
        "resourceVersion": job["metadata"]["resourceVersion"],
    }
