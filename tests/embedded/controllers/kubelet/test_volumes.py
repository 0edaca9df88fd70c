"""Volumes: which files they hold, and how they are mounted."""

import base64

import pytest
from controller_world import FakeCredentials

from k8slab.embedded.controllers.kubelet import volumes
from k8slab.embedded.controllers.kubelet.environment import ConfigError, Sources

POD = {
    "metadata": {"name": "p", "namespace": "default", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]},
}
OBJECTS = {
    ("configmaps", "conf"): {
        "kind": "ConfigMap",
        "metadata": {"name": "conf", "namespace": "default"},
        "data": {"a": "1", "b": "2"},
    },
    ("secrets", "keys"): {
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": "default"},
        "data": {"key": base64.b64encode(b"s").decode()},
    },
}


def contents(**volume):
    sources = Sources(pod=POD, find=lambda r, n: OBJECTS.get((r, n)))
    return volumes.contents({"name": "v", **volume}, sources, FakeCredentials())


CASES = {
    "emptyDir": ({"emptyDir": {}}, None),
    "a ConfigMap": ({"configMap": {"name": "conf"}}, {"a": b"1", "b": b"2"}),
    "some of its keys": (
        {"configMap": {"name": "conf", "items": [{"key": "a", "path": "x/y"}]}},
        {"x/y": b"1"},
    ),
    "a Secret": ({"secret": {"secretName": "keys"}}, {"key": b"s"}),
    "an optional one that is missing": ({"configMap": {"name": "no", "optional": True}}, {}),
    "the downward API": (
        {
            "downwardAPI": {
                "items": [
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    {
                        "path": "cpu",
                        "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"},
                    },
                ]
            }
        },
        {"labels": b'app="web"', "cpu": b"2"},
    ),
    "what admission mounts into each pod": (
        {
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                    {"configMap": {"name": "conf", "items": [{"key": "a", "path": "ca.crt"}]}},
                    {
                        "downwardAPI": {
                            "items": [
                                {
                                    "path": "namespace",
                                    "fieldRef": {"fieldPath": "metadata.namespace"},
                                }
                            ]
                        }
                    },
                ]
            }
        },
        {"token": b"token 1 of p", "ca.crt": b"1", "namespace": b"default"},
    ),
}


@pytest.mark.parametrize(("volume", "files"), CASES.values(), ids=CASES)
def test_the_files_of_a_volume(volume, files):
    assert contents(**volume) == files


REFUSED = {
    "a missing ConfigMap": ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
    "a missing key": (
        {"configMap": {"name": "conf", "items": [{"key": "z", "path": "z"}]}},
        "references non-existent config key: z in default/conf",
    ),
    "a kind that is not here": ({"nfs": {"server": "a", "path": "/"}}, "of type nfs"),
    "a directory of the node": ({"hostPath": {"path": "/var/log"}}, "has no disk"),
}


@pytest.mark.parametrize(("volume", "message"), REFUSED.values(), ids=REFUSED)
def test_a_volume_that_cannot_be(volume, message):
    with pytest.raises(ConfigError, match=message):
        contents(**volume)


def test_mounts_share_their_volume_and_files_are_read_only():
    container = {
        "name": "c",
        "volumeMounts": [
            {"name": "data", "mountPath": "/data", "subPathExpr": "$(X)"},
            {"name": "conf", "mountPath": "/conf/a", "subPath": "a"},
        ],
    }
    files = {"data": None, "conf": {"a": b"1"}}
    data, conf = volumes.mounts(container, files, lambda text: text.replace("$(X)", "mine"))
    assert (data.volume, data.read_only, data.sub_path) == ("data", False, "mine")
    assert (conf.files, conf.read_only, conf.sub_path) == ({"a": b"1"}, True, "a")
    with pytest.raises(ConfigError, match='volume "conf" of container c not found'):
        volumes.mounts(container, {"data": None}, str)


def test_the_sources_of_a_pods_volumes_are_known():
    pod = {
        "spec": {
            "volumes": [
                {"name": "a", "configMap": {"name": "conf"}},
                {"name": "b", "secret": {"secretName": "keys"}},
                {"name": "c", "projected": {"sources": [{"secret": {"name": "more"}}]}},
                {"name": "d", "emptyDir": {}},
            ]
        }
    }
    assert volumes.references(pod) == {
        ("configmaps", "conf"),
        ("secrets", "keys"),
        ("secrets", "more"),
    }
