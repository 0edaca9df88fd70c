"""AdmissionReviews: what a webhook is told, and what it may answer.

Source: ``admission.k8s.io/v1`` in ``k8s.io/api``, and apiserver's ``webhook/request``
(VerifyAdmissionResponse) and ``webhook/errors`` (ToStatusErr).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.auth import User
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

API_VERSION = "admission.k8s.io/v1"
_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is asked about, all of it but the object as it is to be written."""

    operation: str
    kind: Kind
    """The kind of the resource; a subresource may have a body of another one (`body`)."""
    namespace: str
    name: str
    user: User
    subresource: str = ""
    body: tuple[str, str, str] | None = None
    manager: str = ""
    dry_run: bool = False
    old: Object | None = field(default=None, hash=False)

    def seen(self, obj: Object | None, kind: Kind) -> Object | None:
        """Return an object in the version in which a webhook wants it: they differ in name only."""
        if obj is None or self.body:
            return obj
        return {**obj, "apiVersion": kind.api_version, "kind": kind.kind}

    def described(self, kind: Kind) -> Object:
        """Return the parts of an AdmissionRequest that say what is done, by whom."""
        made: Object = {
            "kind": self._kind_object(kind),
            "resource": _resource_object(kind),
            "requestKind": self._kind_object(self.kind),
            "requestResource": _resource_object(self.kind),
            "operation": self.operation,
            "userInfo": _user_object(self.user),
            "dryRun": self.dry_run,
            "options": self._options(),
        }
        if self.subresource:
            made["subResource"] = made["requestSubResource"] = self.subresource
        if self.name:
            made["name"] = self.name
        if self.namespace:
            made["namespace"] = self.namespace
        return made

    def _kind_object(self, kind: Kind) -> Object:
        group, version, word = self.body or (kind.group, kind.version, kind.kind)
        return {"group": group, "version": version, "kind": word}

    def _options(self) -> Object | None:
        word = _OPTIONS.get(self.operation)
        if word is None:
            return None
        made: Object = {"kind": word, "apiVersion": "meta.k8s.io/v1"}
        if self.manager and word != "DeleteOptions":
            made["fieldManager"] = self.manager
        if self.dry_run:
            made["dryRun"] = ["All"]
        return made


def _resource_object(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}


def _user_object(user: User) -> Object:
    made: Object = {"username": user.name, "groups": list(user.groups)}
    return made | {key: value for key in ("uid", "extra") if (value := getattr(user, key))}


def request_body(subject: Subject, kind: Kind, new: Object | None, uid: str) -> bytes:
    """Return the AdmissionReview to send."""
    request = {
        "uid": uid,
        **subject.described(kind),
        "object": subject.seen(new, kind),
        "oldObject": subject.seen(subject.old, kind),
    }
    return orjson.dumps({"kind": "AdmissionReview", "apiVersion": API_VERSION, "request": request})


# --- the answer


class ResponseError(ValueError):
    """An answer that a webhook must not give."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook answered."""

    allowed: bool
    patch: list[Object]
    """Operations of a JSON patch; empty for no change."""
    warnings: list[str]
    status: Object


def read_response(data: bytes, uid: str, *, mutating: bool) -> Verdict:
    """Read an AdmissionReview that came back; raises `ResponseError`."""
    try:
        review = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ResponseError(f"couldn't get version/kind; json parse error: {error}") from error
    if not isinstance(review, dict):
        raise ResponseError("couldn't get version/kind; the answer is no object")
    group, _, version = str(review.get("apiVersion") or "").rpartition("/")
    said = f"{group}/{version}, Kind={review.get('kind') or ''}"
    wanted = f"{API_VERSION}, Kind=AdmissionReview"
    if said != wanted:
        raise ResponseError(f"expected webhook response of {wanted}, got {said}")
    response = review.get("response")
    if not isinstance(response, dict):
        raise ResponseError("webhook response was absent")
    if response.get("uid") != uid:
        got = response.get("uid") or ""
        raise ResponseError(f'expected response.uid="{uid}", got "{got}"')
    if not isinstance(response.get("allowed", False), bool):
        raise ResponseError("response.allowed is neither true nor false")
    status, warnings = response.get("status") or {}, response.get("warnings") or []
    if not isinstance(status, dict) or not isinstance(warnings, list):
        raise ResponseError("response.status is no object, or response.warnings no list")
    patch = _patch(response) if mutating else _no_patch(response)
    texts = [text for text in warnings if isinstance(text, str)]
    return Verdict(response.get("allowed", False), patch, texts, status)


def _patch(response: Object) -> list[Object]:
    patch, form = response.get("patch"), response.get("patchType")
    if patch and form is None:
        raise ResponseError("webhook returned response.patch but not response.patchType")
    if not patch:
        if form is not None:
            raise ResponseError("webhook returned response.patchType but not response.patch")
        return []
    if not form:
        raise ResponseError(f'webhook returned invalid response.patchType of "{form}"')
    if form != "JSONPatch":
        raise ResponseError(f'unsupported patch type "{form}"')
    try:
        operations: Any = orjson.loads(base64.b64decode(patch, validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise ResponseError(f"received undecodable patch in webhook response: {error}") from error
    if not isinstance(operations, list):
        raise ResponseError("received undecodable patch in webhook response: it is no list")
    return operations


def _no_patch(response: Object) -> list[Object]:
    if response.get("patch"):
        raise ResponseError("validating webhook may not return response.patch")
    if response.get("patchType") is not None:
        raise ResponseError("validating webhook may not return response.patchType")
    return []


def denied(webhook: str, status: Object) -> ApiStatusError:
    """Return the refusal of a webhook as the client is told it."""
    head = f'admission webhook "{webhook}" denied the request'
    explained = status.get("message") or status.get("reason")
    code = status.get("code")
    return ApiStatusError(
        f"{head}: {explained}" if explained else f"{head} without explanation",
        code=code if isinstance(code, int) and 400 <= code < 600 else 400,
        reason=str(status.get("reason") or ""),
        details=status["details"] if isinstance(status.get("details"), dict) else {},
    )
