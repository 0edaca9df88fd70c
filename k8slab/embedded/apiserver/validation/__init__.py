"""Check an object before it is stored; every error names the field, as a real server's do.

The messages are those of ``pkg/apis/*/validation`` and of apimachinery's ``field.Error``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.custom import definitions
from k8slab.embedded.apiserver.validation import (
    claims,
    cluster_policies,
    jobs,
    nodes,
    others,
    podchanges,
    pods,
    policies,
    resizing,
    seldom,
    services,
    webhooks,
    workloads,
)
from k8slab.embedded.apiserver.validation.metadata import metadata_errors
from k8slab.objects.meta import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.embedded.apiserver.statuses import FieldError
    from k8slab.objects.meta import Object

    Rule = Callable[[Object, Object | None], list[FieldError]]


def _definition_errors(new: Object, old: Object | None) -> list[FieldError]:
    return definitions.definition_errors(new, old)  # it imports names from this package


_RULES: dict[str, Rule] = {
    "pods": pods.pod_errors,
    "services": services.service_errors,
    "nodes": nodes.node_errors,
    "namespaces": seldom.namespace_errors,
    "persistentvolumes": seldom.volume_errors,
    "podtemplates": seldom.pod_template_errors,
    "controllerrevisions.apps": seldom.revision_errors,
    "ingressclasses.networking.k8s.io": seldom.ingress_class_errors,
    "storageclasses.storage.k8s.io": claims.storage_class_errors,
    "configmaps": others.config_map_errors,
    "secrets": others.secret_errors,
    "events": others.event_errors,
    "endpointslices.discovery.k8s.io": others.endpoint_slice_errors,
    "endpoints": others.endpoints_errors,
    "roles.rbac.authorization.k8s.io": others.role_errors,
    "clusterroles.rbac.authorization.k8s.io": others.role_errors,
    "rolebindings.rbac.authorization.k8s.io": others.binding_errors,
    "clusterrolebindings.rbac.authorization.k8s.io": others.binding_errors,
    "leases.coordination.k8s.io": others.lease_errors,
    "priorityclasses.scheduling.k8s.io": others.priority_class_errors,
    "deployments.apps": workloads.deployment_errors,
    "replicasets.apps": workloads.replica_set_errors,
    "daemonsets.apps": workloads.daemon_set_errors,
    "statefulsets.apps": workloads.stateful_set_errors,
    "jobs.batch": jobs.job_errors,
    "cronjobs.batch": jobs.cron_job_errors,
    "replicationcontrollers": workloads.replication_controller_errors,
    "poddisruptionbudgets.policy": workloads.disruption_budget_errors,
    "persistentvolumeclaims": claims.claim_errors,
    "networkpolicies.networking.k8s.io": policies.network_policy_errors,
    "ingresses.networking.k8s.io": policies.ingress_errors,
    "clusternetworkpolicies.policy.networking.k8s.io": cluster_policies.cluster_policy_errors,
    "customresourcedefinitions.apiextensions.k8s.io": _definition_errors,
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": webhooks.configuration_errors,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": webhooks.configuration_errors,
}


def check(
    kind: Kind,
    new: Object,
    old: Object | None,
    *,
    subresource: str = "",
    internal: bool = False,
) -> None:
    """Raise 422 with all that is wrong with `new`; `old` is ``None`` when it is being created.

    `internal` writes come from the controllers in this process: they may assign pods to nodes.
    """
    errors = metadata_errors(kind, new, old)
    if kind.custom:
        errors += kind.custom.errors(new, old)
    if subresource == "ephemeralcontainers" and old is not None:
        errors += podchanges.ephemeral_errors(new, old)
    elif subresource == "resize" and old is not None:
        errors += resizing.errors(new, old)
    elif not subresource and (rule := _RULES.get(kind.storage)):
        errors += rule(new, old)
        if kind.resource == "pods" and old is not None:
            errors += podchanges.update_errors(new, old, internal=internal)
    if errors:
        raise statuses.invalid_object(kind.kind, kind.group, name_of(new), errors)
