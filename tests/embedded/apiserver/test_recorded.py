"""Answers recorded from kube-apiserver 1.37.0, to the same requests."""

from __future__ import annotations

import json

import pytest

from k8slab.errors import ApiStatusError
from k8slab.objects.meta import namespace_of

SELECTED = {
    "selector": {"matchLabels": {"a": "b"}},
    "template": {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "b"}]},
    },
}
RBAC = "rbac.authorization.k8s.io"
CLASS = "kubernetes.io/ingress.class"
LEVEL = "pod-security.kubernetes.io/enforce"
QUALIFIED = "name part must consist of alphanumeric characters"
MERGE = "application/merge-patch+json"


def web(**spec) -> dict:
    return {"spec": {"ports": [{"port": 80}], **spec}}


def parameters(**fields) -> dict:
    return {"spec": {"controller": "a.b/c", "parameters": {"kind": "x", "name": "y", **fields}}}


def path_to(backend: dict) -> dict:
    entry = {"path": "/a", "pathType": "Prefix", "backend": backend}
    return {"spec": {"rules": [{"http": {"paths": [entry]}}]}}


def volume(**spec) -> dict:
    return {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], **spec}}


ONCE = {"spec": {**SELECTED["template"]["spec"], "restartPolicy": "Never"}}


def claim(*modes: str, **spec) -> dict:
    size = {"requests": {"storage": "1Gi"}}
    return {"spec": {"accessModes": list(modes), "resources": size, **spec}}


REFUSED = [
    ("services", web(clusterIPs=["10.96.0.98"]), "must be empty when `clusterIP` is not specified"),
    ("services", web(type="LoadBalancer", loadBalancerClass="A b"), QUALIFIED),
    ("services", {"spec": {"ports": [{"port": 80, "appProtocol": "a b"}]}}, QUALIFIED),
    ("services", {"metadata": {"name": "a.b"}, **web()}, "must not contain dots"),
    (
        "ingresses.networking.k8s.io",
        {
            "metadata": {"name": "n", "annotations": {CLASS: "nginx"}},
            "spec": {
                "ingressClassName": "x",
                "defaultBackend": {"service": {"name": "a", "port": {"number": 80}}},
            },
        },
        f'annotations.{CLASS}: Invalid value: "nginx": must match `ingressClassName`',
    ),
    (
        "ingresses.networking.k8s.io",
        path_to(
            {
                "service": {"name": "a", "port": {"number": 80}},
                "resource": {"kind": "A", "name": "b"},
            }
        ),
        "cannot set both resource and service backends",
    ),
    ("ingressclasses.networking.k8s.io", {}, "spec.controller: Required value"),
    (
        "ingressclasses.networking.k8s.io",
        {"spec": {"controller": "nginx"}},
        'must be a domain-prefixed path (such as "acme.io/foo")',
    ),
    (
        "ingressclasses.networking.k8s.io",
        parameters(scope="Namespace"),
        "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
    ),
    (
        "secrets",
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eA=="}},
        'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": ',
    ),
    ("secrets", {"type": "kubernetes.io/basic-auth"}, "data[password]: Required value"),
    ("secrets", {"type": "kubernetes.io/dockercfg"}, "data[.dockercfg]: Required value"),
    (
        "configmaps",
        {"data": {"a": "1"}, "binaryData": {"a": "eA=="}},
        'data[a]: Invalid value: "a": duplicate of key present in binaryData',
    ),
    (
        f"clusterrolebindings.{RBAC}",
        {"roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "x"}},
        'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
    ),
    ("persistentvolumes", volume(), "spec: Required value: must specify a volume type"),
    (
        "persistentvolumes",
        volume(hostPath={"path": "/x"}, nfs={"server": "a", "path": "/"}),
        "spec.nfs: Forbidden: may not specify more than 1 volume type",
    ),
    (
        "persistentvolumes",
        volume(capacity={"cpu": "1"}, hostPath={"path": "/x"}),
        'spec.capacity: Unsupported value: {"cpu":"1"}: supported values: "storage"',
    ),
    (
        "statefulsets.apps",
        {"spec": {**SELECTED, "serviceName": "A b"}},
        'spec.serviceName: Invalid value: "A b": a lowercase RFC 1123 label must consist of',
    ),
    (
        "jobs.batch",
        {"spec": {"template": ONCE, "managedBy": "foo"}},
        'spec.managedBy: Invalid value: "foo": must be a domain-prefixed path',
    ),
    ("persistentvolumeclaims", claim("Foo"), 'spec.accessModes: Unsupported value: "Foo": '),
    (
        "persistentvolumeclaims",
        claim("ReadWriteOncePod", "ReadWriteOnce"),
        "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
    ),
    (
        "persistentvolumeclaims",
        claim("ReadWriteOnce", volumeMode="Foo"),
        'spec.volumeMode: Unsupported value: "Foo": supported values: "Block", "Filesystem"',
    ),
    ("podtemplates", {}, "template.spec.containers: Required value"),
    ("controllerrevisions.apps", {"revision": 1}, "data: Required value: data is mandatory"),
    (
        "namespaces",
        {"metadata": {"name": "n", "labels": {LEVEL: "strict"}}},
        f'[{LEVEL}]: Invalid value: "strict": must be one of privileged, baseline, restricted',
    ),
    (
        "configmaps",
        {
            "metadata": {
                "name": "n",
                "namespace": "default",
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}],
            }
        },
        "metadata.ownerReferences[0].uid: Required value: must not be empty",
    ),
    (
        "configmaps",
        {
            "metadata": {
                "name": "n",
                "namespace": "default",
                "ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "1"}],
            }
        },
        "/v1, Kind=Event is disallowed from being an owner",
    ),
]


