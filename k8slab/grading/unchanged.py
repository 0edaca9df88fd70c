"""What an answer must leave alone: everything of the set-up that the exercise does not release.

Every object of the set-up that `may_change` does not name must still be what its manifest says
(`comparing`), and nothing of the watched kinds may have been added (`additions`).
"""

from __future__ import annotations

from dataclasses import replace
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
    doubt: Added | None = None
    for wanted in _planned(context):
        resource = WATCHED.get(wanted["kind"])
        if resource is None or released(pattern_of(wanted), may_change):
            continue
        found = _find(there, resource, wanted)
        place = Added(pattern_of(wanted), meta.namespace_of(wanted))
        if found is None:
            return _failed(context, place, "to be there", "it is gone")
        if where := changed(wanted, found, _not_compared(context, wanted)):
            if label := _doubtful_label(context, wanted, where):
                doubt = doubt or label
                continue
            return _failed(context, place, "as in the set-up", f"{where} was changed")
    added = additions.first(context, there, may_change)
    if added and not additions.doubtful(context, added):
        return _failed(context, added, "not to be there", added.seen)
    if unsure := added or doubt:
        return _unknown(context, unsure)
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


def _doubtful_label(context: Context, wanted: Object, where: str) -> Added | None:
    """Return a label that is more than a namespace had, where nobody noted which ones it got."""
    key = where.removeprefix("metadata.labels.")
    pattern, space = pattern_of(wanted), meta.name_of(wanted)
    if wanted["kind"] != "Namespace" or key == where or key in meta.labels_of(wanted):
        return None
    label = Added(pattern, space, seen=f"the label {key} was added")
    return label if additions.doubtful(context, label) else None


def _find(there: Snapshot, resource: str, wanted: Object) -> Object | None:
    """Look an object up in a list of all, which is asked for anyway."""
    space = "" if wanted["kind"] in CLUSTER_SCOPED else meta.namespace_of(wanted)
    return there.objects(resource, space).get(meta.name_of(wanted))


def _unknown(context: Context, place: Added) -> Finding:
    """Say what may be the cluster's own and may be the learner's: nobody is blamed for it."""
    found = _failed(context, place, "not to be there", place.seen)
    line = (
        f"{place.pattern}: {place.seen}, by you or by the cluster itself: this journal did not see "
        "what the cluster had put there at the start; reset the exercise with --keep-mine "
        "(keep_mine=True): it is noted then, and your work is done again"
    )
    return replace(found, status=Status.INCONCLUSIVE, lines=(line,))


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
