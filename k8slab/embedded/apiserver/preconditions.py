"""What an update must know of the object that it replaces, and which kinds a PUT may create.

Most kinds may be replaced by whoever does not say which version was read. Those that several
programs write at a time (a Lease, a custom resource) demand it: there a writer that did not look
would undo what another one has just done. Source: ``AllowUnconditionalUpdate`` and
``AllowCreateOnUpdate`` of each kind's ``strategy.go``, and ``Store.Update`` of
``registry/generic/registry/store.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.objects.meta import name_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

CONDITIONAL = frozenset(
    {
        "clusternetworkpolicies.policy.networking.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "leases.coordination.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "poddisruptionbudgets.policy",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    }
)
"""Kinds that are replaced only by who gives a resourceVersion; custom resources are more of them.

On a real cluster ClusterNetworkPolicy is a custom resource too.
"""

MADE_BY_PUT = frozenset(
    {
        "endpoints",
        "events",
        "leases.coordination.k8s.io",
        "services",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "clusterroles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
        "roles.rbac.authorization.k8s.io",
    }
)
"""Kinds of which a PUT makes an object that is not there; of all others it is 404."""


def check_update(kind: Kind, sent: Object, old: Object, *, internal: bool) -> None:
    """Refuse an update whose metadata, `sent`, is about another object or another version: 409.

    A writer in this process (`internal`) has just read what it replaces.
    """
    name, metadata = name_of(old), old["metadata"]
    if sent.get("uid", metadata["uid"]) != metadata["uid"]:
        why = (
            f"Precondition failed: UID in precondition: {sent['uid']}, "
            f"UID in object meta: {metadata['uid']}"
        )
        raise statuses.conflict(kind.resource, name, why)
    version = sent.get("resourceVersion") or ""
    if not version and not internal and (kind.custom or kind.storage in CONDITIONAL):
        error = statuses.invalid("metadata.resourceVersion", 0, "must be specified for an update")
        # A real server names the resource here, not the kind.
        raise statuses.invalid_object(kind.plural, kind.group, name, [error])
    if version not in ("", metadata["resourceVersion"]):
        raise statuses.conflict(kind.resource, name)
