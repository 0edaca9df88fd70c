"""The roles and bindings that every cluster has, and that the server puts back when it starts.

Source: ``plugin/pkg/auth/authorizer/rbac/bootstrappolicy`` of kube-apiserver. Left out are the
roles of programs that do not run here (``system:controller:...``, ``system:node``, ...).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import rbac

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api
    from k8slab.objects.meta import Object

READ = "get list watch"
WRITE = "create delete deletecollection patch update"
AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"

_POD_STREAMS = "pods/attach pods/exec pods/portforward pods/proxy"
_APPS = (
    "daemonsets deployments deployments/scale replicasets replicasets/scale "
    "statefulsets statefulsets/scale"
)
_HEALTH = "/healthz /livez /readyz /version /version/"

Words = tuple[str, str, str]
"""Group, resources, verbs; lists are words between spaces, ``URL`` as group means paths."""
URL = "URL"

ROLES: dict[str, tuple[Words, ...]] = {
    "cluster-admin": (("*", "*", "*"), (URL, "*", "*")),
    "system:aggregate-to-admin": (
        ("authorization.k8s.io", "localsubjectaccessreviews", "create"),
        (rbac.GROUP, "rolebindings roles", f"{READ} {WRITE}"),
    ),
    "system:aggregate-to-edit": (
        ("", f"{_POD_STREAMS} secrets services/proxy", READ),
        ("", "serviceaccounts", "impersonate"),
        ("", f"pods {_POD_STREAMS}", WRITE),
        ("", "pods/eviction", "create"),
        (
            "",
            (
                "configmaps events persistentvolumeclaims replicationcontrollers "
                "replicationcontrollers/scale secrets serviceaccounts services services/proxy"
            ),
            WRITE,
        ),
        ("", "serviceaccounts/token", "create"),
        ("apps", f"{_APPS} deployments/rollback", WRITE),
        ("autoscaling", "horizontalpodautoscalers", WRITE),
        ("batch", "cronjobs jobs", WRITE),
        ("policy", "poddisruptionbudgets", WRITE),
        ("networking.k8s.io", "ingresses networkpolicies", WRITE),
        ("coordination.k8s.io", "leases", f"{READ} {WRITE}"),
    ),
    "system:aggregate-to-view": (
        (
            "",
            (
                "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "
                "replicationcontrollers replicationcontrollers/scale serviceaccounts services "
                "services/status"
            ),
            READ,
        ),
        (
            "",
            (
                "bindings events limitranges namespaces/status pods/log pods/status "
                "replicationcontrollers/status resourcequotas resourcequotas/status"
            ),
            READ,
        ),
        ("", "namespaces", READ),
        ("discovery.k8s.io", "endpointslices", READ),
        (
            "apps",
            (
                f"controllerrevisions {_APPS} daemonsets/status deployments/status "
                "replicasets/status statefulsets/status"
            ),
            READ,
        ),
        ("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", READ),
        ("batch", "cronjobs cronjobs/status jobs jobs/status", READ),
        ("policy", "poddisruptionbudgets poddisruptionbudgets/status", READ),
        ("networking.k8s.io", "ingresses ingresses/status networkpolicies", READ),
    ),
    "system:auth-delegator": (
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
    ),
    "system:basic-user": (
        ("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
        ("authentication.k8s.io", "selfsubjectreviews", "create"),
    ),
    "system:discovery": ((URL, f"/api /api/* /apis /apis/* /openapi /openapi/* {_HEALTH}", "get"),),
    "system:kube-dns": (("", "endpoints services", "list watch"),),
    "system:monitoring": (
        (
            URL,
            "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*",
            "get",
        ),
    ),
    "system:public-info-viewer": ((URL, _HEALTH, "get"),),
    "system:service-account-issuer-discovery": (
        (
            URL,
            (
                "/.well-known/openid-configuration /.well-known/openid-configuration/ "
                "/openid/v1/jwks /openid/v1/jwks/"
            ),
            "get",
        ),
    ),
}

AGGREGATED = ("view", "edit", "admin")
"""Each gathers what is labelled for it; the one before is labelled for the next."""

BINDINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cluster-admin": ("cluster-admin", ("system:masters",)),
    "kubeadm:cluster-admins": ("cluster-admin", ("kubeadm:cluster-admins",)),
    "system:basic-user": ("system:basic-user", (AUTHENTICATED,)),
    "system:discovery": ("system:discovery", (AUTHENTICATED,)),
    "system:monitoring": ("system:monitoring", ("system:monitoring",)),
    "system:public-info-viewer": ("system:public-info-viewer", (AUTHENTICATED, UNAUTHENTICATED)),
    "system:service-account-issuer-discovery": (
        "system:service-account-issuer-discovery",
        ("system:serviceaccounts",),
    ),
}
"""Name, role, groups."""


def furnish(api: Api) -> None:
    """Create the roles and bindings that are missing."""
    for resource, obj in objects():
        if api.get(resource, obj["metadata"]["name"]) is None:
            if obj.get("aggregationRule"):
                obj["rules"] = rbac.aggregated(obj, api.list(f"clusterroles.{rbac.GROUP}"))
            api.create(resource, obj)


def objects() -> list[tuple[str, Object]]:
    """Return the resource and the object of each default."""
    roles = f"clusterroles.{rbac.GROUP}"
    made: list[tuple[str, Object]] = [
        (roles, {"metadata": _metadata(name), "rules": [_rule(*words) for words in rules]})
        for name, rules in ROLES.items()
    ]
    for name in AGGREGATED:
        chosen = {"matchLabels": {_aggregate_to(name): "true"}}
        role: Object = {
            "metadata": _metadata(name),
            "aggregationRule": {"clusterRoleSelectors": [chosen]},
        }
        made.append((roles, role))
    made += [
        (f"clusterrolebindings.{rbac.GROUP}", cluster_binding(name, role, groups=groups))
        for name, (role, groups) in BINDINGS.items()
    ]
    return made


def cluster_binding(
    name: str, role: str, *, groups: tuple[str, ...] = (), account: tuple[str, str] | None = None
) -> Object:
    """Return a ClusterRoleBinding of a role to groups, or to an account (namespace, name)."""
    subjects = [{"kind": "Group", "apiGroup": rbac.GROUP, "name": group} for group in groups]
    if account:
        namespace, user = account
        subjects.append({"kind": "ServiceAccount", "namespace": namespace, "name": user})
    return {
        "metadata": _metadata(name),
        "roleRef": {"apiGroup": rbac.GROUP, "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    }


def _aggregate_to(name: str) -> str:
    return f"{rbac.GROUP}/aggregate-to-{name}"


def _metadata(name: str) -> Object:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    following = dict(itertools.pairwise(AGGREGATED))
    if target := following.get(name, ""):
        labels[_aggregate_to(target)] = "true"
    if name.startswith("system:aggregate-to-"):
        labels[_aggregate_to(name.removeprefix("system:aggregate-to-"))] = "true"
    annotations = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
    return {"name": name, "labels": labels, "annotations": annotations}


def _rule(group: str, things: str, verbs: str) -> Object:
    if group == URL:
        return {"nonResourceURLs": sorted(things.split()), "verbs": sorted(verbs.split())}
    return {
        "apiGroups": [group],
        "resources": sorted(things.split()),
        "verbs": sorted(verbs.split()),
    }
