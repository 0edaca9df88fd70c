"""Apply a manifest from a cell: server-side apply, wait, and a table of what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.course.setup import READY_KINDS, wait_ready
from k8slab.errors import ClusterNotReadyError
from k8slab.graphs import html_table
from k8slab.notebook.views import View
from k8slab.objects import manifests, meta

if TYPE_CHECKING:
    from k8slab.objects.meta import Object


def apply_text(cluster: Any, text: str, namespace: str, *, seconds: float = 20.0) -> View:
    """Apply every object of a text; `seconds` is how long to wait for pods (0: not at all)."""
    objects = manifests.load(text, "cell")
    if not objects:
        return View("nothing to apply yet", "<p>nothing to apply yet</p>")
    before = {_identity(obj, namespace): _revision(cluster, obj, namespace) for obj in objects}
    applied = cluster.apply(objects, namespace=namespace)
    note = _wait(cluster, applied, seconds) if seconds else ""
    rows = [_row(obj, before.get(_identity(obj, namespace), ""), note) for obj in applied]
    head = ["kind", "name", "namespace", "", "state"]
    lines = [" ".join(cell for cell in row if cell) for row in rows]
    html = html_table(head, rows)
    if note:
        lines.append(note)
        html += f"<pre>{note}</pre>"
    return View("\n".join(lines), html)


def _identity(obj: Object, namespace: str) -> tuple[str, str, str]:
    return obj["kind"], meta.namespace_of(obj) or namespace, meta.name_of(obj)


def _revision(cluster: Any, obj: Object, namespace: str) -> str:
    found = cluster.get(obj["kind"], meta.name_of(obj), meta.namespace_of(obj) or namespace)
    return str(found["metadata"].get("resourceVersion", "")) if found else ""


def _wait(cluster: Any, applied: list[Object], seconds: float) -> str:
    try:
        wait_ready(cluster, applied, seconds)
    except ClusterNotReadyError as error:  # told, not raised: it may be what the lab is about
        return str(error)
    return ""


def _row(obj: Object, before: str, note: str) -> list[str]:
    after = str(obj["metadata"].get("resourceVersion", ""))
    change = "created" if not before else "unchanged" if before == after else "configured"
    waited = obj["kind"] in READY_KINDS
    state = "" if not waited else "not ready" if meta.name_of(obj) in note else "ready"
    return [obj["kind"], meta.name_of(obj), meta.namespace_of(obj), change, state]
