"""Who sends a request, on whose behalf, and may they.

A client shows a certificate of the cluster's CA (the common name is the user, organizations are
groups) or a service-account token. There is no anonymous access. ``Impersonate-`` headers ask to
be taken for somebody else, which the verb ``impersonate`` must allow. What a caller may do is
decided by RBAC (`roles`); ``system:masters`` may do everything.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.rbac import Action
from k8slab.embedded.apiserver.roles import account_user
from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.pki import Tokens
    from k8slab.embedded.apiserver.roles import Roles
    from k8slab.objects.meta import Object

MASTERS = "system:masters"
AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
ACCOUNTS = "system:serviceaccounts"
ANONYMOUS = "system:anonymous"
AUTHENTICATION = "authentication.k8s.io"
POD_NAME, POD_UID = (f"authentication.kubernetes.io/pod-{word}" for word in ("name", "uid"))
NODE_NAME, NODE_UID = (f"authentication.kubernetes.io/node-{word}" for word in ("name", "uid"))
CREDENTIAL = "authentication.kubernetes.io/credential-id"
EXTRA_HEADER = "impersonate-extra-"


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


def from_token(token: str, tokens: Tokens, api: Api, audiences: Sequence[str] = ()) -> User | None:
    """Return whose token it is; ``None`` when it is not valid, or what it is bound to has gone.

    `audiences` are those that it must name one of, the API's own by default.
    """
    claims = tokens.verify(token, audiences)
    if claims is None:
        return None
    own = claims["kubernetes.io"]
    namespace = own["namespace"]
    account = own["serviceaccount"]
    bonds = {"serviceaccounts": account, "pods": own.get("pod"), "secrets": own.get("secret")}
    node = own.get("node")
    if own.get("pod") is None:  # that of a pod is told, and asked nothing
        bonds["nodes"] = node
    for resource, bond in bonds.items():
        if bond is None:
            continue
        found = api.get(resource, bond["name"], "" if resource == "nodes" else namespace)
        if found is None or not _is_bound(found, bond, token):
            return None
    extra: dict[str, list[str]] = {}
    if number := claims.get("jti"):
        extra[CREDENTIAL] = [f"JTI={number}"]
    if pod := own.get("pod"):
        extra |= {POD_NAME: [pod["name"]], POD_UID: [pod["uid"]]}
    if node:
        extra[NODE_NAME] = [node["name"]]
        if uid := node.get("uid"):
            extra[NODE_UID] = [uid]
    groups = (ACCOUNTS, f"{ACCOUNTS}:{namespace}", AUTHENTICATED)
    return User(account_user(namespace, account["name"]), groups, account["uid"], extra)


def _is_bound(found: Object, bond: Object, token: str) -> bool:
    """Say whether this is what a token is bound to: by UID, or the Secret that holds it."""
    if "uid" in bond:
        return bool(found["metadata"]["uid"] == bond["uid"])
    kept = (found.get("data") or {}).get("token", "")
    return bool(kept == b64encode(token.encode()).decode())


# --- impersonation


def impersonated(request: Request, user: User, api: Api) -> User:
    """Return whom the caller asks to be taken for, or the caller; 403 when that is not allowed."""
    headers = request.headers
    name = headers.get("impersonate-user", "")
    groups = [word.strip() for word in headers.get("impersonate-group", "").split(",") if word]
    uid = headers.get("impersonate-uid", "")
    extra = {
        unquote(header.removeprefix(EXTRA_HEADER)): [value]
        for header, value in headers.items()
        if header.startswith(EXTRA_HEADER)
    }
    if not name:
        if groups or uid or extra:
            raise statuses.bad_request("groups, uid or extra are impersonated without a user")
        return user
    _, _, account = name.partition("system:serviceaccount:")
    namespace, _, account_name = account.partition(":")
    if account_name:
        wanted = [Action("impersonate", "", "serviceaccounts", "", namespace, account_name)]
        groups = groups or [ACCOUNTS, f"{ACCOUNTS}:{namespace}"]
    else:
        wanted = [Action("impersonate", resource="users", name=name)]
    if headers.get("impersonate-group"):
        wanted += [Action("impersonate", resource="groups", name=group) for group in groups]
    if uid:
        wanted.append(Action("impersonate", AUTHENTICATION, "uids", name=uid))
    wanted += [
        Action("impersonate", AUTHENTICATION, "userextras", key, name=value)
        for key, values in extra.items()
        for value in values
    ]
    for action in wanted:
        authorize(api.roles, user, action)
    everyone = UNAUTHENTICATED if name == ANONYMOUS else AUTHENTICATED
    if everyone not in groups:
        groups.append(everyone)
    return User(name, tuple(groups), uid, extra)


# --- authorization


def authorize(roles: Roles, user: User, action: Action) -> None:
    """Raise 403 with a real server's message when the caller may not do this."""
    allowed, reason = roles.decide(user, action)
    if allowed:
        return
    why = f": {reason}" if reason else ""
    if not action.resource:
        raise ApiStatusError(
            f'forbidden: User "{user.name}" cannot {action.verb} path "{action.path}"{why}',
            code=403,
            reason="Forbidden",
        )
    resource = f"{action.resource}.{action.group}" if action.group else action.resource
    where = f'in the namespace "{action.namespace}"' if action.namespace else "at the cluster scope"
    raise statuses.forbidden_request(
        resource,
        action.name,
        f'User "{user.name}" cannot {action.verb} resource "{action.full_resource}" '
        f'in API group "{action.group}" {where}{why}',
    )
