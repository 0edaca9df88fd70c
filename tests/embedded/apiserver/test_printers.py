"""The cells of tables, in the words of a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from k8slab.embedded.apiserver import printers
from k8slab.embedded.apiserver.kinds import KindTable
from k8slab.embedded.apiserver.printtexts import human_duration, selector_text
from k8slab.embedded.apiserver.schema import type_of, type_of_kind

KINDS = KindTable.built_in()


def row(resource, obj):
    kind = KINDS.of(resource)
    stamp = (datetime.now(UTC) - timedelta(minutes=15)).strftime("%Y-%m-%dT%H:%M:%SZ")
    obj = {"metadata": {"name": "x", "creationTimestamp": stamp, **obj.pop("metadata", {})}, **obj}
    names = [column["name"] for column in printers.columns(kind)]
    return dict(zip(names, printers.cells(kind, obj), strict=True))


def empty(schema, depth=0):
    """Return a value in which every list has an item, and nothing a value that is no structure."""
    found = {}
    for name, field in schema.fields.items():
        if field.is_type and depth < 5:
            value = empty(type_of(field.word), depth + 1)
            found[name] = [value] if field.shape == "[" else {"a": value} if field.shape else value
    return found


@pytest.mark.parametrize("resource", sorted({kind.resource for kind in KINDS.rows.values()}))
def test_a_status_that_somebody_wrote_by_hand_is_shown_whatever_it_lacks(resource):
    schema = type_of_kind(KINDS.of(resource))
    whole = empty(schema).get("status", {}) if schema else {}
    for status in (whole, *({name: value} for name, value in whole.items())):
        assert row(resource, {"status": status})["Name"] == "x"


def test_a_volume_is_shown_though_its_claim_has_no_namespace():
    assert row("persistentvolumes", {"spec": {"claimRef": {"name": "a"}}})["Claim"] == "/a"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [  # apimachinery util/duration, its own test
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (8 * 3600 - 60, "7h59m"),
        (48 * 3600 - 1, "47h"),
        (48 * 3600, "2d"),
        (8 * 86400 - 3600, "7d23h"),
        (2 * 365 * 86400, "2y"),
        (-3, "<invalid>"),
    ],
)
def test_ages_have_at_most_two_units(seconds, text):
    assert human_duration(seconds) == text


def container(state, *, ready=False, restarts=0):
    return {"name": "a", "ready": ready, "restartCount": restarts, "state": state}


@pytest.mark.parametrize(
    ("pod", "status", "ready"),
    [
        ({"status": {"phase": "Pending"}}, "Pending", "0/1"),
        (
            {"status": {"phase": "Running", "containerStatuses": [
                container({"running": {}}, ready=True)]}},
            "Running",
            "1/1",
        ),
        (
            {"status": {"phase": "Pending", "containerStatuses": [
                container({"waiting": {"reason": "ErrImagePull"}})]}},
            "ErrImagePull",
            "0/1",
        ),
        (
            {"status": {"phase": "Failed", "containerStatuses": [
                container({"terminated": {"exitCode": 3, "reason": "Error"}})]}},
            "Error",
            "0/1",
        ),
        (
            {"status": {"phase": "Succeeded", "containerStatuses": [
                container({"terminated": {"exitCode": 0, "reason": "Completed"}})]}},
            "Completed",
            "0/1",
        ),
        (
            {"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Running"}},
            "Terminating",
            "0/1",
        ),
        (
            {"status": {"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"running": {}}}]}},
            "Init:0/1",
            "0/1",
        ),
    ],
)  # fmt: skip
def test_the_status_of_a_pod_is_one_word(pod, status, ready):
    init = [{"name": "i"}] if "initContainerStatuses" in pod["status"] else []
    shown = row("pods", {"spec": {"containers": [{"name": "a"}], "initContainers": init}, **pod})
    assert (shown["Status"], shown["Ready"], shown["Age"]) == (status, ready, "15m")


def test_a_service_shows_ports_and_external_address():
    spec = {
        "type": "LoadBalancer",
        "clusterIPs": ["10.96.0.5"],
        "ports": [
            {"port": 80, "nodePort": 30080, "protocol": "TCP"},
            {"port": 53, "protocol": "UDP"},
        ],
        "selector": {"b": "2", "a": "1"},
    }
    shown = row("services", {"spec": spec})
    assert shown["External-IP"] == "<pending>"
    assert shown["Port(s)"] == "80:30080/TCP,53/UDP"
    assert shown["Selector"] == "a=1,b=2"
    given = {"loadBalancer": {"ingress": [{"ip": "172.18.255.1"}]}}
    assert row("services", {"spec": spec, "status": given})["External-IP"] == "172.18.255.1"


def test_a_node_shows_readiness_roles_and_addresses():
    shown = row(
        "nodes",
        {
            "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "172.18.0.2"}],
                "nodeInfo": {"kubeletVersion": "v1.37.0"},
            },
        },
    )
    assert shown["Status"] == "Ready,SchedulingDisabled"
    assert shown["Roles"] == "control-plane"
    assert shown["Internal-IP"] == "172.18.0.2"


def test_selectors_are_shown_as_they_are_typed():
    selector = {
        "matchLabels": {"b": "2"},
        "matchExpressions": [
            {"key": "t", "operator": "In", "values": ["y", "x"]},
            {"key": "o", "operator": "DoesNotExist"},
        ],
    }
    assert selector_text(selector) == "b=2,t in (x,y),!o"
    assert selector_text({}) == "<none>"


def test_every_kind_prints_an_empty_object():
    for kind in KINDS.rows.values():
        if "list" in kind.verbs:
            obj = {"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}}
            assert len(printers.cells(kind, obj)) == len(printers.columns(kind)), kind.resource


@pytest.mark.parametrize(
    ("types", "metadata", "word"),
    [
        ([], {}, "Running"),
        (["SuccessCriteriaMet"], {}, "SuccessCriteriaMet"),
        (["SuccessCriteriaMet", "Complete"], {}, "Complete"),
        (["FailureTarget"], {}, "FailureTarget"),
        (["Suspended"], {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "Terminating"),
        (["Suspended"], {}, "Suspended"),
    ],
)
def test_a_job_says_how_far_it_is(types, metadata, word):
    conditions = [{"type": kind, "status": "True"} for kind in types]
    job = {"metadata": metadata, "spec": {"parallelism": 3}, "status": {"conditions": conditions}}
    found = row("jobs.batch", job)
    assert (found["Status"], found["Completions"]) == (word, "0/1 of 3")
