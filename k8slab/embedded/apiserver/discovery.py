"""What is served: ``/api``, ``/apis`` (legacy and aggregated), ``/version``.

Aggregated discovery (KEP-3352) answers everything in two requests; current kubectl asks for it.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver.etags import tagged
from k8slab.embedded.apiserver.http import Response
from k8slab.embedded.apiserver.views import JSON_MEDIA, YAML_MEDIA, accepted, not_acceptable
from k8slab.embedded.config import KUBERNETES_MINOR

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.kinds import Kind, KindTable, Subresource

DISCOVERY = "apidiscovery.k8s.io"
LAB_GROUP = "lab.k8slab.dev"

GROUP_ORDER = (
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "batch",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
)
"""The order in which a real server prefers groups; kubectl resolves short names by it."""


def version() -> dict[str, str]:
    """Return the body of ``/version``."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": "1",
        "minor": str(KUBERNETES_MINOR),
        "gitVersion": f"v1.{KUBERNETES_MINOR}.0",
        "gitCommit": "k8slab",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "CPython",
        "platform": f"linux/{machine}",
        "emulationMajor": "1",
        "emulationMinor": str(KUBERNETES_MINOR),
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": str(KUBERNETES_MINOR - 1),
    }


def _paths(kinds: KindTable) -> list[str]:
    """Return what ``/`` lists: the paths below which something is served."""
    found = {"/api", "/apis", "/healthz", "/livez", "/readyz", "/version"}
    found |= {"/openapi/v2", "/openapi/v3"}
    for group, versions in kinds.group_versions().items():
        place = f"/apis/{group}" if group else "/api"
        found |= {place, *(f"{place}/{version}" for version in versions)}
    return sorted(found)


def answer(request: Request, kinds: KindTable) -> Response | None:
    """Answer a discovery request; ``None`` when the path is not one."""
    parts = [part for part in request.path.split("/") if part]
    match parts:
        case []:
            return Response(body=orjson.dumps({"paths": _paths(kinds)}))
        case ["version"]:
            return Response(body=orjson.dumps(version()))
        case ["api" | "apis"]:
            return _roots(request, kinds, core=parts[0] == "api")
        case ["apis", group]:
            found = _group(kinds, group)
            return Response(body=orjson.dumps(found)) if found else None
        case ["api", "v1"]:
            return Response(body=orjson.dumps(_resources(kinds, "", "v1")))
        case ["apis", group, name] if kinds.in_group(group, name):
            return Response(body=orjson.dumps(_resources(kinds, group, name)))
    return None


def _roots(request: Request, kinds: KindTable, *, core: bool) -> Response:
    for media, parameters in accepted(request):
        if media not in JSON_MEDIA + YAML_MEDIA:
            continue
        if parameters.get("as") == "APIGroupDiscoveryList" and parameters.get("g") == DISCOVERY:
            if parameters.get("v") not in ("v2", "v2beta1"):
                continue
            body = _aggregated(kinds, parameters["v"], core=core)
            content_type = (
                f"application/json;g={DISCOVERY};v={parameters['v']};as=APIGroupDiscoveryList"
            )
            return tagged(request, Response(body=orjson.dumps(body), content_type=content_type))
        if not parameters.get("as"):
            return Response(body=orjson.dumps(_core() if core else _groups(kinds)))
    raise not_acceptable(*YAML_MEDIA)


def _core() -> dict[str, Any]:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _sorted_groups(kinds: KindTable) -> list[str]:
    names = [name for name in kinds.group_versions() if name]
    ranks = {name: number for number, name in enumerate(GROUP_ORDER)}
    return sorted(names, key=lambda name: (ranks.get(name, len(ranks)), name))


def _group(kinds: KindTable, name: str) -> dict[str, Any] | None:
    versions = kinds.group_versions().get(name) if name else None
    if not versions:
        return None
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": listed,
        "preferredVersion": listed[0],
    }


def _groups(kinds: KindTable) -> dict[str, Any]:
    groups = [_group(kinds, name) for name in _sorted_groups(kinds)]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _resources(kinds: KindTable, group: str, name: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for kind in kinds.in_group(group, name):
        row: dict[str, Any] = {
            "name": kind.plural,
            "singularName": kind.singular_name,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short:
            row["shortNames"] = list(kind.short)
        if kind.categories:
            row["categories"] = list(kind.categories)
        rows.append(row)
        rows += [_subresource(kind, sub) for sub in kind.subresources]
    api_version = f"{group}/{name}" if group else name
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": rows,
    }


def _subresource(kind: Kind, sub: Subresource) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": f"{kind.plural}/{sub.name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": sub.kind,
        "verbs": list(sub.verbs),
    }
    if sub.version:
        row["group"], row["version"] = sub.group, sub.version
    return row


def _aggregated(kinds: KindTable, form: str, *, core: bool) -> dict[str, Any]:
    groups = [""] if core else _sorted_groups(kinds)
    items = []
    for group in groups:
        versions = [
            {
                "version": name,
                "resources": [_discovered(kind) for kind in kinds.in_group(group, name)],
                "freshness": "Current",
            }
            for name in kinds.group_versions()[group]
        ]
        metadata = {"name": group, "creationTimestamp": None} if group else {}
        items.append({"metadata": metadata, "versions": versions})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{DISCOVERY}/{form}",
        "metadata": {},
        "items": items,
    }


def _discovered(kind: Kind) -> dict[str, Any]:
    row: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular_name,
        "verbs": list(kind.verbs),
    }
    if kind.short:
        row["shortNames"] = list(kind.short)
    if kind.categories:
        row["categories"] = list(kind.categories)
    if kind.subresources:
        row["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {
                    "group": sub.group if sub.version else kind.group,
                    "version": sub.version or kind.version,
                    "kind": sub.kind,
                },
                "verbs": list(sub.verbs),
            }
            for sub in kind.subresources
        ]
    return row
