"""What a path means: which kind, namespace, object and subresource.

``/api/v1/...`` is the core group, ``/apis/GROUP/VERSION/...`` any other. Below it:
``[namespaces/NS/]PLURAL[/NAME[/SUBRESOURCE]]``. A ``watch/`` before that is the old way to ask
for a watch; one object is watched so, or by a field selector: a GET of its name is a get, whatever
its query says. With any method a path below ``watch/`` is authorized as a watch, so nothing but
reading may be carried out there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.rbac import Action

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.kinds import Kind, KindTable

_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    is_watch: bool = False
    """The path itself asks for a watch."""


def target_of(path: str, kinds: KindTable) -> Target | None:
    """Return what a path names, ``None`` when it names nothing that is served."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if is_watch := rest[0] == "watch" and len(rest) > 1:
        rest = rest[1:]
    if rest[0] == "namespaces" and len(rest) > 2:
        if group == "" and len(rest) == 3 and rest[2] in ("status", "finalize"):
            if is_watch:
                return None
            kind = kinds.find("", version, "namespaces")
            return Target(kind, "", rest[1], rest[2]) if kind else None
        namespace, rest = rest[1], rest[2:]
    kind = kinds.find(group, version, rest[0])
    if kind is None or bool(namespace) > kind.namespaced:
        return None
    if len(rest) > 3 and rest[2] != "proxy":  # behind which any path may come
        return None
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and kind.subresource(subresource) is None:
        return None
    if name and kind.namespaced and not namespace:
        return None
    if is_watch and subresource:
        return None
    return Target(kind, namespace, name, subresource, is_watch)


def verb_of(request: Request, target: Target) -> str:
    """Return the verb of a request, in the words of RBAC; 405 for a write below ``watch/``."""
    verb = _VERBS.get(request.method, request.method.lower())
    if target.is_watch:
        if verb != "get":
            raise statuses.method_not_supported(target.kind.resource, verb)
        return "watch"
    if target.name:
        return verb
    if verb == "get":
        return "watch" if request.flag("watch") else "list"
    return "deletecollection" if verb == "delete" else verb


def action_of(request: Request) -> Action:
    """Return what has to be authorized: read from the path, whether or not it is served.

    Source: ``RequestInfoFactory`` of k8s.io/apiserver.
    """
    method, parts = request.method, [part for part in request.path.split("/") if part]
    rest = parts[2:] if parts[:1] == ["api"] else parts[3:] if parts[:1] == ["apis"] else []
    if not rest:
        return Action(method.lower(), path=request.path)
    group = parts[1] if parts[0] == "apis" else ""
    namespace, verb = "", _VERBS.get(method, method.lower())
    if rest[0] == "watch" and len(rest) > 1:
        verb, rest = "watch", rest[1:]
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    if not name and verb == "get":
        verb = "watch" if request.flag("watch") else "list"
        name = _chosen_name(request)
    elif not name and verb == "delete":
        # No name, whatever is selected: a role for one name does not allow this verb.
        verb = "deletecollection"
    return Action(verb, group, resource, subresource, namespace, name)


def _chosen_name(request: Request) -> str:
    """Return the one name that a list is limited to by its field selector."""
    for term in request.parameter("fieldSelector").split(","):
        key, equals, value = term.partition("=")
        if equals and key.strip() == "metadata.name":
            return value.removeprefix("=").strip()
    return ""
