"""Environment variables: precedence, references, expansion, Services."""

import base64

import pytest

from k8slab.embedded.controllers.kubelet import environment, resources
from k8slab.embedded.controllers.kubelet.environment import ConfigError, Sources

OBJECTS = {
    ("configmaps", "conf"): {
        "kind": "ConfigMap",
        "metadata": {"name": "conf", "namespace": "default"},
        "data": {"a": "1", "b": "2"},
        "binaryData": {"raw": base64.b64encode(b"\x01").decode()},
    },
    ("secrets", "keys"): {
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": "default"},
        "data": {"key": base64.b64encode(b"secret").decode()},
    },
}

POD = {
    "metadata": {
        "name": "p",
        "namespace": "default",
        "uid": "u",
        "labels": {"app": "web", "x/y": 'a"b'},
        "annotations": {"note": "hi"},
    },
    "spec": {"nodeName": "n", "serviceAccountName": "sa", "containers": []},
    "status": {"podIPs": [{"ip": "10.0.0.1"}], "hostIPs": [{"ip": "172.18.0.3"}]},
}


def build(container, services=(), pod=POD):
    sources = Sources(pod=pod, find=lambda r, n: OBJECTS.get((r, n)), services=tuple(services))
    return environment.build({"name": "c", **container}, sources)


def env(*entries):
    return {"env": list(entries)}


def test_later_values_see_and_replace_earlier_ones():
    found = build(
        env(
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(NONE)-$$(A)-$A"},
            {"name": "A", "value": "2"},
        )
    )
    assert found == {"A": "2", "B": "1-$(NONE)-$(A)-$A"}


def test_env_wins_over_env_from():
    entries = [{"configMapRef": {"name": "conf"}, "prefix": "P_"}]
    found = build({"envFrom": entries, "env": [{"name": "P_a", "value": "mine"}]})
    assert (found["P_a"], found["P_b"]) == ("mine", "2")


def test_a_key_of_a_secret_is_decoded():
    entry = {"name": "S", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}
    assert build(env(entry)) == {"S": "secret"}


FIELDS = {
    "metadata.name": "p",
    "metadata.namespace": "default",
    "metadata.uid": "u",
    "metadata.labels['app']": "web",
    "metadata.annotations['note']": "hi",
    "spec.nodeName": "n",
    "spec.serviceAccountName": "sa",
    "status.podIP": "10.0.0.1",
    "status.hostIP": "172.18.0.3",
    "metadata.labels": 'app="web"\nx/y="a\\"b"',
}


@pytest.mark.parametrize(("path", "value"), FIELDS.items())
def test_a_field_of_the_pod(path, value):
    assert build(env({"name": "F", "valueFrom": {"fieldRef": {"fieldPath": path}}})) == {"F": value}


RESOURCES = [
    ({"resource": "limits.memory", "divisor": "1Mi"}, "64"),
    ({"resource": "limits.cpu"}, "1"),
    ({"resource": "limits.cpu", "divisor": "1m"}, "250"),
    ({"resource": "requests.memory"}, "0"),
]


@pytest.mark.parametrize(("reference", "value"), RESOURCES)
def test_an_amount_in_units_of_its_divisor(reference, value):
    container = {
        "resources": {"limits": {"memory": "64Mi", "cpu": "250m"}},
        **env({"name": "R", "valueFrom": {"resourceFieldRef": reference}}),
    }
    assert build(container) == {"R": value}


def test_a_limit_that_is_not_set_is_what_the_node_has():
    """Of ephemeral storage it was 0."""
    reference = {"resource": "limits.ephemeral-storage", "divisor": "1Ki"}
    value = build(env({"name": "R", "valueFrom": {"resourceFieldRef": reference}}))["R"]
    assert f"{value}Ki" == resources.machine()["ephemeral-storage"]


MISSING = {
    "a ConfigMap": (
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "a"}}}]},
        'configmap "x" not found',
    ),
    "a key of a ConfigMap": (
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "z"}}}]},
        "couldn't find key z in ConfigMap default/conf",
    ),
    "a Secret": ({"envFrom": [{"secretRef": {"name": "x"}}]}, 'secret "x" not found'),
    "a field": (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]},
        "unsupported fieldPath: spec.x",
    ),
}


@pytest.mark.parametrize(("container", "message"), MISSING.values(), ids=MISSING)
def test_what_is_missing_is_named(container, message):
    with pytest.raises(ConfigError) as caught:
        build(container)
    assert str(caught.value) == message


def test_what_is_optional_may_be_missing():
    reference = {"name": "x", "key": "a", "optional": True}
    assert build(env({"name": "A", "valueFrom": {"configMapKeyRef": reference}})) == {}
    assert build({"envFrom": [{"secretRef": {"name": "x", "optional": True}}]}) == {}


def service(name, address, *ports, namespace="default"):
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": address, "ports": list(ports)},
    }


def test_services_are_told_in_the_way_of_docker_links():
    made = service(
        "my-web", "10.96.0.9", {"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP"}
    )
    found = build({}, [made])
    assert found == {
        "MY_WEB_SERVICE_HOST": "10.96.0.9",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_PORT": "tcp://10.96.0.9:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.96.0.9:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.96.0.9",
        "MY_WEB_PORT_53_UDP": "udp://10.96.0.9:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.96.0.9",
    }


def test_headless_and_foreign_services_and_unwanted_links_are_not_told():
    headless = service("h", "None", {"port": 80})
    foreign = service("f", "10.96.0.8", {"port": 80}, namespace="other")
    assert build({}, [headless, foreign]) == {}
    silent = {**POD, "spec": {**POD["spec"], "enableServiceLinks": False}}
    assert build({}, [service("s", "10.96.0.7", {"port": 80})], silent) == {}
