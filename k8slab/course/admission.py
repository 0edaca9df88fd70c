"""What an answer may hold before it is replayed: its own namespaces, and no more of the machine.

A bundle comes from anywhere. Each object in it must be of the exercise: in one of its
namespaces, of a kind that lives in namespaces, or a cluster-wide object that the exercise
releases by name in `may_change`. Pods may not ask for more of their node than an exercise
can want: privileges, the node's files and the node's other processes are no part of any. The node's
network is part of what some labs teach: it is for exercises whose set-up or solution has a pod on
it. Elsewhere a pod there could read and forge what the check sees, and with further capabilities
(NET_ADMIN) it writes rules that stay for the answers after this one, so these are for none. Nor are
rights on the API that an exercise does not release: a pod with them would see the grader's pods
come, and could change them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.course.bundle import MAX_OBJECT, BundleError, object_size
from k8slab.course.difference import Difference, may_change, resource_of
from k8slab.errors import UsageError
from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from k8slab.course.lab import Exercise
    from k8slab.objects.meta import Object

MAX_PODS = 50
"""Pods that one object may ask for; a node of the cluster takes 250."""

MAX_PODS_TOGETHER = 150
"""Pods that one answer may ask for, on the two nodes of a replay's cluster that take any."""

_JOBS = ("spec", "jobTemplate", "spec")
_TEMPLATES = {"Pod": ("spec",), "CronJob": (*_JOBS, "template", "spec")}
_TEMPLATE = ("spec", "template", "spec")


def admit(cluster: Any, exercise: Exercise, difference: Difference) -> None:
    """Raise `BundleError` that names the object which an answer to this exercise may not hold."""
    for obj in (*difference.added, *difference.changed):
        _one_place(cluster, exercise, obj)
        if object_size(obj) > MAX_OBJECT:
            raise _refused(exercise, obj, f"it is larger than {MAX_OBJECT >> 10} KiB")
        if obj["kind"] == "RoleBinding" and not _releases(cluster, exercise, obj):
            raise _refused(exercise, obj, "a right on the API is not part of an answer")
        if obj.get("type") == "kubernetes.io/service-account-token":
            raise _refused(exercise, obj, "tokens are not part of an answer")
        if _pods(cluster, obj) > MAX_PODS:
            raise _refused(exercise, obj, f"it asks for more than {MAX_PODS} pods")
        for why in _privileges(_pod_spec(obj), on_the_node=on_the_node(exercise)):
            raise _refused(exercise, obj, f"{why} is not part of an answer")
    asked = [obj for obj in (*difference.added, *difference.changed) if _pod_spec(obj) is not None]
    if sum(max(1, _pods(cluster, obj)) for obj in asked) > MAX_PODS_TOGETHER:
        why = f"all of it together asks for more than {MAX_PODS_TOGETHER} pods"
        raise _refused(exercise, asked[-1], why)
    for obj in difference.deleted:
        _one_place(cluster, exercise, obj)


def _one_place(cluster: Any, exercise: Exercise, obj: Object) -> None:
    try:
        found = cluster.resources.of(obj)
    except UsageError as error:
        raise _refused(exercise, obj, error.message) from error
    name, space = meta.name_of(obj), meta.namespace_of(obj)
    if found.namespaced:
        if space not in exercise.namespaces:
            own = ", ".join(exercise.namespaces)
            raise _refused(exercise, obj, f"it is outside of the exercise's namespaces ({own})")
        return
    if space:
        raise _refused(exercise, obj, "this kind is in no namespace")
    if obj["kind"] == "Namespace":
        if name not in exercise.namespaces:
            raise _refused(exercise, obj, "it is none of the exercise's namespaces")
        if set(obj) - {"apiVersion", "kind", "metadata"}:
            raise _refused(exercise, obj, "of a namespace only labels and annotations count")
        return
    if not _releases(cluster, exercise, obj):
        raise _refused(exercise, obj, "it is an object of the whole cluster")


def _releases(cluster: Any, exercise: Exercise, obj: Object) -> bool:
    """Say whether `may_change` names an object."""
    return may_change(exercise, resource_of(cluster.resources.of(obj)), meta.name_of(obj))


def _pods(cluster: Any, obj: Object) -> int:
    """Return how many pods an object asks for at once, a CronJob with each of its Jobs."""
    if obj["kind"] == "DaemonSet":  # one on each node
        return len(cluster.list("nodes"))
    spec = _at(obj, _JOBS if obj["kind"] == "CronJob" else ("spec",))
    wanted = (
        [spec.get(key) for key in ("replicas", "parallelism")] if isinstance(spec, dict) else []
    )
    return max((number for number in wanted if isinstance(number, int)), default=0)


def _pod_spec(obj: Object) -> Any:
    return _at(obj, _TEMPLATES.get(obj["kind"], _TEMPLATE))


def _at(value: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def on_the_node(exercise: Exercise) -> bool:
    """Say whether an exercise has pods on their node's network, by its set-up or solution."""
    specs = map(_pod_spec, exercise.setup)
    there = any(isinstance(spec, dict) and spec.get("hostNetwork") for spec in specs)
    return there or "hostNetwork: true" in exercise.solution


def _privileges(spec: Any, *, on_the_node: bool) -> Iterator[str]:
    """Yield what a pod asks of its node that no answer needs."""
    if not isinstance(spec, dict):
        return
    if spec.get("hostNetwork") and not on_the_node:
        yield "a pod on the network of its node"
    yield from (name for name in ("hostPID", "hostIPC") if spec.get(name))
    for volume in _mappings(spec.get("volumes")):
        if "hostPath" in volume:
            yield "a hostPath volume"
    for part in ("containers", "initContainers", "ephemeralContainers"):
        for container in _mappings(spec.get(part)):
            context = container.get("securityContext")
            if not isinstance(context, dict):
                continue
            if context.get("privileged"):
                yield "a privileged container"
            capabilities = context.get("capabilities")
            if (
                spec.get("hostNetwork")
                and isinstance(capabilities, dict)
                and capabilities.get("add")
            ):
                yield "a container with further capabilities on the network of its node"


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _refused(exercise: Exercise, obj: Object, why: str) -> BundleError:
    name = f"{obj['kind']} {meta.key_of(obj)}"[:120]
    return BundleError(
        f"exercise {exercise.id}: {name} may not be replayed: {why}",
        hint="answers are the objects in the exercise's own namespaces",
    )
