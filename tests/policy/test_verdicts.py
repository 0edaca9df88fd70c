"""The reasons of a verdict, as data: who selected, which rule and peer matched, why others not."""

import yaml
from shop import WORLD

from k8slab import policy
from k8slab.policy import Action, Flow, Miss

RULES = """
podSelector: {matchLabels: {app: db}}
ingress:
- from: [{podSelector: {matchLabels: {app: frontend}}}]
- from: [{namespaceSelector: {matchLabels: {team: z}}}, {namespaceSelector: {matchLabels: {color: x}}}]
- from: [{ipBlock: {cidr: 10.244.0.0/16, except: [10.244.0.0/24]}}]
- from: [{podSelector: {matchLabels: {app: x}}}, {podSelector: {}}]
  ports: [{port: http}, {protocol: UDP, port: 53}]
"""  # noqa: E501


def decide(flow, *, rules=RULES):
    made = {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "shop"}}
    estate = policy.compile([*yaml.safe_load(WORLD), {**made, "spec": yaml.safe_load(rules)}])
    source, destination, port = flow.split()
    return estate.decide(Flow.of(source, destination, int(port)))


def test_an_admitted_flow_names_policy_rule_and_peer():
    out, into = decide("shop/web shop/db 8080").reasons
    assert (out.direction, out.subject, out.action) == ("egress", "shop/web", Action.ALLOW)
    assert (out.isolated_by, out.admitted_by, out.rule) == ((), "", None)
    assert (into.direction, into.subject, into.action) == ("ingress", "shop/db", Action.ALLOW)
    assert (into.isolated_by, into.admitted_by) == (("shop/p",), "shop/p")
    assert (into.rule, into.peer, into.decided_by) == (3, 1, "NetworkPolicy shop/p")


def test_every_rule_that_did_not_match_tells_its_first_mismatch():
    misses = decide("shop/web shop/db 80").reasons[1].misses
    whys = (
        "pod shop/web: label app=web is not app=frontend",
        "namespace shop: label team=a is not team=z; namespace shop: has no label color",
        "address 10.244.0.1 is in 10.244.0.0/24, which this rule leaves out",
        "port 80 is not http (8080 on this pod); protocol TCP is not UDP",
    )
    assert misses == tuple(Miss("shop/p", "ingress", n, why) for n, why in enumerate(whys))
    assert [str(miss).partition(":")[0] for miss in misses] == [
        f"shop/p spec.ingress[{n}]" for n in range(4)
    ]


def test_the_rules_before_the_one_that_matched_are_told_too():
    into = decide("shop/web shop/db 8080").reasons[1]
    assert [miss.rule for miss in into.misses] == [0, 1, 2]


def test_another_namespace_is_told_as_such():
    misses = decide("other/web shop/db 8080").reasons[1].misses
    assert "namespace other is not shop (a podSelector alone means" in misses[0].why


def test_an_address_outside_is_no_pod():
    misses = decide("ip:203.0.113.9 shop/db 8080").reasons[1].misses
    assert misses[0].why == "203.0.113.9 is no pod that a selector can choose"
    assert misses[2].why == "address 203.0.113.9 is not in 10.244.0.0/16"


def test_a_port_name_that_the_pod_has_not_is_told():
    rules = "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: http2}]}]}"
    misses = decide("shop/db shop/web 80", rules=rules).reasons[1].misses
    assert misses[0].why == "shop/web has no port named http2"


def test_both_sides_are_told_when_both_deny():
    rules = "{podSelector: {}, policyTypes: [Ingress, Egress]}"
    verdict = decide("shop/web shop/db 80", rules=rules)
    assert [reason.action for reason in verdict.reasons] == [Action.DENY, Action.DENY]
    assert [reason.direction for reason in verdict.reasons] == ["egress", "ingress"]
    text = verdict.explain()
    assert text.startswith("shop/web -> shop/db port 80/TCP: deny")
    assert "shop/p: has no egress rule, so it admits nobody" in text


def test_reasons_are_found_once():
    verdict = decide("shop/web shop/db 80")
    assert verdict.reasons is verdict.reasons


def test_what_replicas_have_in_common_is_told_once():
    objects = yaml.safe_load(WORLD)
    again = yaml.safe_load(WORLD)
    twin = next(o for o in again if o["metadata"]["name"] == "db" and o["kind"] == "Pod")
    twin["metadata"]["name"], twin["status"]["podIP"] = "db2", "10.244.0.9"
    spec = yaml.safe_load(
        "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 1}]}]}"
    )
    made = {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "shop"}, "spec": spec}
    verdict = policy.compile([*objects, twin, made]).decide(Flow.of("shop/web", "svc:shop/db", 80))
    assert len(verdict.reasons) == 3
    assert verdict.explain().splitlines() == [
        "shop/web -> svc:shop/db port 80/TCP: deny",
        "  svc:shop/db port 80 is port 8080 of shop/db, shop/db2: that is what policies see",
        "  egress of shop/web: allow, no policy selects it for egress",
        "  ingress of shop/db, shop/db2: deny, isolated by shop/p, and no rule admits it",
        "    shop/p spec.ingress[0]: port 8080 is not 1",
    ]
