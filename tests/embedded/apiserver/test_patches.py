"""JSON patch, merge patch and strategic merge patch. Cases of RFC 6902, RFC 7386 and KEPs."""

from __future__ import annotations

import pytest

from k8slab.embedded.apiserver.patches import json_patch, merge_patch
from k8slab.embedded.apiserver.schema import type_of
from k8slab.embedded.apiserver.strategic import strategic_merge
from k8slab.errors import ApiStatusError

POD_SPEC = type_of("io.k8s.api.core.v1.PodSpec")
SERVICE_SPEC = type_of("io.k8s.api.core.v1.ServiceSpec")
META = type_of("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        (["a"], {"b": "c"}, {"b": "c"}),
    ],
)
def test_a_merge_patch_follows_the_rfc(target, patch, result):
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("operations", "result"),
    [  # RFC 6902, appendix A
        ([{"op": "add", "path": "/baz", "value": "qux"}], {"foo": ["a", "b"], "baz": "qux"}),
        ([{"op": "add", "path": "/foo/1", "value": "x"}], {"foo": ["a", "x", "b"]}),
        ([{"op": "add", "path": "/foo/-", "value": "x"}], {"foo": ["a", "b", "x"]}),
        ([{"op": "remove", "path": "/foo/1"}], {"foo": ["a"]}),
        ([{"op": "replace", "path": "/foo/0", "value": 1}], {"foo": [1, "b"]}),
        ([{"op": "move", "from": "/foo/0", "path": "/bar"}], {"foo": ["b"], "bar": "a"}),
        ([{"op": "copy", "from": "/foo", "path": "/bar"}], {"foo": ["a", "b"], "bar": ["a", "b"]}),
        ([{"op": "test", "path": "/foo/0", "value": "a"}], {"foo": ["a", "b"]}),
        ([{"op": "add", "path": "/a~1b~0c", "value": 1}], {"foo": ["a", "b"], "a/b~c": 1}),
        # Beyond the RFCs, as the library of real servers has it.
        ([{"op": "test", "path": "/nothing", "value": None}], {"foo": ["a", "b"]}),
        ([{"op": "remove", "path": "/foo/-1"}], {"foo": ["a"]}),
        ([{"op": "replace", "path": "/foo/-2", "value": "z"}], {"foo": ["z", "b"]}),
        ([{"op": "add", "path": "/foo/-1", "value": "z"}], {"foo": ["a", "b", "z"]}),
        # Two more that only real servers take (recorded from kube-apiserver 1.37.0).
        ([{"op": "replace", "path": "/bar", "value": 1}], {"foo": ["a", "b"], "bar": 1}),
        ([{"op": "add", "path": "/bar"}], {"foo": ["a", "b"], "bar": None}),
    ],
)
def test_a_json_patch_follows_the_rfc(operations, result):
    assert json_patch({"foo": ["a", "b"]}, operations) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/foo/0", "value": "z"},
        {"op": "test", "path": "/foo", "value": None},
        {"op": "test", "path": "/nothing/below", "value": None},
        {"op": "test", "path": "/foo/2", "value": None},
        {"op": "remove", "path": "/foo/-3"},
        {"op": "remove", "path": "/foo/-0"},
        {"op": "remove", "path": "/nothing"},
        {"op": "replace", "path": "/nothing/below", "value": 1},
        {"op": "replace", "path": "/foo/0/x", "value": 1},
        {"op": "add", "path": "/foo/9", "value": 1},
        {"op": "bend", "path": "/foo"},
        {"op": "add", "path": "foo", "value": 1},
        {"path": "/foo"},
        "add",
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused(operation):
    with pytest.raises(ApiStatusError):
        json_patch({"foo": ["a", "b"]}, [operation])


def test_containers_merge_by_name():
    target = {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}
    patch = {"containers": [{"name": "b", "image": "z"}, {"name": "c", "image": "w"}]}
    assert strategic_merge(target, patch, POD_SPEC) == {
        "containers": [
            {"name": "a", "image": "x"},
            {"name": "b", "image": "z"},
            {"name": "c", "image": "w"},
        ]
    }


def test_an_entry_is_deleted_and_a_list_replaced_on_demand():
    target = {"containers": [{"name": "a"}, {"name": "b"}]}
    gone = {"containers": [{"name": "a", "$patch": "delete"}]}
    assert strategic_merge(target, gone, POD_SPEC) == {"containers": [{"name": "b"}]}
    target = {"containers": [{"name": "a"}, {"name": "b"}]}
    new = {"containers": [{"$patch": "replace"}, {"name": "c"}]}
    assert strategic_merge(target, new, POD_SPEC) == {"containers": [{"name": "c"}]}
    target = {"nodeSelector": {"a": "b"}}
    assert strategic_merge(target, {"nodeSelector": {"$patch": "replace", "c": "d"}}, POD_SPEC) == {
        "nodeSelector": {"c": "d"}
    }


