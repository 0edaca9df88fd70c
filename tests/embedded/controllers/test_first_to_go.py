"""Which pod of a set goes first."""

import pytest

from k8slab.embedded.controllers.pods import DELETION_COST, first_to_go


def pod(name, cost):
    metadata = {"name": name, "uid": name, "annotations": {DELETION_COST: cost}}
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}


@pytest.mark.parametrize("cost", ["high", "", "1.5"])
def test_a_deletion_cost_that_is_no_number_counts_as_none(cost):
    found = first_to_go([pod("dear", "5"), pod("odd", cost), pod("cheap", "-5")])
    assert [one["metadata"]["name"] for one in found] == ["cheap", "odd", "dear"]
