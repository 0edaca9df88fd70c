"""An operator of kopf keeps its objects in step with a custom resource."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

OPERATOR = Path(__file__).with_name("operator_boxes.py")
RESOURCE = "boxes.boxes.example.com"


@pytest.fixture
def operator(cluster, definition, tmp_path):
    """Run the operator for the test's namespace; shows what it said when a test fails."""
    log = tmp_path / "operator.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "kopf", "run", "--standalone", "-n", definition, str(OPERATOR)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        )
    yield definition
    process.terminate()
    process.wait(60)
    sys.stdout.write(log.read_text())


def box(size):
    return {
        "apiVersion": "boxes.example.com/v1",
        "kind": "Box",
        "metadata": {"name": "one"},
        "spec": {"size": size},
    }


def test_an_operator_follows_its_objects_from_creation_to_deletion(cluster, operator, kubectl):
    cluster.apply([box(2)], namespace=operator)
    kubectl("wait", "box/one", "--for=jsonpath={.status.describe.described}=2", "--timeout=120s")
    made = cluster.get("configmaps", "one", operator)
    assert made["data"] == {"size": "2"}
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Box"
    cluster.apply([box(3)], namespace=operator)
    kubectl("wait", "configmap/one", "--for=jsonpath={.data.size}=3", "--timeout=120s")
    kubectl("delete", "box", "one", "--timeout=120s")  # waits for the operator's finalizer
    assert cluster.get("configmaps", "one-was-here", operator)
    kubectl("wait", "configmap/one", "--for=delete", "--timeout=120s")
