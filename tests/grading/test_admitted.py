"""The check ``admitted``: what the API server says to an object."""

import pytest

from k8slab.clusters.resources import Resources
from k8slab.errors import ApiStatusError, ExerciseError
from k8slab.grading import Status
from k8slab.grading.checks import CHECKS, run_check
from k8slab.grading.context import Context
from k8slab.testing.fake import FakeCluster

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
BY_IT = {"refused": "denied (the )?request", "meaning": "to be refused by the webhook"}
DENIED = 'admission webhook "a.example.com" denied the request: not this'


class Guarded(FakeCluster):
    """A cluster whose API server refuses everything, or nothing."""

    said = ""
    asked: tuple = ()
    resources = Resources(None)

    def request(self, method, path, body=None, **_more):
        self.asked = (method, path, body)
        if self.said:
            raise ApiStatusError(self.said, code=400, reason="BadRequest")
        return body


@pytest.fixture
def check():
    def checked(said, **spec):
        cluster = Guarded()
        cluster.said = said
        found = run_check(
            Context(cluster, "shop", deadline=0.0), {"check": "admitted", "manifest": MAP, **spec}
        )
        assert cluster.asked == ("POST", "/api/v1/namespaces/shop/configmaps?dryRun=All", MAP)
        return found

    return checked


def test_what_is_accepted_is_admitted(check):
    assert check("").status is Status.PASSED


def test_what_is_refused_is_not_and_the_refusal_is_shown(check):
    found = check(DENIED)
    assert found.status is Status.FAILED
    assert found.lines == (f"ConfigMap settings: {DENIED}",)
    assert "--dry-run=server" in found.counterexample.replay


def test_a_refusal_can_be_wanted_in_its_words(check):
    assert check(DENIED, **BY_IT).status is Status.PASSED
    assert check("failed calling webhook", **BY_IT).status is Status.FAILED
    found = check("", **BY_IT)
    assert found.lines == ("ConfigMap settings: accepted",)
    assert found.counterexample.told() == "wanted to be refused by the webhook, seen accepted"


def test_without_an_object_there_is_nothing_to_try():
    with pytest.raises(ExerciseError, match="manifest"):
        CHECKS["admitted"].validate({"check": "admitted"}, "here")
