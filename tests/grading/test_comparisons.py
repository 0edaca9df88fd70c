"""A value of another sort than its author thought of is a wrong answer, and no crash."""

from k8slab.grading import Context, Status, Wishes, grade
from k8slab.testing.fake import FakeCluster


def test_a_name_where_a_number_is_wanted_is_a_wrong_answer_and_no_crash():
    cluster = FakeCluster()
    svc = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {"ports": [{"port": 80, "targetPort": "http"}]},
    }
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}}, svc])
    check = {
        "check": "field",
        "object": "services/web",
        "path": "spec.ports[0].targetPort",
        "at_least": 1,
    }
    result = grade(Context(cluster, "ns", ()), Wishes("e", "E", checks=[check]))
    assert result.status is Status.FAILED
