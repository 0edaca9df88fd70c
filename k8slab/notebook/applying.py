"""Apply a manifest from a cell: server-side apply, wait, and a table of what came of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from k8slab.course.setup import wait_ready
from k8slab.errors import ApiStatusError, ClusterNotReadyError, ManifestError, UsageError
from k8slab.grading.context import stuck
from k8slab.graphs import html_table
from k8slab.notebook.views import View, preformatted
from k8slab.objects import manifests, meta

if TYPE_CHECKING:
    from k8slab.objects.meta import Object


_LOOK_SECONDS = 2.0
"""How often it is asked whether waiting can still help."""

_UNCHANGEABLE = "pod updates may not change fields"
_REPLACE = "A pod's containers cannot be changed in place: delete the pod, then apply it again."


def apply_text(cluster: Any, text: str, namespace: str, *, seconds: float = 20.0) -> View:
    """Apply every object of a text; `seconds` is how long to wait for pods (0: not at all).

    What is refused is shown with its reason and not raised, like a failing kubectl: an
    answer that is not written yet must not stop a notebook.
    """
    try:
        objects = manifests.load(text, "cell")
    except ManifestError as error:
        return View(f"refused: {error}", preformatted(f"refused: {error}"))
    if not objects:
        return View("nothing to apply yet", "<p>nothing to apply yet</p>")
    applied, rows, notes = [], [], []
    for obj in objects:
        before = _revision(cluster, obj, namespace)
        try:
            (found,) = cluster.apply([obj], namespace=namespace)
        except (ApiStatusError, UsageError) as error:
            rows.append(_cells(obj, namespace, "refused"))
            notes.append(f"{obj['kind']} {meta.name_of(obj)}: {error}")
            notes += [_REPLACE] if _UNCHANGEABLE in str(error) else []
        else:
            applied.append(found)
            after = _revision_of(found)
            change = "created" if not before else "unchanged" if before == after else "configured"
            rows.append(_cells(found, namespace, change))
    if seconds and (late := _wait(cluster, applied, seconds)):
        notes.append(late)
    lines = [" ".join(cell for cell in row if cell) for row in rows]
    told = preformatted("\n".join(notes)) if notes else ""
    html = html_table(["kind", "name", "namespace", "result"], rows) + told
    return View("\n".join([*lines, *notes]), html)


def _cells(obj: Object, namespace: str, change: str) -> list[str]:
    return [obj["kind"], meta.name_of(obj), meta.namespace_of(obj) or namespace, change]


def _revision(cluster: Any, obj: Object, namespace: str) -> str:
    try:
        found = cluster.get(obj["kind"], meta.name_of(obj), meta.namespace_of(obj) or namespace)
    except UsageError:
        return ""  # a kind that the cluster does not serve: applying it says so
    return _revision_of(found) if found else ""


def _revision_of(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


def _wait(cluster: Any, applied: list[Object], seconds: float) -> str:
    """Wait until what was applied is ready; say what is not, at once where it never will be."""
    ends = time.monotonic() + seconds
    while True:
        left = ends - time.monotonic()
        try:
            wait_ready(cluster, applied, max(0.0, min(_LOOK_SECONDS, left)))
        except ClusterNotReadyError as error:  # told, not raised: it may be what the lab is about
            if left <= _LOOK_SECONDS or _hopeless(cluster, applied):
                return str(error)
        else:
            return ""


def _hopeless(cluster: Any, applied: list[Object]) -> bool:
    pods = [obj for obj in applied if obj["kind"] == "Pod"]
    found = (cluster.get("pods", meta.name_of(pod), meta.namespace_of(pod)) for pod in pods)
    return any(stuck(pod) for pod in found if pod)
