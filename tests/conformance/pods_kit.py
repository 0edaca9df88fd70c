"""Pods in few words, and commands in them."""

import threading

from kubernetes import client


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


def sh(cluster, namespace, name, container=""):
    """Return a function that runs a script in a pod and gives its output."""

    def run(script, *, code=0, deadline=30.0):
        done = cluster.exec(
            namespace, name, ["bash", "-c", script], container=container, deadline=deadline
        )
        assert done.code == code, (script, done)
        return done.stdout

    return run


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
        reader.join(20)
        response.close()
        return lines

    return finish
