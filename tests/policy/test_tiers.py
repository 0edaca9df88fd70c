"""ClusterNetworkPolicies in the engine: what is decided, and what the verdict says about it."""

import pytest

from k8slab import policy
from k8slab.errors import ManifestError


def pod(name, address, **spec):
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"containers": [], **spec},
        "status": {"podIPs": [{"ip": one} for one in address.split(",")]},
    }


def cluster_policy(name="p", tier="Admin", priority=1, ingress=(), egress=()):
    spec = {"tier": tier, "priority": priority, "subject": {"namespaces": {}}}
    return {
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {**spec, "ingress": [*ingress], "egress": [*egress]},
    }


def rule(action, side="from", **more):
    return {"action": action, side: [{"namespaces": {}}], **more}


WEB, DB = pod("web", "10.0.0.1,fd00::1"), pod("db", "10.0.0.2,fd00::2")
CLOSED = {
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed", "namespace": "shop"},
    "spec": {"podSelector": {}},
}


def decide(*policies, to="shop/db", port=80):
    return policy.compile([WEB, DB, *policies]).decide(policy.Flow.of("shop/web", to, port))


def test_an_admin_accept_comes_before_a_network_policy_and_says_which_rule_it_was():
    verdict = decide(cluster_policy(ingress=[rule("Accept")]), CLOSED)
    assert verdict.allowed
    assert "spec.ingress[0] of Admin policy p accepts it" in verdict.explain()


def test_a_deny_names_the_policy_and_the_rule():
    verdict = decide(cluster_policy(ingress=[rule("Pass", protocols=[{"udp": {"destinationPort":
        {"number": 80}}}]), rule("Deny")]))  # fmt: skip
    assert not verdict.allowed
    assert "spec.ingress[1] of Admin policy p denies it" in verdict.explain()


def test_baseline_is_asked_only_where_no_network_policy_selects():
    baseline = cluster_policy(tier="Baseline", ingress=[rule("Accept")])
    assert decide(baseline).allowed
    assert not decide(baseline, CLOSED).allowed
    assert not decide(cluster_policy(tier="Baseline", ingress=[rule("Deny")])).allowed


def test_pass_leaves_out_the_rest_of_the_tier():
    passing = cluster_policy("first", priority=1, ingress=[rule("Pass")])
    denying = cluster_policy("second", priority=2, ingress=[rule("Deny")])
    assert decide(passing, denying).allowed
    assert not decide(passing, denying, CLOSED).allowed


def test_a_pod_of_the_hosts_network_is_neither_subject_nor_peer():
    host = pod("host", "172.18.0.3", hostNetwork=True, nodeName="one")
    node = {"kind": "Node", "metadata": {"name": "one"}, "status": {"addresses": [
        {"type": "InternalIP", "address": "172.18.0.3"}]}}  # fmt: skip
    deny = cluster_policy(ingress=[rule("Deny")], egress=[rule("Deny", "to")])
    estate = policy.compile([WEB, DB, host, node, deny])
    assert estate.decide(policy.Flow.of("shop/host", "shop/db", 80)).allowed
    assert estate.decide(policy.Flow.of("shop/web", "shop/host", 80)).allowed
    assert not estate.decide(policy.Flow.of("shop/web", "shop/db", 80)).allowed


def test_a_network_of_one_family_says_nothing_about_the_other():
    deny = {"action": "Deny", "to": [{"networks": ["0.0.0.0/0"]}]}
    closed = cluster_policy(egress=[deny])
    assert not decide(closed, to="ip:10.0.0.2").allowed
    assert decide(closed, to="ip:fd00::2").allowed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tier": "Middle"}, "'Middle' is not one of Admin, Baseline"),
        ({"subject": {}}, "only namespaces, pods and networks are understood, not nothing"),
        ({"egress": [{"action": "Accept", "to": [{"domainNames": ["a.b"]}]}]}, "not domainNames"),
        ({"ingress": [{"action": "Allow", "from": []}]}, "'Allow' is not one of Accept, Deny"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_policys_name(change, message):
    made = cluster_policy()
    made["spec"] |= change
    with pytest.raises(ManifestError) as caught:
        policy.compile([made])
    assert message in str(caught.value)
    assert "ClusterNetworkPolicy p" in str(caught.value)
