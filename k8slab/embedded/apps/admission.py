"""What ``agnhost webhook`` answers: admission webhooks to try things out with.

Each path is a rule of its own: deny everything, add a label, look at a label of a pod. The same
manifests run with the real image. Source: ``test/images/agnhost/webhook`` of kubernetes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from k8slab.embedded.apps.messages import Request, Response, text

Review = dict[str, Any]
Admit = Callable[[Review], Review]
"""Makes the ``response`` of an AdmissionReview from its ``request``."""

FOREVER = 3600.0
"""Seconds; longer than any webhook's timeoutSeconds."""

ALLOWED: Review = {"allowed": True}
DELAYED = {"/always-allow-delay-5s": 5.0}
LABEL = "added-label"
E2E = "webhook-e2e-test"


class AdmissionWebhook:
    """The handler of one ``agnhost webhook`` process."""

    def __init__(self, sidecar_image: str = "") -> None:
        self._paths: dict[str, Admit] = {
            "/always-allow-delay-5s": lambda _: ALLOWED,
            "/always-deny": lambda _: _denied("this webhook denies all requests"),
            "/add-label": _add_label,
            "/pods": _pods,
            "/pods/attach": _attach,
            "/mutating-pods": _mutating_pods,
            "/mutating-pods-sidecar": partial(_sidecar, sidecar_image),
            "/configmaps": partial(_data, "configmap", "key and value"),
            "/mutating-configmaps": _stages,
            "/custom-resource": partial(_data, "custom resource", "data"),
            "/mutating-custom-resource": _stages,
            "/crd": _definition,
        }

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.path == "/readyz":
            return text("ok")
        admit = self._paths.get(request.path)
        if admit is None:
            return text("404 page not found", 404)
        try:
            review = json.loads(request.body)
            asked = review["request"]
            answer = {**admit(asked), "uid": asked["uid"]}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            return text(f"Request could not be decoded: {error!r}", 400)
        head = {key: review.get(key) for key in ("kind", "apiVersion")}
        body = json.dumps({**head, "response": answer}).encode()
        delay = FOREVER if _is_to_wait(request.path, asked) else DELAYED.get(request.path, 0.0)
        return Response(body=body, content_type="application/json", delay=delay)


def _denied(message: str) -> Review:
    return {"allowed": False, "status": {"message": message}}


def _patched(*operations: Review) -> Review:
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return {**ALLOWED, "patch": patch, "patchType": "JSONPatch"}


def _labels(asked: Review) -> Review:
    return (asked["object"].get("metadata") or {}).get("labels") or {}


def _add_label(asked: Review) -> Review:
    labels = _labels(asked)
    if not labels:
        return _patched({"op": "add", "path": "/metadata/labels", "value": {LABEL: "yes"}})
    if labels.get(LABEL) == "yes":
        return ALLOWED
    verb = "replace" if LABEL in labels else "add"
    return _patched({"op": verb, "path": f"/metadata/labels/{LABEL}", "value": "yes"})


# --- pods


def _is_to_wait(path: str, asked: Review) -> bool:
    return path == "/pods" and _labels(asked).get(E2E) == "wait-forever"


def _pods(asked: Review) -> Review:
    why = []
    if _labels(asked).get(E2E) == "webhook-disallow":
        why.append("the pod contains unwanted label;")
    if _is_to_wait("/pods", asked):
        why.append("the pod response should not be sent;")
    why += [
        "the pod contains unwanted container name;"
        for container in asked["object"]["spec"].get("containers") or ()
        if "webhook-disallow" in container["name"]
    ]
    return _denied(" ".join(why)) if why else ALLOWED


def _attach(asked: Review) -> Review:
    options = asked.get("object") or {}
    forbidden = asked.get("name") == "to-be-attached-pod" and (
        options.get("stdin") and options.get("container") == "container1"
    )
    if forbidden:
        return _denied("attaching to pod 'to-be-attached-pod' is not allowed")
    return ALLOWED


def _has_container(asked: Review, field: str, name: str) -> bool:
    return any(c["name"] == name for c in asked["object"]["spec"].get(field) or ())


def _mutating_pods(asked: Review) -> Review:
    name, added = asked["object"]["metadata"].get("name"), "webhook-added-init-container"
    if name != "webhook-to-be-mutated" or _has_container(asked, "initContainers", added):
        return ALLOWED
    container = {"image": "webhook-added-image", "name": added, "resources": {}}
    return _patched({"op": "add", "path": "/spec/initContainers", "value": [container]})


def _sidecar(image: str, asked: Review) -> Review:
    added = "webhook-added-sidecar"
    if not image:
        message = "No image specified by the sidecar-image parameter"
        return {"allowed": False, "status": {"status": "Failure", "message": message, "code": 500}}
    if _has_container(asked, "containers", added):
        return ALLOWED
    container = {"image": image, "name": added, "resources": {}}
    return _patched({"op": "add", "path": "/spec/containers/-", "value": container})


# --- configuration, custom resources and their definitions


def _data(kind: str, what: str, asked: Review) -> Review:
    deleting = asked["operation"] == "DELETE"
    obj = asked["oldObject"] if deleting else asked["object"]
    word = (obj.get("data") or {}).get(E2E)
    if not deleting and word == "webhook-disallow":
        return {"allowed": False, "status": {"reason": f"the {kind} contains unwanted {what}"}}
    if deleting and word == "webhook-nondeletable":
        why = f"the {kind} cannot be deleted because it contains unwanted key and value"
        return {"allowed": False, "status": {"reason": why}}
    return ALLOWED


def _stages(asked: Review) -> Review:
    data = asked["object"].get("data") or {}
    for number, word in ((2, "mutation-stage-1"), (1, "mutation-start")):
        if data.get(word) == "yes":
            return _patched({"op": "add", "path": f"/data/mutation-stage-{number}", "value": "yes"})
    return ALLOWED


def _definition(asked: Review) -> Review:
    if _labels(asked).get(E2E) == "webhook-disallow":
        return _denied("the crd contains unwanted label")
    return ALLOWED
