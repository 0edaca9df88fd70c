"""A small operator, written with kopf: each Box gets a ConfigMap that says how large it is."""

import kopf
from kubernetes import client, config


@kopf.on.startup()
def configure(settings, **_):
    settings.persistence.finalizer = "boxes.example.com/kopf"
    settings.posting.enabled = False
    config.load_kube_config()


@kopf.on.create("boxes.example.com", "v1", "boxes")
@kopf.on.update("boxes.example.com", "v1", "boxes", field="spec")
def describe(spec, name, namespace, **_):
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"size": str(spec["size"])},
    }
    kopf.adopt(body)
    api = client.CoreV1Api()
    try:
        api.create_namespaced_config_map(namespace, body)
    except client.ApiException as error:
        if error.status != 409:
            raise
        api.patch_namespaced_config_map(name, namespace, body)
    return {"described": spec["size"]}


@kopf.on.delete("boxes.example.com", "v1", "boxes")
def forget(name, namespace, **_):
    body = {"metadata": {"name": f"{name}-was-here"}}
    client.CoreV1Api().create_namespaced_config_map(namespace, body)
