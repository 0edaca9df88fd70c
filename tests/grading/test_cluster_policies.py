"""What the grader hands the policy engine, with ClusterNetworkPolicies and without them."""

import pytest

from k8slab.errors import ApiStatusError
from k8slab.grading.context import CLUSTER_POLICIES, Context


class Cluster:
    capabilities = frozenset()

    def __init__(self, answer):
        self.answer = answer

    def list(self, resource, _namespace="", **_more):
        if resource != CLUSTER_POLICIES:
            return []
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_cluster_policies_are_part_of_what_decides():
    assert Context(Cluster(["policy"]), "shop").policy_objects() == ["policy"]


def test_a_cluster_that_does_not_serve_them_has_none():
    missing = ApiStatusError("not found", code=404, reason="NotFound")
    assert Context(Cluster(missing), "shop").policy_objects() == []


def test_any_other_refusal_is_told():
    refused = ApiStatusError("forbidden", code=403, reason="Forbidden")
    with pytest.raises(ApiStatusError, match="forbidden"):
        Context(Cluster(refused), "shop").policy_objects()
