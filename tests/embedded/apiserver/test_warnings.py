"""What kubectl prints as ``Warning:``."""

from __future__ import annotations

import pytest

from k8slab.embedded.apiserver import warnings
from k8slab.embedded.apiserver.kinds import KindTable

KINDS = KindTable.built_in()
PORTS = [{"port": 80}]
EXTERNAL = "spec.externalIPs is deprecated and may no longer be implemented in some clusters"


def told(resource, spec, *, new=True, **metadata):
    obj = {"metadata": {"name": "x", **metadata}, "spec": spec}
    return warnings.about(KINDS.of(resource), obj, new=new)


@pytest.mark.parametrize(
    ("spec", "warning"),
    [
        ({"type": "ClusterIP"}, []),
        ({"type": "ClusterIP", "externalIPs": ["1.2.3.4"]}, [EXTERNAL]),
        (
            {"type": "ClusterIP", "clusterIP": "None", "externalIPs": ["1.2.3.4"]},
            ["spec.externalIPs is ignored for headless services"],
        ),
        (
            {"type": "ClusterIP", "externalName": "x.test"},
            ['spec.externalName is ignored when spec.type is not "ExternalName"'],
        ),
        (
            {"type": "ClusterIP", "trafficDistribution": "PreferClose"},
            ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'],
        ),
    ],
)
def test_a_service_is_told_what_is_deprecated_or_has_no_effect(spec, warning):
    assert told("services", spec) == warning


def test_the_old_annotation_of_ingresses_is_told_at_creation():
    annotations = {"kubernetes.io/ingress.class": "nginx"}
    text = (
        'annotation "kubernetes.io/ingress.class" is deprecated, please use '
        "'spec.ingressClassName' instead"
    )
    resource = "ingresses.networking.k8s.io"
    assert told(resource, {}, annotations=annotations) == [text]
    assert told(resource, {}, annotations=annotations, new=False) == []
    assert told(resource, {"ingressClassName": "nginx"}, annotations=annotations) == []


@pytest.mark.parametrize(
    ("resource", "use"),
    [("pods", "the Pod's hostname"), ("replicationcontrollers", "Pod names and hostnames")],
)
def test_a_name_that_no_host_can_have_is_told(resource, use):
    """Recorded from kube-apiserver 1.37.0."""
    (text,) = told(resource, {}, name="a.b")
    assert text == (
        f"metadata.name: this is used in {use}, which can result in surprising behavior; "
        "a DNS label is recommended: [must not contain dots]"
    )
    assert told(resource, {}, name="a-b") == []


def test_parts_of_bytes_are_told():
    container = {"name": "c", "resources": {"requests": {"memory": "128m", "cpu": "100m"}}}
    (text,) = told("pods", {"containers": [container]})
    where = "spec.containers[0].resources.requests[memory]"
    assert text == f'{where}: fractional byte value "128m" is invalid, must be an integer'


def test_a_template_is_told_where_the_fault_is():
    container = {
        "name": "c",
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
        "ports": [{"containerPort": 80, "protocol": "TCP"}] * 2,
    }
    selector = {"beta.kubernetes.io/os": "linux"}
    spec = {"template": {"spec": {"containers": [container], "nodeSelector": selector}}}
    path = "spec.template.spec"
    assert told("deployments.apps", spec) == [
        (
            f"{path}.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; "
            'use "kubernetes.io/os" instead'
        ),
        (
            f'{path}.containers[0].env[1]: hides previous definition of "A", '
            "which may be dropped when using apply"
        ),
        (
            f"{path}.containers[0].ports[1]: duplicate port definition with "
            f"{path}.containers[0].ports[0]"
        ),
    ]


def test_every_verb_on_endpoints_warns(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/endpoints"
    wanted = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
    obj = {"metadata": {"name": "x"}, "subsets": []}
    answers = [
        server.request("POST", path, obj),
        server.request("GET", path),
        server.request("GET", f"{path}/x"),
        server.request("PUT", f"{path}/x", obj),
        server.request("DELETE", f"{path}/x"),
    ]
    assert [answer.headers.get("Warning") for answer in answers] == [wanted] * 5


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        ({"ports": [{"port": 1}]}, "must specify `addresses` or `notReadyAddresses`"),
        ({"addresses": [{"ip": "127.0.0.1"}]}, "may not be in the loopback range"),
        ({"addresses": [{"ip": "x"}]}, "must be a valid IP address"),
    ],
)
def test_endpoints_that_lead_nowhere_are_refused(server, namespace, subset, message):
    obj = {"metadata": {"name": "x"}, "subsets": [subset]}
    answer = server.request("POST", f"/api/v1/namespaces/{namespace}/endpoints", obj)
    assert answer.status == 422
    assert message in answer.json["message"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"apiGroups": [""], "resources": ["pods"]}, "verbs must contain at least one value"),
        (
            {"verbs": ["get"], "nonResourceURLs": ["/x"]},
            "namespaced rules cannot apply to non-resource URLs",
        ),
        (
            {"verbs": ["get"], "resources": ["pods"]},
            "resource rules must supply at least one api group",
        ),
    ],
)
def test_a_role_that_grants_nothing_is_refused(server, namespace, rule, message):
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles"
    answer = server.request("POST", path, {"metadata": {"name": "x"}, "rules": [rule]})
    assert answer.status == 422
    assert message in answer.json["message"]
