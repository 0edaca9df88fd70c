import pytest

from k8slab.grading import values

NODE = {"object": "pods/far", "path": "spec.nodeName"}
ADDRESS = {"object": "pods/far", "path": "status.podIP"}


@pytest.mark.parametrize(
    ("asked", "typed", "value", "right"),
    [
        (NODE, "k8slab-worker2", "k8slab-worker2", True),
        (NODE, " Worker2", "k8slab-worker2", True),
        (NODE, "worker", "k8slab-worker2", False),
        (NODE, "worker2", "k8slab-worker", False),
        (NODE, "", "k8slab-worker", False),
        (NODE, "worker", None, False),
        (ADDRESS, "0.1", "10.0.0.1", False),
    ],
)
def test_a_node_may_be_called_by_the_end_of_its_name(asked, typed, value, right):
    assert values.alike(asked, typed, value) is right
