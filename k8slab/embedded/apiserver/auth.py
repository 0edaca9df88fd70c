"""Who sends a request, and what may they do.

A client shows a certificate of the cluster's CA (the common name is the user, organizations are
groups) or a service-account token. There is no anonymous access. Until RBAC is evaluated,
``system:masters`` may do everything, the service accounts of kube-system may read everything, and
everyone may discover the API and ask about themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.pki import Tokens

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
LAB_PATHS = "/apis/lab.k8slab.dev/"
"""Commands on nodes, probes from anywhere: for the administrator alone."""

READ_VERBS = frozenset({"get", "list", "watch"})
SELF_REVIEWS = frozenset(
    {
        "selfsubjectreviews",
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
    }
)


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated caller."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_master(self) -> bool:
        """Say whether this caller may do everything."""
        return MASTERS in self.groups


@dataclass(frozen=True, slots=True)
class Action:
    """What a caller wants to do; `path` for requests that name no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def unauthorized() -> ApiStatusError:
    """Return 401, as a real server says it."""
    return ApiStatusError("Unauthorized", code=401, reason="Unauthorized")


def authenticate(request: Request, tokens: Tokens, api: Api) -> User:
    """Return who sent a request, or raise 401."""
    if request.certificate:
        return _from_certificate(request.certificate)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and (user := from_token(token.strip(), tokens, api)):
        return user
    raise unauthorized()


def _from_certificate(certificate: dict) -> User:
    name, groups = "", []
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    return User(name, (*groups, AUTHENTICATED))


def from_token(token: str, tokens: Tokens, api: Api) -> User | None:
    """Return whose token it is; ``None`` when it is not valid, or its account or pod has gone."""
    claims = tokens.verify(token)
    if claims is None:
        return None
    own = claims["kubernetes.io"]
    namespace = own["namespace"]
    account = own["serviceaccount"]
    found = api.get("serviceaccounts", account["name"], namespace)
    if found is None or found["metadata"]["uid"] != account["uid"]:
        return None
    extra: dict[str, list[str]] = {}
    if pod := own.get("pod"):
        bound = api.get("pods", pod["name"], namespace)
        if bound is None or bound["metadata"]["uid"] != pod["uid"]:
            return None
        extra["authentication.kubernetes.io/pod-name"] = [pod["name"]]
        extra["authentication.kubernetes.io/pod-uid"] = [pod["uid"]]
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    name = f"system:serviceaccount:{namespace}:{account['name']}"
    return User(name, groups, account["uid"], extra)


def is_allowed(user: User, action: Action) -> bool:
    """Say whether the caller may do this (the place where RBAC will be asked)."""
    if user.is_master:
        return True
    if not action.resource:
        return action.verb == "get" and not action.path.startswith(LAB_PATHS)
    if action.resource in SELF_REVIEWS:
        return action.verb == "create"
    in_system = "system:serviceaccounts:kube-system" in user.groups
    return in_system and action.verb in READ_VERBS


def authorize(user: User, action: Action) -> None:
    """Raise 403 with a real server's message when the caller may not do this."""
    if is_allowed(user, action):
        return
    if not action.resource:
        raise ApiStatusError(
            f'forbidden: User "{user.name}" cannot {action.verb} path "{action.path}"',
            code=403,
            reason="Forbidden",
        )
    resource = f"{action.resource}.{action.group}" if action.group else action.resource
    what = f'{resource} "{action.name}"' if action.name else resource
    full = f"{action.resource}/{action.subresource}" if action.subresource else action.resource
    where = f'in the namespace "{action.namespace}"' if action.namespace else "at the cluster scope"
    raise ApiStatusError(
        f'{what} is forbidden: User "{user.name}" cannot {action.verb} resource "{full}" '
        f'in API group "{action.group}" {where}',
        code=403,
        reason="Forbidden",
        details={"name": action.name, "group": action.group, "kind": action.resource},
    )
