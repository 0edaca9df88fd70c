"""What an answer must leave alone: everything of the set-up that the exercise does not release.

Every object of the set-up that `may_change` does not name must still be what its manifest says
(`comparing`), and nothing of the watched kinds may have been added (`additions`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.grading import additions
from k8slab.grading.additions import Added
from k8slab.grading.comparing import changed
from k8slab.grading.result import Counterexample, Finding, Status
from k8slab.grading.watched import (
    CLUSTER_SCOPED,
    NAMESPACE_LABELS,
    WATCHED,
    pattern_of,
    released,
)  # fmt: skip
from k8slab.objects import meta
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object

TITLE = "nothing else changed"


def check_unchanged(
    context: Context, may_change: Sequence[str], there: Snapshot | None = None
) -> Finding:
    """Compare everything that `may_change` does not release with the set-up."""
    there = there or Snapshot(context.cluster)
    for wanted in _planned(context):
        resource = WATCHED.get(wanted["kind"])
        if resource is None or released(pattern_of(wanted), may_change):
            continue
        found = _find(there, resource, wanted)
        place = Added(pattern_of(wanted), meta.namespace_of(wanted))
        if found is None:
            return _failed(context, place, "to be there", "it is gone")
        if where := changed(wanted, found, _not_compared(context, wanted)):
            return _failed(context, place, "as in the set-up", f"{where} was changed")
    if added := additions.first(context, there, may_change):
        return _failed(context, added, "not to be there", added.seen)
    return Finding(TITLE, Status.PASSED)


def _planned(context: Context) -> list[Object]:
    """Return the objects of the set-up, with the namespaces that it makes by itself."""
    given = {meta.name_of(obj) for obj in context.setup if obj["kind"] == "Namespace"}
    implied = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in context.namespaces
        if name not in given
    ]
    return [*implied, *context.setup]


def _not_compared(context: Context, wanted: Object) -> frozenset[str]:
    """Return the labels that are not an answer's: those which the cluster puts on namespaces."""
    if wanted["kind"] != "Namespace":
        return frozenset()
    return NAMESPACE_LABELS | additions.given_labels(context, meta.name_of(wanted))


def _find(there: Snapshot, resource: str, wanted: Object) -> Object | None:
    """Look an object up in a list of all, which is asked for anyway."""
    space = "" if wanted["kind"] in CLUSTER_SCOPED else meta.namespace_of(wanted)
    return there.objects(resource, space).get(meta.name_of(wanted))


def _failed(context: Context, place: Added, wanted: str, seen: str) -> Finding:
    pattern, space = place.pattern, place.namespace
    resource, _, name = pattern.partition("/")
    where = f"-n {space} " if space else ""
    command = f"kubectl {where}get {resource} {name} -o yaml"
    if space not in ("", context.namespace):
        pattern += f" in the namespace {space}"
    line = f"{pattern}: {seen}, {place.why}"
    example = Counterexample(pattern, wanted, seen, replay=command)
    return Finding(TITLE, Status.FAILED, (line,), example)
