"""What a path means: which kind, namespace, object and subresource.

``/api/v1/...`` is the core group, ``/apis/GROUP/VERSION/...`` any other. Below it:
``[namespaces/NS/]PLURAL[/NAME[/SUBRESOURCE]]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.auth import Action

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
    if rest[0] == "namespaces" and len(rest) > 2:
        if group == "" and len(rest) == 3 and rest[2] in ("status", "finalize"):
            kind = kinds.find("", version, "namespaces")
            return Target(kind, "", rest[1], rest[2]) if kind else None
        namespace, rest = rest[1], rest[2:]
    kind = kinds.find(group, version, rest[0])
    if kind is None or len(rest) > 3 or bool(namespace) > kind.namespaced:
        return None
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and kind.subresource(subresource) is None:
        return None
    if name and kind.namespaced and not namespace:
        return None
    return Target(kind, namespace, name, subresource)


def verb_of(request: Request, target: Target) -> str:
    """Return the verb of a request, in the words of RBAC."""
    verb = _VERBS.get(request.method, request.method.lower())
    if target.name:
        return verb
    if verb == "get":
        return "watch" if request.flag("watch") else "list"
    return "deletecollection" if verb == "delete" else verb


def action_of(target: Target, verb: str) -> Action:
    """Return what has to be authorized."""
    kind = target.kind
    return Action(verb, kind.group, kind.plural, target.subresource, target.namespace, target.name)
