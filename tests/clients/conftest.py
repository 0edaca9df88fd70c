"""What the tests of clients share: the real kubectl on a namespace of the running cluster."""

import shutil
import subprocess

import pytest


@pytest.fixture
def kubectl(cluster, namespace):
    """Run kubectl in the test's namespace; returns what it said, or fails with its error."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl on this machine")

    def run(*words, code=0, stdin=""):
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={cluster.kubeconfig}", "-n", namespace, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


BOXES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "boxes.boxes.example.com"},
    "spec": {
        "group": "boxes.example.com",
        "scope": "Namespaced",
        "names": {"plural": "boxes", "kind": "Box"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer"},
                                    "colour": {"type": "string", "default": "red"},
                                },
                            },
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            },
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture
def definition(cluster, namespace):
    """Define the kind Box; returns the test's namespace."""
    cluster.resources.makeable()  # the kinds that there were before are known
    cluster.apply([BOXES])
    yield namespace
    for box in cluster.list("boxes.boxes.example.com", namespace):
        cluster.delete("boxes.boxes.example.com", box["metadata"]["name"], namespace)
