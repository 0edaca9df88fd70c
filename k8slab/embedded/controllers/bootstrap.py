"""What a fresh cluster has: system namespaces and priorities, and cluster DNS.

These are the objects that kubeadm and the API server make; the API's own Service is in
`api_service`. What this cluster imitates
instead of running it (etcd, scheduler, kube-proxy) is not shown as pods that do not exist.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import default_roles, rbac
from k8slab.embedded.apiserver.validation.others import SYSTEM_PRIORITIES
from k8slab.embedded.dns import corefile

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.config import ClusterConfig
    from k8slab.objects.meta import Object

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
COREDNS_IMAGE = "registry.k8s.io/coredns/coredns:v1.12.4"
DNS_LABELS = {"k8s-app": "kube-dns"}


def nth_address(cidr: str, number: int) -> str:
    """Return the address that is `number` after the first of a range."""
    return str(ip_network(cidr)[number])


def dns_addresses(config: ClusterConfig) -> list[str]:
    """Return the address of the Service kube-dns: the tenth of the first range.

    As kubeadm has it, it is single-stack on a dual-stack cluster too; it answers for both.
    """
    return [nth_address(config.service_cidrs[0], 10)]


def furnish(api: Api, config: ClusterConfig) -> None:
    """Create what is missing; what is there, changed or not, stays as it is."""
    for name in NAMESPACES:
        _ensure(api, "namespaces", {"metadata": {"name": name}})
    for name, value in SYSTEM_PRIORITIES.items():
        made = {"metadata": {"name": name}, "value": value}
        _ensure(api, "priorityclasses.scheduling.k8s.io", made)
    for resource, obj in _dns(config):
        _ensure(api, resource, obj)


def _ensure(api: Api, resource: str, obj: Object) -> None:
    metadata = obj["metadata"]
    if api.get(resource, metadata["name"], metadata.get("namespace", "")) is None:
        api.create(resource, obj)


def _dns(config: ClusterConfig) -> list[tuple[str, Object]]:
    namespace = "kube-system"
    addresses = dns_addresses(config)
    role = "system:coredns"
    return [
        ("serviceaccounts", {"metadata": {"name": "coredns", "namespace": namespace}}),
        (f"clusterroles.{rbac.GROUP}", {"metadata": {"name": role}, "rules": _dns_rules()}),
        (
            f"clusterrolebindings.{rbac.GROUP}",
            default_roles.cluster_binding(role, role, account=(namespace, "coredns")),
        ),
        (
            "configmaps",
            {
                "metadata": {"name": "coredns", "namespace": namespace},
                "data": {"Corefile": corefile.DEFAULT},
            },
        ),
        (
            "services",
            {
                "metadata": {
                    "name": "kube-dns",
                    "namespace": namespace,
                    "labels": {
                        **DNS_LABELS,
                        "kubernetes.io/cluster-service": "true",
                        "kubernetes.io/name": "CoreDNS",
                    },
                    "annotations": {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"},
                },
                "spec": {
                    "clusterIP": addresses[0],
                    "clusterIPs": addresses,
                    "selector": DNS_LABELS,
                    "ports": [
                        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                        {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
                    ],
                },
            },
        ),
        ("deployments.apps", _dns_deployment(namespace)),
    ]


def _dns_rules() -> list[Object]:
    """Return what CoreDNS may do, as kubeadm's addon says it."""
    verbs = ["list", "watch"]
    core = ["endpoints", "services", "pods", "namespaces"]
    return [
        {"apiGroups": [""], "resources": core, "verbs": verbs},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs},
    ]


def _dns_deployment(namespace: str) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": namespace, "labels": DNS_LABELS},
        "spec": {
            "replicas": 2,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "selector": {"matchLabels": DNS_LABELS},
            "template": {"metadata": {"labels": DNS_LABELS}, "spec": _dns_pod()},
        },
    }


def _dns_pod() -> Object:
    return {
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
        ],
        "containers": [
            {
                "name": "coredns",
                "image": COREDNS_IMAGE,
                "args": ["-conf", "/etc/coredns/Corefile"],
                "resources": {
                    "limits": {"memory": "170Mi"},
                    "requests": {"cpu": "100m", "memory": "70Mi"},
                },
                "ports": [
                    {"containerPort": 53, "name": "dns", "protocol": "UDP"},
                    {"containerPort": 53, "name": "dns-tcp", "protocol": "TCP"},
                    {"containerPort": 9153, "name": "metrics", "protocol": "TCP"},
                    {"containerPort": 8080, "name": "liveness-probe", "protocol": "TCP"},
                    {"containerPort": 8181, "name": "readiness-probe", "protocol": "TCP"},
                ],
                "livenessProbe": {
                    "httpGet": {"path": "/health", "port": "liveness-probe", "scheme": "HTTP"},
                    "initialDelaySeconds": 60,
                    "timeoutSeconds": 5,
                    "successThreshold": 1,
                    "failureThreshold": 5,
                },
                "readinessProbe": {
                    "httpGet": {"path": "/ready", "port": "readiness-probe", "scheme": "HTTP"}
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "volumeMounts": [
                    {"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True}
                ],
            }
        ],
        "volumes": [
            {
                "name": "config-volume",
                "configMap": {
                    "name": "coredns",
                    "items": [{"key": "Corefile", "path": "Corefile"}],
                },
            }
        ],
    }
