"""ClusterNetworkPolicies as the API takes, refuses and shows them."""

from __future__ import annotations

import copy

import pytest

from k8slab.embedded.apiserver import cluster_policies, schema, schema_build
from k8slab.errors import ApiStatusError

RESOURCE = "clusternetworkpolicies.policy.networking.k8s.io"
EVERYONE = {"namespaces": {}}
PODS = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}
TCP = {"tcp": {"destinationPort": {"number": 80}}}
GOOD = {
    "metadata": {"name": "p"},
    "spec": {
        "tier": "Admin",
        "priority": 0,
        "subject": EVERYONE,
        "ingress": [{"action": "Deny", "from": [{"pods": PODS}], "protocols": [TCP]}],
        "egress": [{"action": "Pass", "to": [{"networks": ["10.0.0.0/8", "fd00::/8"]}]}],
    },
}


def changed(path, value):
    """Return the good policy with one field changed; ``None`` removes it."""
    made = copy.deepcopy(GOOD)
    *way, last = path
    at = made["spec"]
    for step in way:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return made


def test_a_good_one_is_kept_as_it_was_written(api):
    assert api.create(RESOURCE, GOOD)["spec"] == GOOD["spec"]
    changed = api.patch(RESOURCE, "p", "", {"spec": {"priority": 1000}})
    assert changed["spec"]["priority"] == 1000


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["tier"], "Middle", 'spec.tier: Unsupported value: "Middle": supported values: "Admin"'),
        (["tier"], None, "spec.tier: Required value"),
        (["priority"], 1001, "spec.priority in body should be less than or equal to 1000"),
        (["priority"], -1, "spec.priority in body should be greater than or equal to 0"),
        (["priority"], None, "spec.priority: Required value"),
        (["subject"], {}, "spec.subject in body should have at least 1 properties"),
        (["subject"], {**EVERYONE, "pods": PODS}, "spec.subject: Too many: 2: must have at most 1"),
        (["subject"], None, "spec.subject: Required value"),
        (["ingress", 0, "action"], "Allow", 'Unsupported value: "Allow": supported values:'),
        (["ingress", 0, "from"], [], "spec.ingress[0].from in body should have at least 1 items"),
        (["ingress", 0, "from"], None, "spec.ingress[0].from: Required value"),
        (["ingress", 0, "from"], [EVERYONE] * 26, "Too many: 26: must have at most 25 items"),
        (["ingress", 0, "from"], [{"pods": {"podSelector": {}}}], "namespaceSelector: Required"),
        (["ingress"], GOOD["spec"]["ingress"] * 26, "spec.ingress: Too many: 26"),
        (["ingress", 0, "name"], "x" * 101, "spec.ingress[0].name: Too long"),
        (["ingress", 0, "protocols"], [], "spec.ingress[0].protocols in body should have at least"),
        (["ingress", 0, "protocols"], [{"tcp": {}}], "tcp in body should have at least 1 prop"),
        (
            ["ingress", 0, "protocols"],
            [{"udp": {"destinationPort": {"number": 0}}}],
            "udp.destinationPort.number in body should be greater than or equal to 1",
        ),
        (
            ["ingress", 0, "protocols"],
            [{"sctp": {"destinationPort": {"range": {"start": 9, "end": 9}}}}],
            "Start port must be less than End port",
        ),
        (["egress", 0, "to"], [{"networks": ["10.0.0.0"]}], "must be a valid CIDR value"),
        (["egress", 0, "to"], [{"networks": []}], "networks in body should have at least 1 items"),
        (["egress", 0, "to"], [{"domainNames": ["a.b"]}], "does not support domainNames"),
        (["egress", 0, "to"], [{"nodes": {}}], "does not support nodes"),
        (
            ["egress", 0, "protocols"],
            [{"destinationNamedPort": "web"}],
            "networks/nodes/domainNames peer cannot be set with namedPorts",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(api, path, value, message):
    with pytest.raises(ApiStatusError) as caught:
        api.create(RESOURCE, changed(path, value))
    assert (caught.value.code, message in str(caught.value)) == (422, True), str(caught.value)


def test_the_compiled_table_has_the_types_as_they_are_written():
    table, (written, _) = schema.raw_table(), schema_build.split(cluster_policies.types())
    assert {name: table[name] for name in written} == written
