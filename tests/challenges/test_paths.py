"""Values are put into copies of objects, by path."""

import pytest

from k8slab.challenges.paths import changed, nested
from k8slab.errors import UsageError

POD = {"spec": {"containers": [{"name": "a", "ports": [{"name": "http", "containerPort": 80}]}]}}


def test_the_original_stays_as_it_is():
    made = changed(POD, {"spec.containers[0].ports[name=http].containerPort": 81})
    assert made["spec"]["containers"][0]["ports"][0]["containerPort"] == 81
    assert POD["spec"]["containers"][0]["ports"][0]["containerPort"] == 80


def test_nothing_removes_a_field_and_mappings_on_the_way_are_made():
    made = changed(POD, {"spec.containers[0].ports[0].name": None, "metadata.labels.app": "x"})
    assert made["spec"]["containers"][0]["ports"] == [{"containerPort": 80}]
    assert made["metadata"] == {"labels": {"app": "x"}}
    assert changed(POD, {"spec.hostNetwork": None}) == POD


def test_an_element_can_be_removed_and_one_that_is_not_there_is_named():
    assert (
        changed(POD, {"spec.containers[0].ports[0]": None})["spec"]["containers"][0]["ports"] == []
    )
    with pytest.raises(UsageError, match="no element has name=udp"):
        changed(POD, {"spec.containers[0].ports[name=udp].containerPort": 1})


def test_a_merge_patch_is_nested_by_names():
    assert nested("data.Corefile", "x") == {"data": {"Corefile": "x"}}
    assert nested('metadata.annotations["a.b/c"]', "1") == {
        "metadata": {"annotations": {"a.b/c": "1"}}
    }
    with pytest.raises(UsageError, match="made of names"):
        nested("spec.ports[0].port", 1)
