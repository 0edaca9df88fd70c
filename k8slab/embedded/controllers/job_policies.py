"""What a Job's policies say: which failures of pods count, and when enough has succeeded; pure.

Sources: batch/v1 ``PodFailurePolicy``, ``SuccessPolicy``, ``PodReplacementPolicy``;
``pkg/controller/job`` (matchPodFailurePolicy, matchSuccessPolicy, isPodFailed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from k8slab.embedded.controllers.indexes import Indexes
from k8slab.objects.meta import Object, is_deleting, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Iterable


class Failure(NamedTuple):
    """How the failure of a pod is to be taken."""

    action: str = ""
    """That of the first rule that matches; empty where none does, which counts."""
    why: str = ""

    @property
    def counts(self) -> bool:
        """Whether it counts for ``backoffLimit`` and in the status."""
        return self.action != "Ignore"


def waits_for_end(job: Object) -> bool:
    """Say whether a deleted pod has failed, and is replaced, only once it has ended."""
    return bool(job["spec"].get("podReplacementPolicy") == "Failed")


def has_failed(job: Object, pod: Object) -> bool:
    """Say whether a pod counts as failed; one that is deleted before it succeeds mostly does."""
    phase = (pod.get("status") or {}).get("phase")
    if phase == "Failed":
        return True
    return is_deleting(pod) and phase != "Succeeded" and not waits_for_end(job)


def failure(job: Object, pod: Object) -> Failure:
    """Return what ``podFailurePolicy`` says of a pod that has failed."""
    policy = job["spec"].get("podFailurePolicy") or {}
    for number, rule in enumerate(policy.get("rules") or ()):
        codes = rule.get("onExitCodes")
        found = _by_code(pod, codes) if codes else _by_condition(pod, rule)
        if found:
            action = rule["action"]
            return Failure(action, f"{found} matching {action} rule at index {number}")
    return Failure()


def fatal(job: Object, owned: Iterable[Object]) -> str:
    """Return why the Job has to fail at once (``FailJob``); empty where it has not."""
    if not job["spec"].get("podFailurePolicy"):
        return ""
    found = (failure(job, pod) for pod in owned if has_failed(job, pod))
    return next((one.why for one in found if one.action == "FailJob"), "")


def success(job: Object, done: Indexes) -> str:
    """Return by which rule of ``successPolicy`` these numbers are enough; empty where by none."""
    if not done:
        return ""  # nothing is never enough, whatever a rule says
    policy = job["spec"].get("successPolicy") or {}
    for number, rule in enumerate(policy.get("rules") or ()):
        having, enough = len(done), rule.get("succeededCount")
        if (text := rule.get("succeededIndexes")) is not None:
            needed = Indexes.parse(text, int(job["spec"]["completions"]))
            if not needed:
                continue
            having = done.common(needed)
            enough = len(needed) if enough is None else min(enough, len(needed))
        if enough is not None and having >= enough:
            return f"Matched rules at index {number}"
    return ""


def _by_code(pod: Object, codes: Object) -> str:
    status, listed = pod.get("status") or {}, codes.get("values") or ()
    for field in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(field) or ():
            ended = (container.get("state") or {}).get("terminated")
            if codes.get("containerName") not in (None, container["name"]) or not ended:
                continue
            code = ended["exitCode"]
            if code and (code in listed) == (codes["operator"] == "In"):
                where = f"{container['name']} for pod {namespace_of(pod)}/{name_of(pod)}"
                return f"Container {where} failed with exit code {code}"
    return ""


def _by_condition(pod: Object, rule: Object) -> str:
    patterns = {
        (one["type"], one.get("status") or "True") for one in rule.get("onPodConditions") or ()
    }
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if (condition["type"], condition["status"]) in patterns:
            return f"Pod {namespace_of(pod)}/{name_of(pod)} has condition {condition['type']}"
    return ""
