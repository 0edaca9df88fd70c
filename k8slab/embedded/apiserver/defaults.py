"""Fill in what a manifest may leave out, as a real server does before it validates.

Source: ``pkg/apis/*/v1/defaults.go`` of kube-apiserver and the field comments of the API types.
Every function changes the given (fresh) object in place.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.custom import definitions
from k8slab.embedded.apiserver.objectmeta import now_text
from k8slab.embedded.apiserver.qos import quality_of_service

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

FILE_MODE = 0o644


def apply(kind: Kind, obj: Object) -> None:
    """Fill in the defaults of one object of this kind."""
    if kind.custom:
        kind.custom.default(obj)
    elif default := _DEFAULTS.get(kind.storage):
        default(obj)


def _fill(target: dict, **values: Any) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _section(obj: dict, key: str) -> dict:
    if obj.get(key) is None:
        obj[key] = {}
    section: dict = obj[key]
    return section


# --- pods


def pull_policy(image: str) -> str:
    """Return ``Always`` for images without a tag or with ``latest``, else ``IfNotPresent``."""
    if "@" in image:
        return "IfNotPresent"
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


def _probe(probe: dict | None) -> None:
    if probe is None:
        return
    _fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    _handler(probe)


def _handler(handler: dict) -> None:
    if (http := handler.get("httpGet")) is not None:
        _fill(http, path="/", scheme="HTTP")
    if (grpc := handler.get("grpc")) is not None:
        _fill(grpc, service="")


def _field_references(container: dict) -> None:
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        if (field := source.get("fieldRef")) is not None:
            _fill(field, apiVersion="v1")
        if (resource := source.get("resourceFieldRef")) is not None:
            _fill(resource, divisor="0")


def _container(container: dict) -> None:
    for port in container.get("ports") or ():
        _fill(port, protocol="TCP")
    _field_references(container)
    _section(container, "resources")
    resources = container["resources"]
    if limits := resources.get("limits"):
        resources["requests"] = {**limits, **(resources.get("requests") or {})}
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        _probe(container.get(probe))
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict):
            _handler(handler)
    _fill(
        container,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy=pull_policy(container.get("image") or ""),
    )


def _volume(volume: dict) -> None:
    if not any(key != "name" for key in volume):
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "downwardAPI", "projected"):
        if (body := volume.get(source)) is not None:
            _fill(body, defaultMode=FILE_MODE)
    if (path := volume.get("hostPath")) is not None:
        _fill(path, type="")
    for part in (volume.get("projected") or {}).get("sources") or ():
        if (token := part.get("serviceAccountToken")) is not None:
            _fill(token, expirationSeconds=3600)
        for item in (part.get("downwardAPI") or {}).get("items") or ():
            if (field := item.get("fieldRef")) is not None:
                _fill(field, apiVersion="v1")
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        if (field := item.get("fieldRef")) is not None:
            _fill(field, apiVersion="v1")


def pod_spec(spec: dict) -> None:
    """Fill in a pod's or a template's spec."""
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(group) or ():
            _container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    if spec.get("hostNetwork"):
        for group in ("initContainers", "containers"):
            for container in spec.get(group) or ():
                for port in container.get("ports") or ():
                    _fill(port, hostPort=port.get("containerPort"))
    _fill(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )


GATED = {
    "type": "PodScheduled",
    "status": "False",
    "lastProbeTime": None,
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}
"""What a pod with gates says from the start (pod strategy, applySchedulingGatedCondition)."""


def _pod(obj: dict) -> None:
    spec = _section(obj, "spec")
    pod_spec(spec)
    _fill(spec, enableServiceLinks=True)
    status = _section(obj, "status")
    if not status and spec.get("schedulingGates"):
        status["conditions"] = [{**GATED, "lastTransitionTime": now_text()}]
    _fill(status, phase="Pending", qosClass=quality_of_service(spec))


def _template(spec: dict) -> None:
    template = _section(spec, "template")
    metadata = _section(template, "metadata")
    metadata.pop("creationTimestamp", None)
    pod_spec(_section(template, "spec"))


# --- workloads


def _deployment(obj: dict) -> None:
    spec = _section(obj, "spec")
    _template(spec)
    strategy = _section(spec, "strategy")
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = _section(strategy, "rollingUpdate")
        _fill(rolling, maxUnavailable="25%", maxSurge="25%")
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)


def _replica_set(obj: dict) -> None:
    spec = _section(obj, "spec")
    if spec.get("template"):
        _template(spec)
    _fill(spec, replicas=1)


def _replication_controller(obj: dict) -> None:
    """Take selector and labels from the template where they are missing (core/v1 defaults)."""
    spec = _section(obj, "spec")
    if spec.get("template"):
        _template(spec)
        labels = spec["template"]["metadata"].get("labels") or {}
        if labels and not spec.get("selector"):
            spec["selector"] = dict(labels)
        if labels and not obj["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(labels)
    _fill(spec, replicas=1)


def _pod_template(obj: dict) -> None:
    if obj.get("template"):
        _template(obj)


def _daemon_set(obj: dict) -> None:
    spec = _section(obj, "spec")
    _template(spec)
    strategy = _section(spec, "updateStrategy")
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(_section(strategy, "rollingUpdate"), maxUnavailable=1, maxSurge=0)
    _fill(spec, revisionHistoryLimit=10)


def _stateful_set(obj: dict) -> None:
    spec = _section(obj, "spec")
    _template(spec)
    strategy = _section(spec, "updateStrategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        _section(strategy, "rollingUpdate")
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        _fill(strategy["rollingUpdate"], partition=0, maxUnavailable=1)
    retention = _section(spec, "persistentVolumeClaimRetentionPolicy")
    _fill(retention, whenDeleted="Retain", whenScaled="Retain")
    _fill(
        spec,
        podManagementPolicy="OrderedReady",
        replicas=1,
        revisionHistoryLimit=10,
        serviceName="",
    )


def _job(obj: dict) -> None:
    spec = _section(obj, "spec")
    _template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _fill(
        spec,
        parallelism=1,
        # Where each number has a limit of its own, the Job's is as good as none (SetDefaults_Job).
        backoffLimit=6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy=(
            "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed"
        ),
    )
    if not spec["manualSelector"] and "uid" in obj["metadata"]:
        # The server selects the job's own pods by the job's UID (job strategy, PrepareForCreate).
        own = {
            "batch.kubernetes.io/controller-uid": obj["metadata"]["uid"],
            "batch.kubernetes.io/job-name": obj["metadata"]["name"],
            "controller-uid": obj["metadata"]["uid"],
            "job-name": obj["metadata"]["name"],
        }
        labels = _section(spec["template"]["metadata"], "labels")
        labels.update(own)
        if not obj["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(labels)  # SetDefaults_Job
        selector = {"batch.kubernetes.io/controller-uid": obj["metadata"]["uid"]}
        _fill(spec, selector={"matchLabels": selector})


def _cron_job(obj: dict) -> None:
    spec = _section(obj, "spec")
    _fill(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    # The Job's own defaults come with the Job; those of the pods are shown at once.
    _template(_section(_section(spec, "jobTemplate"), "spec"))


# --- networking


def _service(obj: dict) -> None:
    spec = _section(obj, "spec")
    _fill(spec, sessionAffinity="None", type="ClusterIP")
    if spec["sessionAffinity"] == "ClientIP":
        # Three hours: DefaultClientIPServiceAffinitySeconds.
        _fill(_section(_section(spec, "sessionAffinityConfig"), "clientIP"), timeoutSeconds=10800)
    elif spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    for port in spec.get("ports") or ():
        _fill(port, protocol="TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
    external = spec["type"] == "ClusterIP" and spec.get("externalIPs")
    if external or spec["type"] in ("NodePort", "LoadBalancer"):
        _fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        _fill(spec, allocateLoadBalancerNodePorts=True)
    if spec["type"] != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster")
    _fill(_section(obj, "status"), loadBalancer={})


def _network_policy(obj: dict) -> None:
    spec = _section(obj, "spec")
    _fill(spec, podSelector={})
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            _fill(port, protocol="TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _endpoint_slice(obj: dict) -> None:
    for port in obj.get("ports") or ():
        _fill(port, name="", protocol="TCP")


def _endpoints(obj: dict) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            _fill(port, protocol="TCP")


# --- the rest


def _claim(obj: dict) -> None:
    _fill(_section(obj, "spec"), volumeMode="Filesystem")
    _fill(_section(obj, "status"), phase="Pending")


def _volume_object(obj: dict) -> None:
    reclaim = {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"}
    _fill(_section(obj, "spec"), **reclaim)
    _fill(_section(obj, "status"), phase="Pending")


def _namespace(obj: dict) -> None:
    labels = _section(obj["metadata"], "labels")
    if name := obj["metadata"].get("name"):
        labels["kubernetes.io/metadata.name"] = name
    spec = _section(obj, "spec")
    finalizers = spec.get("finalizers") or []
    if not obj["metadata"].get("deletionTimestamp") and "kubernetes" not in finalizers:
        spec["finalizers"] = [*finalizers, "kubernetes"]
    _fill(_section(obj, "status"), phase="Active")


def _node(obj: dict) -> None:
    _section(obj, "spec")


def _secret(obj: dict) -> None:
    _fill(obj, type="Opaque")
    if plain := obj.pop("stringData", None):
        data = _section(obj, "data")
        data.update({key: b64encode(value.encode()).decode() for key, value in plain.items()})


def _ingress_class_scope(obj: dict) -> None:
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters is not None:
        _fill(parameters, scope="Cluster")


def _storage_class(obj: dict) -> None:
    _fill(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _priority_class(obj: dict) -> None:
    _fill(obj, preemptionPolicy="PreemptLowerPriority")


def _disruption_budget(obj: dict) -> None:
    _section(obj, "spec")


def _binding(obj: dict) -> None:
    for subject in obj.get("subjects") or ():
        if subject.get("kind") != "ServiceAccount":
            _fill(subject, apiGroup="rbac.authorization.k8s.io")
    _fill(_section(obj, "roleRef"), apiGroup="rbac.authorization.k8s.io")


def _webhooks(obj: dict) -> None:
    mutating = obj.get("kind") == "MutatingWebhookConfiguration"
    for webhook in obj.get("webhooks") or ():
        _fill(
            webhook,
            failurePolicy="Fail",
            matchPolicy="Equivalent",
            namespaceSelector={},
            objectSelector={},
            timeoutSeconds=10,
        )
        if mutating:
            _fill(webhook, reinvocationPolicy="Never")
        for rule in webhook.get("rules") or ():
            _fill(rule, scope="*")
        if (service := (webhook.get("clientConfig") or {}).get("service")) is not None:
            _fill(service, port=443)


_DEFAULTS: dict[str, Callable[[dict], None]] = {
    "pods": _pod,
    "services": _service,
    "podtemplates": _pod_template,
    "namespaces": _namespace,
    "nodes": _node,
    "secrets": _secret,
    "endpoints": _endpoints,
    "deployments.apps": _deployment,
    "replicasets.apps": _replica_set,
    "daemonsets.apps": _daemon_set,
    "statefulsets.apps": _stateful_set,
    "jobs.batch": _job,
    "cronjobs.batch": _cron_job,
    "replicationcontrollers": _replication_controller,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume_object,
    "networkpolicies.networking.k8s.io": _network_policy,
    "endpointslices.discovery.k8s.io": _endpoint_slice,
    "ingressclasses.networking.k8s.io": _ingress_class_scope,
    "storageclasses.storage.k8s.io": _storage_class,
    "priorityclasses.scheduling.k8s.io": _priority_class,
    "poddisruptionbudgets.policy": _disruption_budget,
    "rolebindings.rbac.authorization.k8s.io": _binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _binding,
    definitions.RESOURCE: definitions.default,
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": _webhooks,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": _webhooks,
}
