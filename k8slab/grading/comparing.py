"""Whether an object is still what its manifest says: it lacks nothing, and nobody wrote more.

An object that was applied holds its manifest and what the API filled in: defaults, an allocated
address. So what it has beyond the manifest counts where somebody wrote it (`objects.authored`).
A client that replaces an object is recorded as the writer of the defaults too: they are filled
into the manifest before the two are said to differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.grading.lookalikes import MARK
from k8slab.objects import meta
from k8slab.objects.authored import authored, plain

if TYPE_CHECKING:
    from collections.abc import Collection

    from k8slab.objects.meta import Object

API_ADDS = frozenset({"tolerations", "volumes", "volumeMounts"})
"""Lists of a pod to which admission appends: NoExecute tolerations, the account's token."""


_DECIDED = ("ipFamilies", "ipFamilyPolicy", "serviceAccountName", "preemptionPolicy")
"""What an API decides about a Service or pod where its manifest does not, with no fixed default."""


def changed(wanted: Object, found: Object, passed_over: Collection[str] = ()) -> str:
    """Return the field in which an object differs from its manifest; empty where none does.

    Labels count exactly, but for those that are `passed_over`: one more may be what a rule asks
    for. Annotations are notes, but for the mark by which graders know their own pods.
    """
    return (
        _marked(found)
        or difference(_own_fields(wanted), found)
        or _other_labels(wanted, found, passed_over)
        or _more(wanted, found)
    )


def _marked(found: Object) -> str:
    template = (found.get("spec") or {}).get("template")
    for path, obj in (("", found), ("spec.template.", template)):
        if isinstance(obj, dict) and MARK in meta.annotations_of(obj):
            return f"{path}metadata.annotations.{MARK}"
    return ""


def difference(wanted: Any, found: Any, path: str = "") -> str:
    """Return where `found` lacks something of `wanted`; empty when it has all of it."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return path or "it"
        steps = (
            difference(value, found.get(key), f"{path}.{key}" if path else key)
            for key, value in wanted.items()
        )
        return next((step for step in steps if step), "")
    if isinstance(wanted, list):
        if isinstance(found, list) and path.rpartition(".")[2] in API_ADDS:
            found = found[: len(wanted)]
        if not isinstance(found, list) or len(found) != len(wanted):
            return path
        pairs = enumerate(zip(wanted, found, strict=True))
        steps = (difference(one, other, f"{path}[{n}]") for n, (one, other) in pairs)
        return next((step for step in steps if step), "")
    return "" if wanted == found or wanted is None else path


def _own_fields(obj: Object) -> Object:
    metadata = {key: obj["metadata"][key] for key in ("labels",) if key in obj["metadata"]}
    return {**_body(obj), "metadata": metadata}


def _body(obj: Object) -> Object:
    return {key: obj[key] for key in obj if key not in ("metadata", "apiVersion", "kind", "status")}


def _other_labels(wanted: Object, found: Object, passed_over: Collection[str]) -> str:
    labels, own = (
        {key: value for key, value in meta.labels_of(obj).items() if key not in passed_over}
        for obj in (found, wanted)
    )
    if labels == own:
        return ""
    key = next(iter(sorted(labels.keys() ^ own.keys())), "")
    return f"metadata.labels.{key}" if key else "metadata.labels"


def _more(wanted: Object, found: Object) -> str:
    """Return what somebody wrote into an object beyond its manifest."""
    if wanted["kind"] == "Namespace" or (written := authored(found)) is None:
        return ""
    own = _body(plain(_without_notes(written)))
    if isinstance(spec := own.get("spec"), dict):
        own["spec"] = {key: value for key, value in spec.items() if key not in _DECIDED}
    if not difference(own, plain(wanted)):
        return ""
    from k8slab.embedded.apiserver import offline  # noqa: PLC0415  an API's room, for this case

    return difference(own, plain(offline.defaulted(wanted)))


def _without_notes(obj: Object) -> Object:
    """Leave out a pod template's annotations: kubectl rollout restart writes one."""
    template = (obj.get("spec") or {}).get("template")
    if not isinstance(template, dict) or not isinstance(template.get("metadata"), dict):
        return obj
    metadata = {key: value for key, value in template["metadata"].items() if key != "annotations"}
    template = {**template, "metadata": metadata}
    return {**obj, "spec": {**obj["spec"], "template": template}}
