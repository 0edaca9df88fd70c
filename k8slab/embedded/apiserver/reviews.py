"""Kinds that are only questions: whose token is this, who am I, may this one do that.

Their answer is the object that was sent, with a status. ``kubectl auth can-i`` and ``whoami``
ask them, and so do proxies and webhooks that leave the decision to the cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver import auth, statuses
from k8slab.embedded.apiserver.http import Response
from k8slab.embedded.apiserver.pki import ISSUER
from k8slab.embedded.apiserver.rbac import Action

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.rbac import Rule
    from k8slab.embedded.apiserver.rest import Rest
    from k8slab.embedded.apiserver.routes import Target
    from k8slab.objects.meta import Object

GROUP = "authorization.k8s.io"


def _token_review(rest: Rest, request: Request, target: Target, obj: Object) -> Response:
    del request, target
    spec = obj.get("spec") or {}
    token, asked = spec.get("token") or "", spec.get("audiences") or []
    if not token:
        raise statuses.bad_request("token is required for TokenReview in authentication")
    user = auth.from_token(token, rest.tokens, rest.api, asked)
    status: Object = {"user": {}, "error": "invalid bearer token"}
    if user:
        meant = (rest.tokens.verify(token, asked) or {}).get("aud", ())
        audiences = [one for one in asked or [ISSUER] if one in meant]
        status = {"authenticated": True, "user": _user_object(user), "audiences": audiences}
    return _reviewed(obj, status)


def _self_review(rest: Rest, request: Request, target: Target, obj: Object) -> Response:
    del rest, target
    return _reviewed(obj, {"userInfo": _user_object(request.user)})


def _user_object(user: auth.User) -> Object:
    made: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        made["uid"] = user.uid
    if user.extra:
        made["extra"] = user.extra
    return made


def _self_access(rest: Rest, request: Request, target: Target, obj: Object) -> Response:
    del target
    return _access(rest, request.user, obj)


def _subject_access(rest: Rest, request: Request, target: Target, obj: Object) -> Response:
    del request
    spec = obj.get("spec") or {}
    name, groups = spec.get("user") or "", tuple(spec.get("groups") or ())
    if not name and not groups:
        error = statuses.invalid("spec.user", "", "at least one of user or group must be specified")
        raise statuses.invalid_object(obj["kind"], GROUP, "", [error])
    if target.kind.namespaced:
        inside = (spec.get("resourceAttributes") or {}).get("namespace") or ""
        if inside != target.namespace:
            why = "must match metadata.namespace"
            error = statuses.invalid("spec.resourceAttributes.namespace", inside, why)
            raise statuses.invalid_object(obj["kind"], GROUP, "", [error])
    user = auth.User(name, groups, spec.get("uid") or "", spec.get("extra") or {})
    return _access(rest, user, obj)


def _access(rest: Rest, user: auth.User, obj: Object) -> Response:
    spec = obj.get("spec") or {}
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        why = (
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            if resource is None
            else "cannot be specified in combination with resourceAttributes"
        )
        where = "spec.resourceAttributes" if resource is None else "spec.nonResourceAttributes"
        error = statuses.invalid(where, resource if resource is None else path, why)
        raise statuses.invalid_object(obj["kind"], GROUP, "", [error])
    allowed, reason = rest.api.roles.decide(user, _asked(resource, path or {}))
    return _reviewed(obj, {"allowed": allowed} | ({"reason": reason} if reason else {}))


def _asked(resource: Object | None, plain: Object) -> Action:
    if resource is None:
        return Action(plain.get("verb") or "", path=plain.get("path") or "")
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    verb, group, plural, subresource, namespace, name = (resource.get(f) or "" for f in fields)
    return Action(verb, group, plural, subresource, namespace, name)


def _self_rules(rest: Rest, request: Request, target: Target, obj: Object) -> Response:
    del target
    namespace = (obj.get("spec") or {}).get("namespace") or ""
    if not namespace:
        raise statuses.bad_request("no namespace on request")
    held = rest.api.roles.rules(request.user, namespace)
    status: Object = {
        "resourceRules": [_resource_rule(rule) for rule in held if rule.resources],
        "nonResourceRules": [
            {"verbs": list(rule.verbs), "nonResourceURLs": list(rule.urls)}
            for rule in held
            if rule.urls
        ],
        "incomplete": False,
    }
    return _reviewed(obj, status)


def _resource_rule(rule: Rule) -> Object:
    made: Object = {
        "verbs": list(rule.verbs),
        "apiGroups": list(rule.groups),
        "resources": list(rule.resources),
    }
    if rule.names:
        made["resourceNames"] = list(rule.names)
    return made


def _reviewed(obj: Object, status: Object) -> Response:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "name"}
    return Response(status=201, body=orjson.dumps({**obj, "metadata": metadata, "status": status}))


REVIEWS: dict[str, Callable[[Rest, Request, Target, Object], Response]] = {
    "TokenReview": _token_review,
    "SelfSubjectReview": _self_review,
    "SelfSubjectAccessReview": _self_access,
    "SelfSubjectRulesReview": _self_rules,
    "SubjectAccessReview": _subject_access,
    "LocalSubjectAccessReview": _subject_access,
}
