"""The start of an exercise, and what goes with it."""

from dataclasses import dataclass, field

from k8slab.course import setup
from k8slab.course.lab import Exercise
from k8slab.grading import Wishes
from k8slab.testing.fake import FakeCluster

KIND = "clusternetworkpolicies.policy.networking.k8s.io"


@dataclass
class Cluster(FakeCluster):
    """The fake cluster, with a kind that belongs to no namespace."""

    wide: list = field(default_factory=lambda: ["lab90-guests", "lab90-left", "team"])

    def list(self, resource, namespace="", *, selector=""):
        if resource == KIND:
            return [{"metadata": {"name": name}} for name in self.wide]
        return super().list(resource, namespace, selector=selector)

    def delete(self, resource, name, namespace="", *, grace=None):
        if resource == KIND:
            self.wide.remove(name)
        else:
            super().delete(resource, name, namespace, grace=grace)


def exercise(*may_change):
    wishes = Wishes("admin", "Admin", 1, (), ({"check": "field"},), list(may_change))
    return Exercise(wishes, "lab90-admin", "Do it.")


def test_what_an_answer_made_outside_of_namespaces_goes_with_the_exercise():
    cluster = Cluster()
    setup.tear_down(cluster, exercise(f"{KIND}/lab90-*"), told=lambda _: None)
    assert cluster.wide == ["team"]


def test_an_exercise_begins_without_what_an_earlier_answer_left():
    cluster = Cluster()
    assert setup.set_up(cluster, exercise(f"{KIND}/lab90-g*"))
    assert cluster.wide == ["lab90-left", "team"]


def test_other_exercises_leave_such_objects_alone():
    cluster = Cluster()
    setup.set_up(cluster, exercise("networkpolicies.networking.k8s.io/*"))
    setup.tear_down(cluster, exercise("networkpolicies.networking.k8s.io/*"), told=lambda _: None)
    assert len(cluster.wide) == 3