def test_element_order_is_followed():
    target = {"containers": [{"name": "a"}, {"name": "b"}]}
    order = [{"name": "c"}, {"name": "b"}, {"name": "a"}]
    patch = {"$setElementOrder/containers": order, "containers": [{"name": "c"}]}
    merged = strategic_merge(target, patch, POD_SPEC)
    assert [item["name"] for item in merged["containers"]] == ["c", "b", "a"]


def test_retain_keys_drops_the_other_volume_source():
    target = {"volumes": [{"name": "v", "emptyDir": {}}]}
    patch = {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {}}]}
    assert strategic_merge(target, patch, POD_SPEC) == {"volumes": [{"name": "v", "secret": {}}]}


def test_the_selector_of_a_disruption_budget_is_replaced():
    spec = type_of("io.k8s.api.policy.v1.PodDisruptionBudgetSpec")
    old = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}
    new = {"selector": {"matchLabels": {"tier": "b"}}}
    assert strategic_merge(old, new, spec) == {"minAvailable": 1, **new}


def test_tolerations_are_atomic_and_finalizers_a_set():
    target = {"tolerations": [{"key": "a"}]}
    assert strategic_merge(target, {"tolerations": [{"key": "b"}]}, POD_SPEC) == {
        "tolerations": [{"key": "b"}]
    }
    assert strategic_merge({"finalizers": ["a"]}, {"finalizers": ["b", "a"]}, META) == {
        "finalizers": ["a", "b"]
    }
    patch = {"$deleteFromPrimitiveList/finalizers": ["a"]}
    assert strategic_merge({"finalizers": ["a", "b"]}, patch, META) == {"finalizers": ["b"]}


def test_the_same_port_in_two_protocols_is_two_entries():
    target = {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}
    patch = {"ports": [{"port": 53, "protocol": "UDP", "name": "dns"}]}
    merged = strategic_merge(target, patch, SERVICE_SPEC)
    assert merged["ports"][0] == {"port": 53, "protocol": "TCP"}
    assert merged["ports"][1]["name"] == "dns"


def test_a_patch_that_takes_the_protocol_away_means_the_entry_with_the_port():
    # What kubectl apply sends after a replace: the manifest has no protocol, the object had.
    target = {"ports": [{"port": 80, "protocol": "TCP", "name": "http"}]}
    patch = {"ports": [{"port": 80, "protocol": None}]}
    merged = strategic_merge(target, patch, SERVICE_SPEC)
    assert merged["ports"] == [{"port": 80, "name": "http"}]


def test_an_entry_without_its_merge_key_is_refused():
    with pytest.raises(ApiStatusError, match="does not contain declared merge key: name"):
        strategic_merge({}, {"containers": [{"image": "x"}]}, POD_SPEC)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"op": "move", "path": "/a"}, "an operation needs a from"),
        ({"op": "move", "path": "/foo/0/x", "from": "/foo"}, "cannot be moved into itself"),
        ({"op": "remove", "path": "/foo/" + "9" * 5000}, "is outside of a list"),
        ({"op": "remove", "path": "/foo/01"}, "is outside of a list"),
        ({"op": {}, "path": "/foo"}, "unknown operation {}"),
    ],
)
def test_an_odd_operation_is_explained(operation, message):
    with pytest.raises(ApiStatusError, match=message):
        json_patch({"foo": ["a"]}, [operation])


def test_a_copy_is_a_copy():
    copied = json_patch({"a": {"b": 1}}, [{"op": "copy", "from": "", "path": "/a/c"}])
    assert copied == {"a": {"b": 1, "c": {"a": {"b": 1}}}}


def test_copies_of_copies_are_bounded_as_on_a_real_server():
    bomb = [{"op": "copy", "from": "/a", "path": f"/a/{n}"} for n in range(60)]
    with pytest.raises(ApiStatusError, match="exceeding the limit 3145728"):
        json_patch({"a": {}}, bomb)


def test_a_patch_has_at_most_ten_thousand_operations():
    with pytest.raises(ApiStatusError, match="is 10000, got 10001") as error:
        json_patch({}, [{}] * 10_001)
    assert error.value.code == 413


@pytest.mark.parametrize("directive", ["$retainKeys", "$setElementOrder/ports"])
def test_a_directive_that_is_no_list_is_refused(directive):
    with pytest.raises(ApiStatusError, match="must be a list") as error:
        strategic_merge({"ports": []}, {directive: True}, SERVICE_SPEC)
    assert error.value.code == 400


def test_items_are_only_deleted_from_lists():
    patch = {"$deleteFromPrimitiveList/finalizers": ["x"]}
    assert strategic_merge({"finalizers": "x"}, patch, META) == {"finalizers": "x"}


@pytest.mark.parametrize(
    "patch",
    [
        {"containers": [{"name": f"c{n}"} for n in range(3000)]},
        {"containers": [], "$setElementOrder/containers": [{"name": "a"}] * 3000},
        {"$setElementOrder/containers": [{"name": "a"}] * 3000},
    ],
)
def test_a_list_that_would_be_compared_for_minutes_is_refused(patch):
    with pytest.raises(ApiStatusError, match="a list of 3000 items cannot be merged"):
        strategic_merge({"containers": [{"name": "a"}]}, patch, POD_SPEC)
