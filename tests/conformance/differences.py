"""What ``book/differences.md`` must list: found in the client's models and in the code's words.

Kinds: those with a list of their own in a stable version of the `kubernetes` package's models,
less the served ones. Fields: those of the schemas that no program of the cluster names. A field's
name that stands in the code for something else counts as named, so that some are missing here;
the page lists those by hand.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from kubernetes.client import models

from k8slab.embedded import apiserver, controllers
from k8slab.embedded.apiserver import schema
from k8slab.embedded.apiserver.kinds import KindTable
from k8slab.embedded.controllers import api_service, bootstrap

EMBEDDED = Path(controllers.__file__).parents[1]
ACTING = ("controllers", "daemon", "dns", "network", "runtime")
"""The rooms that act on objects; the API server only keeps them, but for these modules."""
ADMITTING = ("admission", "allocation", "deletion", "evictions", "scale")

CORE, APPS, BATCH = "io.k8s.api.core.v1.", "io.k8s.api.apps.v1.", "io.k8s.api.batch.v1."
NETWORKING, DISCOVERY = "io.k8s.api.networking.v1.", "io.k8s.api.discovery.v1."

TYPES = (
    *(
        CORE + word
        for word in (
            "PodSpec",
            "Container",
            "SecurityContext",
            "PodSecurityContext",
            "Lifecycle",
            "Probe",
            "EnvVarSource",
            "Volume",
            "VolumeMount",
            "VolumeProjection",
            "EmptyDirVolumeSource",
            "PodAffinityTerm",
            "TopologySpreadConstraint",
            "ServiceSpec",
            "ServicePort",
            "NodeSpec",
            "ReplicationControllerSpec",
            "ServiceAccount",
        )
    ),
    *(
        APPS + word
        for word in (
            "DeploymentSpec",
            "ReplicaSetSpec",
            "StatefulSetSpec",
            "DaemonSetSpec",
            "RollingUpdateDeployment",
            "RollingUpdateDaemonSet",
            "RollingUpdateStatefulSetStrategy",
        )
    ),
    BATCH + "JobSpec",
    BATCH + "CronJobSpec",
    NETWORKING + "NetworkPolicySpec",
    NETWORKING + "NetworkPolicyPeer",
    NETWORKING + "NetworkPolicyPort",
    NETWORKING + "IPBlock",
    DISCOVERY + "Endpoint",
    DISCOVERY + "EndpointPort",
    "io.k8s.api.policy.v1.PodDisruptionBudgetSpec",
)
"""What a learner writes and expects something of."""


def kinds_not_served() -> set[str]:
    """Return the stable kinds of Kubernetes that the embedded cluster does not serve."""
    served = {kind.kind for kind in KindTable.built_in().rows.values()}
    lists = (re.fullmatch(r"(?:[A-Z][a-z]+)?V\d+([A-Z]\w*)List", name) for name in dir(models))
    known = {found[1] for found in lists if found}
    return known - served - {"APIGroup", "APIResource"}  # discovery's own


@cache
def _words() -> frozenset[str]:
    files = [file for room in ACTING for file in (EMBEDDED / room).rglob("*.py")]
    for module in (bootstrap, api_service):  # they write objects
        files.remove(Path(module.__file__))
    files += [Path(apiserver.__file__).with_name(f"{name}.py") for name in ADMITTING]
    found: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(node.value.split("."))
            elif isinstance(node, ast.keyword) and node.arg:
                found.add(node.arg)
    return frozenset(found)


def fields_without_effect() -> dict[str, set[str]]:
    """Return by type the fields that nothing but the API server's store knows."""
    found = {name: set(schema.type_of(name).fields) - _words() for name in TYPES}
    return {name.rpartition(".")[2]: fields for name, fields in found.items() if fields}