def pod(**spec) -> dict:
    return {"spec": {"containers": [{"name": "c", "image": "b"}], **spec}}


def container(**fields) -> dict:
    return {"spec": {"containers": [{"name": "c", "image": "b", **fields}]}}


def variable(source: dict) -> dict:
    return container(env=[{"name": "A", "valueFrom": source}])


def with_volume(**source) -> dict:
    return pod(volumes=[{"name": "v", **source}])


def one_file(**source) -> dict:
    return with_volume(downwardAPI={"items": [{"path": "a", **source}]})


FIELD = "spec.containers[0].env[0].valueFrom"
SPREAD = {"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}
PODS = [
    (
        pod(dnsPolicy="None"),
        "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
    ),
    (
        pod(dnsConfig={"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]}),
        "must not have more than 3 nameservers",
    ),
    (pod(dnsConfig={"nameservers": ["a"]}), 'nameservers[0]: Invalid value: "a": must be a valid'),
    (pod(dnsConfig={"searches": ["a b"]}), "spec.dnsConfig.searches[0]: Invalid value"),
    (pod(dnsConfig={"options": [{"value": "1"}]}), "options[0]: Required value: must not be empty"),
    (container(envFrom=[{}]), 'envFrom: Invalid value: "": must specify one of: `configMapRef`'),
    (container(envFrom=[{"configMapRef": {}}]), "envFrom[0].configMapRef.name: Required value"),
    (
        variable({"fieldRef": {"fieldPath": "spec.foo"}}),
        f'{FIELD}.fieldRef.fieldPath: Invalid value: "spec.foo": error converting fieldPath: ',
    ),
    (
        variable({"fieldRef": {"fieldPath": "metadata.labels"}}),
        'fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: ',
    ),
    (
        variable({"resourceFieldRef": {"resource": "foo"}}),
        'resource: Unsupported value: "foo": supported values: "limits.cpu"',
    ),
    (variable({"configMapKeyRef": {"name": "m"}}), "configMapKeyRef.key: Required value"),
    (container(terminationMessagePolicy="Foo"), 'values: "File", "FallbackToLogsOnError"'),
    (
        container(readinessProbe={"httpGet": {"port": 1, "httpHeaders": [{"name": "a b"}]}}),
        'httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of',
    ),
    (container(securityContext={"runAsUser": -1}), "must be between 0 and 2147483647, inclusive"),
    (pod(securityContext={"fsGroup": -1}), "spec.securityContext.fsGroup: Invalid value: -1"),
    (pod(shareProcessNamespace=True, hostPID=True), "HostPID cannot both be enabled"),
    (pod(hostUsers=False, hostNetwork=True), "spec.hostNetwork: Forbidden: when `hostUsers` is"),
    (pod(os={"name": "foo"}), 'spec.os: Unsupported value: "foo": supported values: "linux"'),
    (pod(nodeName="Foo_"), 'spec.nodeName: Invalid value: "Foo_": '),
    (pod(readinessGates=[{"conditionType": "a b"}]), "readinessGates[0].conditionType: Invalid"),
    (
        pod(schedulingGates=[{"name": "a"}, {"name": "a"}]),
        'spec.schedulingGates[1]: Duplicate value: "a"',
    ),
    (
        pod(hostAliases=[{"ip": "1.1.1.1", "hostnames": ["A_b"]}]),
        'spec.hostAliases[0].hostnames[0]: Invalid value: "A_b": ',
    ),
    (
        pod(topologySpreadConstraints=[SPREAD, SPREAD]),
        '{topologyKey, whenUnsatisfiable}: Duplicate value: "{a, DoNotSchedule}"',
    ),
    (
        with_volume(secret={"secretName": "s", "defaultMode": 1000}),
        "secret.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal)",
    ),
    (
        with_volume(configMap={"name": "m", "items": [{"key": "a", "path": "../x"}]}),
        "configMap.items[0].path: Invalid value: \"../x\": must not contain '..'",
    ),
    (
        with_volume(configMap={"name": "m", "items": [{"path": "x"}]}),
        "configMap.items[0].key: Required value",
    ),
    (with_volume(persistentVolumeClaim={}), "persistentVolumeClaim.claimName: Required value"),
    (with_volume(hostPath={"path": "/", "type": "Foo"}), 'hostPath.type: Unsupported value: "Foo"'),
    (one_file(), "downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"),
    (
        one_file(fieldRef={"fieldPath": "status.podIP"}),
        'downwardAPI.fieldRef.fieldPath: Unsupported value: "status.podIP"',
    ),
    (
        one_file(resourceFieldRef={"resource": "limits.cpu"}),
        "downwardAPI.resourceFieldRef.containerName: Required value",
    ),
    (
        with_volume(
            projected={"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 9}}]}
        ),
        "expirationSeconds: Invalid value: 9: may not specify a duration less than 10 minutes",
    ),
]


@pytest.mark.parametrize(("body", "message"), PODS)
def test_a_pod_that_a_real_server_refuses_is_refused(api, body, message):
    with pytest.raises(ApiStatusError) as error:
        made(api, "pods", body)
    assert error.value.code == 422
    assert message in error.value.message


def test_what_is_wrong_is_told_before_what_is_there_already(api):
    made(api, "configmaps", {})
    with pytest.raises(ApiStatusError) as error:
        made(api, "configmaps", {"data": {"a b": "1"}})
    assert error.value.code == 422


def made(api, resource, body) -> dict:
    body = json.loads(json.dumps(body))
    metadata = {"name": "n", "namespace": "default", **body.get("metadata", {})}
    return api.create(resource, {**body, "metadata": metadata})


@pytest.mark.parametrize(("resource", "body", "message"), REFUSED)
def test_what_a_real_server_refuses_is_refused_in_its_words(api, resource, body, message):
    with pytest.raises(ApiStatusError) as error:
        made(api, resource, body)
    assert error.value.code == 422
    assert message in error.value.message


TAKEN = [
    ("services", {"metadata": {"name": "1abc", "namespace": "default"}, **web()}),
    ("services", web(sessionAffinityConfig={"clientIP": {"timeoutSeconds": 10}})),
]


@pytest.mark.parametrize(("resource", "body"), TAKEN)
def test_what_a_real_server_takes_is_taken(api, resource, body):
    made(api, resource, body)


def test_a_service_that_keeps_no_client_any_more_loses_how_long(api):
    """As `kubectl patch` with ``sessionAffinity: None`` sends it; it was refused."""
    service = made(api, "services", web(sessionAffinity="ClientIP"))
    assert service["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    change = {"spec": {"sessionAffinity": "None"}}
    service = api.patch("services", "n", "default", change)
    assert "sessionAffinityConfig" not in service["spec"]


def test_a_service_with_external_addresses_has_a_policy_for_them(api):
    service = made(api, "services", web(externalIPs=["1.2.3.4"]))
    assert service["spec"]["externalTrafficPolicy"] == "Cluster"


@pytest.mark.parametrize(
    ("resource", "body", "change"),
    [
        (
            "services",
            web(type="LoadBalancer", loadBalancerClass="a.b/c"),
            {"spec": {"loadBalancerClass": "a.b/d"}},
        ),
        (
            "ingressclasses.networking.k8s.io",
            {"spec": {"controller": "a.b/c"}},
            {"spec": {"controller": "x.y/z"}},
        ),
        ("storageclasses.storage.k8s.io", {"provisioner": "a.b/c"}, {"provisioner": "x"}),
        ("controllerrevisions.apps", {"revision": 1, "data": {"a": 1}}, {"data": {"a": 2}}),
    ],
)
def test_what_may_not_change_stays(api, resource, body, change):
    before = made(api, resource, body)
    with pytest.raises(ApiStatusError) as error:
        api.patch(resource, "n", namespace_of(before), change)
    assert error.value.code == 422


def test_a_job_without_labels_has_those_of_its_pods(api):
    spec = {**SELECTED["template"]["spec"], "restartPolicy": "Never"}
    job = made(api, "jobs.batch", {"spec": {"template": {"spec": spec}}})
    assert job["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "n"
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]


def test_a_pod_template_gets_the_defaults_of_pods(api):
    template = made(api, "podtemplates", {"template": SELECTED["template"]})
    assert template["template"]["spec"]["restartPolicy"] == "Always"


# --- over HTTP


def said(answer) -> str:
    return answer.json["message"]


def test_a_patch_that_leaves_a_field_of_another_type_is_invalid(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    server.request("POST", path, {"metadata": {"name": "n"}, "data": {"a": "1"}})
    for media in (MERGE, "application/strategic-merge-patch+json"):
        answer = server.request("PATCH", f"{path}/n", {"data": {"a": 2}}, kind=media)
        assert (answer.status, answer.json["reason"]) == (422, "Invalid")
        assert answer.json["details"]["causes"][0]["field"] == "patch"
        assert said(answer).startswith(' "" is invalid: patch: Invalid value: ')
    assert '"map[data:map[a:2]]"' in said(answer)


def test_an_applied_field_that_is_unknown_is_refused_whatever_the_validation(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/n?fieldManager=me"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}, "dota": {}}
    for word in ("", "&fieldValidation=Ignore", "&fieldValidation=Strict"):
        answer = server.request("PATCH", path + word, body, kind="application/apply-patch+yaml")
        assert answer.status == 400
        assert said(answer) == (
            "failed to create typed patch object (/n; v1, Kind=ConfigMap): "
            ".dota: field not declared in schema"
        )


def test_the_query_of_a_deletion_says_nothing_where_it_has_a_body(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    server.request("POST", path, {"metadata": {"name": "n"}})
    assert server.request("DELETE", f"{path}/n?dryRun=All").status == 200
    assert server.request("GET", f"{path}/n").status == 200
    assert server.request("DELETE", f"{path}/n?dryRun=All", {"kind": "DeleteOptions"}).status == 200
    assert server.request("GET", f"{path}/n").status == 404


@pytest.mark.parametrize(("plural", "kind"), [("services", "Service"), ("configmaps", "Status")])
def test_some_kinds_are_shown_when_they_are_deleted(server, namespace, plural, kind):
    path = f"/api/v1/namespaces/{namespace}/{plural}"
    assert server.request("POST", path, {"metadata": {"name": "n"}, **web()}).status == 201
    assert server.request("DELETE", f"{path}/n").json["kind"] == kind


def test_the_items_of_a_list_leave_what_they_are_to_the_list(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for name in ("m", "n"):
        server.request("POST", path, {"metadata": {"name": name}, "data": {"a": name}})
    answer = server.request("GET", f"{path}?fieldSelector=metadata.name!=kube-root-ca.crt").json
    assert (answer["kind"], answer["apiVersion"]) == ("ConfigMapList", "v1")
    assert [list(item) for item in answer["items"]] == [["metadata", "data"]] * 2
    assert [item["data"]["a"] for item in answer["items"]] == ["m", "n"]


def test_an_item_that_is_no_object_is_refused_where_items_have_keys(server, namespace):
    """It was an internal error, 500."""
    item = {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]}
    parts = {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
    }
    document = {"type": "object", "properties": {"parts": parts}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": document},
    }
    names = {"plural": "boxes", "kind": "Box"}
    spec = {"group": "r.test", "scope": "Namespaced", "names": names, "versions": [version]}
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    server.request("POST", crds, {"metadata": {"name": "boxes.r.test"}, "spec": spec})
    body = {"apiVersion": "r.test/v1", "kind": "Box", "metadata": {"name": "b"}, "parts": [None]}
    answer = server.request("POST", f"/apis/r.test/v1/namespaces/{namespace}/boxes", body)
    assert (answer.status, "parts[0]" in answer.json["message"]) == (422, True)
