"""What is handed in where not everything of a cluster may be seen."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from k8slab.course import Journal, submission
from k8slab.course.bundle import fault
from k8slab.course.difference import Difference, Estate
from k8slab.errors import ApiStatusError
from k8slab.grading import interrupted
from k8slab.testing.fake import FakeCluster


def _named(_name):
    return SimpleNamespace(namespaced=True)


RESOURCES = SimpleNamespace(makeable=list, named=_named)


class OfOthers(FakeCluster):
    """A cluster that tells a learner nothing about its nodes."""

    code = 403
    resources = RESOURCES

    def list(self, resource, namespace="", **more):
        if resource == "nodes":
            raise ApiStatusError("not for you", code=self.code, reason="Forbidden")
        return super().list(resource, namespace, **more)


def gathered(session, cluster):
    return submission.gather([(session.lab, [])], cluster, session.journal).answers


def test_whoever_may_not_list_nodes_hands_in_without_their_number(session):
    answers = gathered(session, OfOthers())
    assert answers["cluster"] == {"name": "fake"}
    assert fault(answers) == ""


def test_what_else_is_wrong_with_a_cluster_is_told(session):
    cluster = OfOthers()
    cluster.code = 500
    with pytest.raises(ApiStatusError, match="not for you"):
        gathered(session, cluster)


def test_the_names_of_another_seed_are_warned_of_and_not_handed_in(session):
    exercise = session.lab.exercise("protect")

    def of(seed):
        pod = exercise.setup[0]
        named = {**pod, "metadata": {**pod["metadata"], "name": f"pod-{seed}"}}
        own = dataclasses.replace(exercise, setup=(*exercise.setup, named), seed=seed)
        return dataclasses.replace(session.lab, exercises={"protect": own})

    cluster = FakeCluster()
    cluster.resources = RESOURCES
    session.lab, session.cluster = of(5), cluster
    session.begin("protect")
    space = cluster.get("namespaces", "lab90-protect")
    note = {**space["metadata"]["annotations"], interrupted.NOTE: "lab90-protect/pod-5"}
    cluster.apply([{**space, "metadata": {**space["metadata"], "annotations": note}}])
    found = submission.gather([(of(7), ["protect"])], cluster, session.journal)
    assert cluster.get("namespaces", "lab90-protect")["metadata"]["annotations"] == note
    (warning,) = found.warnings
    assert "with the names of the seed 5, which are not yours" in warning
    (entry,) = found.answers["labs"]["90-example"]["exercises"].values()
    assert set(entry) == {"claimed"}


def test_a_set_up_of_another_version_of_the_course_is_warned_of(session):
    session.cluster.resources = RESOURCES
    session.begin("protect")
    found = submission.gather([(session.lab, ["protect"])], session.cluster, session.journal)
    assert found.warnings == []
    exercise = session.lab.exercise("protect")
    newer = dataclasses.replace(exercise, setup=exercise.setup[1:])
    lab = dataclasses.replace(session.lab, exercises={"protect": newer})
    found = submission.gather([(lab, ["protect"])], session.cluster, session.journal)
    (warning,) = found.warnings
    assert "another version of the course set it up" in warning


def test_what_was_done_under_a_former_id_is_claimed_in_todays_points(session):
    session.cluster.resources = RESOURCES
    name, journal = session.lab.name, session.journal
    journal.add(name, "hint", "fence", step=1)
    journal.add(name, "check", "fence", status="passed", points=3, max_points=4)
    journal.add(name, "solution", "fence")
    journal.add(name, "check", "fence", status="passed", points=3, max_points=4)
    exercise = dataclasses.replace(session.lab.exercise("protect"), formerly=("fence",))
    session.lab = dataclasses.replace(session.lab, exercises={"protect": exercise})
    found = submission.gather([(session.lab, ["protect"])], session.cluster, journal)
    assert found.answers["labs"][name]["exercises"]["protect"]["claimed"] == {
        "status": "passed",
        "points": 1.5,
        "max_points": 2,
        "checks": 2,
        "hints": 1,
        "saw_solution": True,
    }
    (warning,) = found.warnings
    assert warning.startswith("90-example/protect: checked before, but it is not set up")


def test_what_may_be_the_clusters_own_is_warned_of_where_nobody_noted_that(
    session, monkeypatch, tmp_path
):
    session.cluster.resources = RESOURCES
    session.begin("protect")

    def one(kind, name):
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}

    mine = Difference(
        added=(one("ConfigMap", "authority"), one("Pod", "mine")),
        changed=(one("Namespace", "lab90-protect"), one("ConfigMap", "of-the-set-up")),
    )
    monkeypatch.setattr(Estate, "difference", lambda *_: mine)

    def warnings(journal):
        chosen = [(session.lab, ["protect"])]
        found = submission.gather(chosen, session.cluster, journal)
        assert "authority" in json.dumps(found.answers)
        return found.warnings

    assert warnings(session.journal) == []
    elsewhere = Journal(tmp_path / "another.sqlite")
    (warning,) = warnings(elsewhere)
    named = "90-example/protect: configmaps/authority, namespaces/lab90-protect: handed in, but"
    assert warning.startswith(named)
    assert "--keep-mine" in warning
    session.cluster.provider = "embedded"  # which gives nothing
    assert warnings(elsewhere) == []
