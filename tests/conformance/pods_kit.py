"""Pods in few words, and commands in them."""

import threading
import time

from kubernetes import client

WEB = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
READY = {
    "httpGet": {"path": "/ready", "port": 8080},
    "periodSeconds": 1,
    "timeoutSeconds": 30,
    "failureThreshold": 1,
}
"""Not ready when it says so; an answer that is late on a busy machine is none."""


def container(image, script, *, name="main", **more):
    """Return a container that runs a shell script."""
    return {"name": name, "image": image, "command": ["sh", "-c", script], **more}


def app(*args, name="web", **more):
    """Return a container of the project's web app."""
    return {"name": name, "image": "k8slab/app", "args": list(args), **more}


def pod(name, *containers, grace=0, labels=None, **spec):
    """Return a Pod labelled with its name."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": {"terminationGracePeriodSeconds": grace, "containers": [*containers], **spec},
    }


def service(name, **spec):
    """Return a Service."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def workload(kind, name, replicas=None, **spec):
    """Return a Deployment, StatefulSet or DaemonSet of the web app."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            **spec,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [app(readinessProbe=READY)],
                },
            },
        },
    }


def sh(cluster, namespace, name, container=""):
    """Return a function that runs a script in a pod and gives its output."""

    def run(script, *, code=0, deadline=120.0):
        done = cluster.exec(
            namespace, name, ["bash", "-c", script], container=container, deadline=deadline
        )
        assert done.code == code, (script, done)
        return done.stdout

    return run


def first_words(cluster, namespace, name, container=""):
    """Return a pod's log once there is something in it: what runs may not have spoken yet."""
    ends = time.monotonic() + 60
    while not (found := cluster.logs(namespace, name, container=container)):
        assert time.monotonic() < ends, f"{name} says nothing"
    return found


def said(cluster, namespace, name, *, container=None):
    """Follow a pod's log; the function returned waits for the log's end and gives its lines."""
    core = client.CoreV1Api(cluster.client)
    response = core.read_namespaced_pod_log(
        name, namespace, container=container, follow=True, _preload_content=False
    )
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(response.data.decode().splitlines()))
    reader.start()

    def finish():
        reader.join(60)
        response.close()
        return lines

    return finish
