"""Subresources that are neither status nor streams: scale, binding, eviction, tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded import clock
from k8slab.embedded.apiserver import (
    bodies,
    evictions,
    objectmeta,
    patches,
    patching,
    reviews,
    statuses,
)
from k8slab.embedded.apiserver.admission import TOKEN_SECONDS
from k8slab.embedded.apiserver.http import Response
from k8slab.embedded.apiserver.options import validation_of, writer_of
from k8slab.embedded.apiserver.routes import Target
from k8slab.objects.meta import is_deleting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from k8slab.embedded.apiserver.api import Api, Writer
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.rest import Rest
    from k8slab.embedded.apiserver.store import Entry
    from k8slab.objects.meta import Object

    Answer = Response | Awaitable[Response]

BINDING = ("", "v1", "Binding")
EVICTION = ("policy", "v1", "Eviction")
TOKEN_REQUEST = ("authentication.k8s.io", "v1", "TokenRequest")

LEAST_TOKEN_SECONDS = 600
MOST_TOKEN_SECONDS = 1 << 32


def answer(rest: Rest, request: Request, target: Target, verb: str) -> Answer:
    """Answer a request about one of these subresources."""
    match target.subresource:
        case "scale":
            return _scale(rest, request, target, verb)
        case "binding":
            return _bind(rest, request, target, _body(request, BINDING))
        case "eviction":
            return _evict(rest, request, target)
        case "token":
            return _token(rest, request, target, _body(request, TOKEN_REQUEST))
    raise statuses.not_found(target.kind.resource, target.name)


def _body(request: Request, gvk: tuple[str, str, str]) -> Object:
    body = bodies.parse(request, bodies.content_type(request))
    validation = validation_of(request) if request.parameter("fieldValidation") else "Ignore"
    return bodies.read_object(body, gvk, validation=validation)[0]


def _scale(rest: Rest, request: Request, target: Target, verb: str) -> Answer:
    api, resource = rest.api, target.kind.resource
    if verb == "get":
        current = api.get_scale(resource, target.name, target.namespace)
        return Response(body=orjson.dumps(current))
    if verb == "update":
        wanted = _body(request, ("autoscaling", "v1", "Scale"))
        objectmeta.check_place(wanted.get("metadata") or {}, target.name, target.namespace)
    else:
        wanted = _patched_scale(rest, request, target)
    made = api.update_scale(
        resource, target.name, target.namespace, wanted, writer=writer_of(request)
    )
    obj = api.require(resource, target.name, target.namespace)
    return rest.settled(target, obj, lambda _entry: orjson.dumps(made), 200, [])


def _patched_scale(rest: Rest, request: Request, target: Target) -> Object:
    current = rest.api.get_scale(
        target.kind.resource, target.name, target.namespace, to_change=True
    )
    media = bodies.content_type(request)
    if media not in patching.MEDIA:
        raise bodies.unsupported(media)
    value = bodies.parse(request, media).value
    patched: Any
    if media == patching.JSON_PATCH:
        patched = patches.json_patch(current, value)
    elif isinstance(value, dict):
        patched = patches.merge_patch(current, value)
    else:
        raise statuses.bad_request("error decoding patch: the patch is no object")
    if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
        raise statuses.bad_request("the patch leaves no object with metadata")
    gvk = ("autoscaling", "v1", "Scale")
    bodies.check_depth(patched)
    bodies.decode_object(bodies.Body(patched), patched, gvk, validation="Ignore")
    # The version that was read is no precondition; one in the patch is.
    sent = (value.get("metadata") or {}) if isinstance(value, dict) else {}
    patched["metadata"] = {**patched["metadata"], "resourceVersion": sent.get("resourceVersion")}
    return patched


# --- pods


def _bind(rest: Rest, request: Request, target: Target, binding: Object) -> Answer:
    api = rest.api
    if (binding.get("metadata") or {}).get("name") != target.name:
        raise statuses.bad_request("name in URL does not match name in Binding object")
    pod, writer = api.require("pods", target.name, target.namespace), writer_of(request)
    binding = _reviewed(api, pod, target, binding, writer=writer, kind=BINDING)
    reference = binding.get("target") or {}
    errors = []
    if (kind := reference.get("kind")) not in (None, "", "Node"):
        errors.append(statuses.not_supported("target.kind", kind, ["Node", "<empty>"]))
    if not (node := reference.get("name") or ""):
        errors.append(statuses.required("target.name"))
    if errors:
        raise statuses.invalid_object("Binding", "", target.name, errors)
    if why := _unassignable(pod):
        raise statuses.conflict("pods/binding", target.name, why)
    bound = pod if writer.dry_run else api.bind(pod, node)
    return rest.settled(target, bound, _success, 201, [])


def _unassignable(pod: Object) -> str:
    """Say why a pod cannot be given to a node; an empty text when it can (assignPod)."""
    name = pod["metadata"]["name"]
    if is_deleting(pod):
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if node := pod["spec"].get("nodeName"):
        return f'pod {name} is already assigned to node "{node}"'
    if pod["spec"].get("schedulingGates"):
        return f"pod {name} has non-empty .spec.schedulingGates"
    return ""


def _evict(rest: Rest, request: Request, target: Target) -> Answer:
    eviction = _eviction(request)
    if (eviction.get("metadata") or {}).get("name") != target.name:
        raise statuses.bad_request("name in URL does not match name in Eviction object")
    pod = rest.api.require("pods", target.name, target.namespace)
    writer = writer_of(request)
    if (eviction.get("deleteOptions") or {}).get("dryRun"):
        writer = replace(writer, dry_run=True)
    eviction = _reviewed(rest.api, pod, target, eviction, writer=writer, kind=EVICTION)
    # The deletion that follows is no request of its own: webhooks for DELETE do not see it.
    writer = replace(writer, reviewed=True)
    gone = evictions.evict(rest.api, pod, eviction.get("deleteOptions") or {}, writer)
    return rest.settled(target, gone, _success, 201, [])


def _reviewed(
    api: Api,
    owner: Object,
    target: Target,
    body: Object,
    *,
    writer: Writer,
    kind: tuple[str, str, str],
) -> Object:
    """Return what was sent to a subresource as webhooks changed it, or raise their refusal."""
    sub = target.subresource
    review = api.webhooks.about("CREATE", target.kind, owner, writer, subresource=sub, body=kind)
    if not review:
        return body
    return review.validated(review.mutated(body, None))


def _eviction(request: Request) -> Object:
    """Read an Eviction; its first version is the one kind of policy/v1beta1 that is still taken."""
    body = bodies.parse(request, bodies.content_type(request))
    sent = body.value.get("apiVersion") if isinstance(body.value, dict) else ""
    if sent == "policy/v1beta1":
        body.value["apiVersion"] = "policy/v1"
    return bodies.read_object(body, EVICTION, validation="Ignore")[0]


def _success(_entry: Entry) -> bytes:
    return orjson.dumps(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    )


# --- tokens


def _token(rest: Rest, request: Request, target: Target, asked: Object) -> Answer:
    api = rest.api
    account = api.require("serviceaccounts", target.name, target.namespace)
    asked = _reviewed(api, account, target, asked, writer=writer_of(request), kind=TOKEN_REQUEST)
    spec = asked.get("spec") or {}
    seconds = spec.get("expirationSeconds") or TOKEN_SECONDS - 7
    if not LEAST_TOKEN_SECONDS <= seconds <= MOST_TOKEN_SECONDS:
        why = (
            "may not specify a duration less than 10 minutes"
            if seconds < LEAST_TOKEN_SECONDS
            else "may not specify a duration larger than 2^32 seconds"
        )
        error = statuses.invalid("spec.expirationSeconds", seconds, why)
        raise statuses.invalid_object("TokenRequest", "authentication.k8s.io", target.name, [error])
    claims = {"serviceaccount": {"name": target.name, "uid": account["metadata"]["uid"]}}
    if bound := spec.get("boundObjectRef"):
        claims |= _bound(rest, target.namespace, bound)
    token = rest.tokens.sign(
        target.namespace, target.name, claims, seconds=seconds, audiences=spec.get("audiences")
    )
    expires = datetime.fromtimestamp(clock.now() + seconds, UTC)
    answered = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": target.name,
            "namespace": target.namespace,
            "creationTimestamp": objectmeta.now_text(),
        },
        "spec": {**spec, "expirationSeconds": seconds},
        "status": {
            "token": token,
            "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }
    return Response(status=201, body=orjson.dumps(answered))


def _bound(rest: Rest, namespace: str, reference: Object) -> dict[str, dict[str, str]]:
    """Return what a token's claims say of the object that it is bound to, and of a pod's node.

    Source: ``pkg/registry/core/serviceaccount/storage/token.go``.
    """
    kind, name = reference.get("kind", ""), reference.get("name", "")
    resource = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}.get(kind)
    version = reference.get("apiVersion") or "v1"
    if resource is None or version != "v1":
        what = f"{version if '/' in version else '/' + version}, Kind={kind}"
        raise statuses.bad_request(f"cannot bind token to object of type {what}")
    found = rest.api.require(resource, name, "" if kind == "Node" else namespace)
    uid = found["metadata"]["uid"]
    if (given := reference.get("uid")) not in (None, "", uid):
        why = (
            f"the UID in the bound object reference ({given}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise statuses.conflict(kind, name, why)
    bound = {kind.lower(): {"name": name, "uid": uid}}
    if kind == "Pod" and (node := rest.api.get("nodes", found["spec"].get("nodeName", ""))):
        bound["node"] = {"name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
    return bound


# --- kinds that are only created


def _binding(rest: Rest, request: Request, target: Target, obj: Object) -> Answer:
    pods = rest.api.kinds.of("pods")
    name = obj["metadata"].get("name") or ""
    return _bind(rest, request, Target(pods, target.namespace, name, "binding"), obj)


CREATE_ONLY: dict[str, Callable[[Rest, Request, Target, Object], Answer]] = {
    **reviews.REVIEWS,
    "Binding": _binding,
}
