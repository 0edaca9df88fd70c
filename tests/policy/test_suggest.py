"""Suggested policies admit what was seen and nothing else; the engine itself is the judge."""

import pytest
import yaml
from shop import WORLD

from k8slab import policy
from k8slab.audit.estates import Size, realistic
from k8slab.errors import UsageError
from k8slab.objects import meta
from k8slab.policy import Flow

DNS = """
- {kind: Namespace, metadata: {name: kube-system}}
- kind: Pod
  metadata: {name: dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
  spec: {containers: [{}]}
  status: {podIP: 10.244.9.9}
"""


def world(*more):
    return policy.compile([*yaml.safe_load(WORLD), *yaml.safe_load(DNS), *more])


def flows(*texts):
    return [Flow.of(*text.split()[:2], int(text.split()[2])) for text in texts]


SEEN = flows("shop/web svc:shop/db 80", "other/web shop/db 8080", "shop/web ip:203.0.113.9 443")


def test_what_was_seen_is_admitted_and_nothing_else():
    estate = world()
    found = policy.suggest(estate, SEEN)
    assert found.exact
    after = estate.replace(*found.policies)
    assert all(after.decide(flow).allowed for flow in SEEN)
    assert not after.decide(Flow.of("shop/web", "shop/db", 8081)).allowed
    assert not after.decide(Flow.of("shop/bare", "shop/db", 8080)).allowed
    assert not after.decide(Flow.of("shop/web", "ip:203.0.113.10", 443)).allowed
    assert after.decide(Flow.of("shop/bare", "kube-system/dns", 53, "UDP")).allowed


def test_there_is_one_policy_for_each_namespace_and_each_workload():
    names = [meta.key_of(obj) for obj in policy.suggest(world(), SEEN).policies]
    bases = ["other/default-deny-but-dns", "shop/default-deny-but-dns"]
    assert names == [*bases, "shop/db", "other/web", "shop/web"]


def test_without_dns_nothing_of_it_is_admitted():
    found = policy.suggest(world(), SEEN, dns=False)
    assert found.exact
    after = world().replace(*found.policies)
    assert not after.decide(Flow.of("shop/web", "kube-system/dns", 53, "UDP")).allowed


def test_pods_that_labels_cannot_tell_apart_are_told():
    labelled = {"name": "twin", "namespace": "shop", "labels": {"app": "db"}}
    twin = {"kind": "Pod", "metadata": labelled,
            "spec": {"containers": []}, "status": {"podIP": "10.244.0.77"}}  # fmt: skip
    found = policy.suggest(world(twin), flows("shop/web shop/db 8080"))
    assert not found.exact
    assert [str(extra) for extra in found.extra] == ["shop/web -> shop/twin: TCP 8080"]


def test_what_another_tier_denies_is_missing():
    deny = {"action": "Deny", "from": [{"namespaces": {}}]}
    spec = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "ingress": [deny]}
    admin = {"kind": "ClusterNetworkPolicy", "metadata": {"name": "no"}, "spec": spec}
    seen = flows("shop/web shop/db 8080")
    assert policy.suggest(world(admin), seen).missing == (seen[0],)


def test_present_policies_of_the_namespaces_are_thought_away():
    open_to_all = {"kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": "shop"},
                   "spec": {"podSelector": {}, "ingress": [{}]}}  # fmt: skip
    assert policy.suggest(world(open_to_all), SEEN).exact


def test_neighbouring_addresses_become_one_range():
    seen = flows(*(f"shop/web ip:198.51.100.{n} 443" for n in range(4, 8)))
    found = policy.suggest(world(), seen)
    assert found.exact
    (rule,) = next(o for o in found.policies if o["metadata"]["name"] == "web")["spec"]["egress"]
    assert rule["to"] == [{"ipBlock": {"cidr": "198.51.100.4/30"}}]


def test_flows_without_any_pod_cannot_be_suggested_for():
    with pytest.raises(UsageError, match="no pod takes part"):
        policy.suggest(world(), flows("ip:203.0.113.9 ip:203.0.113.10 80"))


def test_a_large_estate_gets_policies_that_admit_exactly_what_was_seen():
    estate = policy.compile(realistic(Size(160, 0, 8), seed=3))
    workloads = sorted({str(pod.workload) for pod in estate.pods.values()})
    seen = [
        Flow.of(source, workloads[number * 13 % len(workloads)], 9000)
        for number, source in enumerate(workloads)
        if workloads[number * 13 % len(workloads)] != source
    ]
    found = policy.suggest(estate, seen)
    assert not found.missing
    assert not found.extra
