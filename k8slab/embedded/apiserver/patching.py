"""PATCH: four ways to say what to change; the result goes the way of an update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver import (
    apply,
    bodies,
    eventsview,
    objectmeta,
    patches,
    statuses,
    strategic,
    typed,
)
from k8slab.embedded.apiserver.objectmeta import copy
from k8slab.embedded.apiserver.options import validation_of, writer_of
from k8slab.embedded.apiserver.schema import type_of_kind
from k8slab.embedded.apiserver.views import as_seen

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.routes import Target
    from k8slab.objects.meta import Object

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
MEDIA = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


def patch(api: Api, request: Request, target: Target) -> tuple[Object, int, list[str]]:
    """Apply a request's patch; returns the object, the HTTP status and warnings."""
    media = bodies.content_type(request)
    known = [form for form in MEDIA if form != STRATEGIC_PATCH or not target.kind.custom]
    if media not in known:
        error = bodies.unsupported(media)
        error.message = (
            "the body of the request was in an unknown format - accepted media types include: "
            + ", ".join(known)
        )
        raise error
    if media != APPLY_PATCH and "force" in request.query:
        why = statuses.forbidden("force", "may not be specified for non-apply patch")
        raise statuses.invalid_object("PatchOptions", "meta.k8s.io", "", [why])
    body = bodies.parse(request, media)
    if media == APPLY_PATCH:
        return apply.apply(api, request, target, body)
    old = api.require(target.kind.resource, target.name, target.namespace)
    shown = as_seen(target.kind, old)
    patched, complaints = patched_object(shown, body.value, media, target, request)
    if target.kind.stored_as:
        patched = eventsview.to_core(patched)
    made = api.update(
        target.kind.resource,
        patched,
        subresource=target.subresource,
        writer=writer_of(request),
        owned=True,
    )
    return made, 200, complaints


def patched_object(
    old: Object, patch_value: Any, media: str, target: Target, request: Request
) -> tuple[Object, list[str]]:
    """Return `old` changed by a patch and decoded anew, with the decoder's warnings."""
    if media == JSON_PATCH:
        patched = patches.json_patch(copy(old), patch_value)
    elif not isinstance(patch_value, dict):
        raise statuses.bad_request("error decoding patch: the patch is no object")
    elif media == MERGE_PATCH:
        patched = patches.merge_patch(old, patch_value)
    else:
        patched = strategic.strategic_merge(copy(old), patch_value, type_of_kind(target.kind))
    if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
        raise statuses.bad_request("the patch leaves no object with metadata")
    kind = target.kind
    if media != STRATEGIC_PATCH:
        _check_type(patched, old)
    bodies.check_depth(patched)  # each patch may add to the depth
    patched = copy(patched)
    told = typed.plain(patch_value) if media == STRATEGIC_PATCH else orjson.dumps(patched).decode()
    complaints = bodies.decode_object(
        bodies.Body(patched),
        patched,
        kind,
        validation=validation_of(request),
        refused=lambda why: statuses.invalid_object(
            "", "", "", [statuses.invalid("patch", told, why)]
        ),
    )
    _check_identity(patched["metadata"], old["metadata"], target)
    return patched, complaints


def _check_type(patched: Object, old: Object) -> None:
    """Refuse a patch after which the object says that it is of another kind or version."""
    kind, version = patched.get("kind") or "", patched.get("apiVersion") or ""
    if not kind:
        raise statuses.bad_request("Object 'Kind' is missing in what the patch leaves")
    if (kind, version) != (old["kind"], old["apiVersion"]):
        raise statuses.bad_request(f'no kind "{kind}" is registered for version "{version}"')


def _check_identity(metadata: Object, old: Object, target: Target) -> None:
    """Refuse a patch that makes another object of it; fill in what it took away."""
    objectmeta.check_place(metadata, target.name, target.namespace)
    if (uid := metadata.get("uid") or old["uid"]) != old["uid"]:
        error = statuses.invalid("metadata.uid", uid, "field is immutable")
        raise statuses.invalid_object(target.kind.kind, target.kind.group, target.name, [error])
    if target.namespace:
        metadata["namespace"] = target.namespace
