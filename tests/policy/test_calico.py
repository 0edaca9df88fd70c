"""Calico's policies, one named case each; source: Calico's reference for v3.32.

np: "Network policy". gnp: "Global network policy". tiers: "Tier". conversion: how the API's
rules become selectors (libcalico-go, updateprocessors).
"""

import pytest
import yaml

from k8slab import policy
from k8slab.errors import ManifestError
from k8slab.policy import Flow

WORLD = """
- {kind: Namespace, metadata: {name: shop, labels: {team: a}}}
- {kind: Namespace, metadata: {name: other, labels: {team: b}}}
- {kind: ServiceAccount, metadata: {name: robot, namespace: shop, labels: {role: batch}}}
- kind: Pod
  metadata: {name: web, namespace: shop, labels: {app: web}}
  spec: {serviceAccountName: robot, containers: [{}]}
  status: {podIP: 10.244.0.1}
- kind: Pod
  metadata: {name: db, namespace: shop, labels: {app: db}}
  spec: {containers: [{ports: [{name: sql, containerPort: 5432}]}]}
  status: {podIP: 10.244.0.2}
- kind: Pod
  metadata: {name: web, namespace: other, labels: {app: web}}
  spec: {serviceAccountName: robot, containers: [{}]}
  status: {podIP: 10.244.1.1}
"""

DB = "selector: app == 'db', "
# name: (spec in shop, or of a GlobalNetworkPolicy after "global ", flow, verdict, source)
CASES = {
    "a policy that selects nobody changes nothing": (
        "selector: app == 'x'", "shop/web shop/db 80", "allow", "np"),
    "an empty selector selects the namespace": (
        "selector: ''", "shop/web shop/db 80", "deny", "np"),
    "without types and rules it is about ingress": (DB, "shop/web shop/db 80", "deny", "np"),
    "with egress rules alone it is about egress alone": (
        DB + "egress: [{action: Allow}]", "shop/web shop/db 80", "allow", "np"),
    "with both it is about both": (
        DB + "egress: [{action: Allow}], ingress: [{action: Deny}]",
        "shop/web shop/db 80", "deny", "np"),
    "types decide what rules count": (
        DB + "types: [Egress], ingress: [{action: Deny}]", "shop/web shop/db 80", "allow", "np"),
    "what no rule of the tier matches is denied": (
        DB + "ingress: [{action: Allow, protocol: TCP, destination: {ports: [5432]}}]",
        "shop/web shop/db 80", "deny", "tiers"),
    "the first rule that matches decides": (
        DB + "ingress: [{action: Deny, source: {selector: app == 'web'}}, {action: Allow}]",
        "shop/web shop/db 80", "deny", "np"),
    "Log goes on": (
        DB + "ingress: [{action: Log}, {action: Allow}]", "shop/web shop/db 80", "allow", "np"),
    "Pass leaves the tier": (
        DB + "ingress: [{action: Pass}, {action: Deny}]", "shop/web shop/db 80", "allow", "tiers"),
    "a source selector means the policy's namespace": (
        DB + "ingress: [{action: Allow, source: {selector: app == 'web'}}]",
        "other/web shop/db 80", "deny", "conversion"),
    "a namespace selector means all that it selects": (
        DB + "ingress: [{action: Allow, source: {namespaceSelector: team == 'b'}}]",
        "other/web shop/db 80", "allow", "conversion"),
    "all() of namespaces is every namespace": (
        DB + "ingress: [{action: Allow, source: {selector: app == 'web', "
        "namespaceSelector: all()}}]",
        "other/web shop/db 80", "allow", "conversion"),
    "a namespace by Calico's own label": (
        DB + "ingress: [{action: Allow, source: {"
        "namespaceSelector: projectcalico.org/name == 'other'}}]",
        "other/web shop/db 80", "allow", "np"),
    "notSelector in a namespaced policy means its namespace": (
        DB + "ingress: [{action: Allow, source: {notSelector: app == 'x'}}]",
        "other/web shop/db 80", "deny", "conversion"),
    "notSelector leaves out": (
        DB + "ingress: [{action: Allow, source: {notSelector: app == 'web'}}]",
        "shop/web shop/db 80", "deny", "np"),
    "notSelector in a global policy matches addresses outside": (
        "global " + DB + "ingress: [{action: Allow, source: {notSelector: app == 'web'}}]",
        "ip:203.0.113.9 shop/db 80", "allow", "conversion"),
    "a selector never matches addresses outside": (
        "global " + DB + "ingress: [{action: Allow, source: {selector: all()}}]",
        "ip:203.0.113.9 shop/db 80", "deny", "conversion"),
    "a global selector means every namespace": (
        "global " + DB + "ingress: [{action: Allow, source: {selector: app == 'web'}}]",
        "other/web shop/db 80", "allow", "conversion"),
    "global() of namespaces is no pod": (
        "global " + DB + "ingress: [{action: Allow, source: {namespaceSelector: global()}}]",
        "other/web shop/db 80", "deny", "conversion"),
    "a global policy's namespaceSelector limits its subjects": (
        "global namespaceSelector: team == 'b', ingress: [{action: Deny}]",
        "shop/web shop/db 80", "allow", "gnp"),
    "nets match pods by address": (
        DB + "ingress: [{action: Allow, source: {nets: [10.244.0.0/24]}}]",
        "shop/web shop/db 80", "allow", "np"),
    "notNets leave out": (
        DB + "ingress: [{action: Allow, source: {nets: [10.0.0.0/8], notNets: [10.244.0.0/24]}}]",
        "shop/web shop/db 80", "deny", "np"),
    "notNets alone match everybody else": (
        DB + "ingress: [{action: Allow, source: {notNets: [10.244.0.0/24]}}]",
        "ip:203.0.113.9 shop/db 80", "allow", "np"),
    "a service account by name means the policy's namespace": (
        DB + "ingress: [{action: Allow, source: {serviceAccounts: {names: [robot]}}}]",
        "other/web shop/db 80", "deny", "conversion"),
    "a service account by name": (
        DB + "ingress: [{action: Allow, source: {serviceAccounts: {names: [robot]}}}]",
        "shop/web shop/db 80", "allow", "np"),
    "a service account by label": (
        DB + "ingress: [{action: Allow, source: {serviceAccounts: {selector: role == 'batch'}}}]",
        "shop/web shop/db 80", "allow", "np"),
    "subjects by service account": (
        "selector: all(), serviceAccountSelector: role == 'batch'",
        "shop/web shop/db 80", "allow", "np"),
    "a port range": (
        DB + "ingress: [{action: Allow, protocol: TCP, destination: {ports: ['5000:6000']}}]",
        "shop/web shop/db 5432", "allow", "np"),
    "a named port is the destination's": (
        DB + "ingress: [{action: Allow, protocol: TCP, destination: {ports: [sql]}}]",
        "shop/web shop/db 5432", "allow", "np"),
    "notPorts leave out": (
        DB + "ingress: [{action: Allow, protocol: TCP, destination: {notPorts: [sql, 80]}}]",
        "shop/web shop/db 80", "deny", "np"),
    "a protocol by number": (
        DB + "ingress: [{action: Allow, protocol: 6}]", "shop/web shop/db 80", "allow", "np"),
    "notProtocol leaves out": (
        DB + "ingress: [{action: Allow, notProtocol: TCP}]", "shop/web shop/db 80", "deny", "np"),
    "ICMP is no TCP": (
        DB + "ingress: [{action: Allow, protocol: ICMP, icmp: {type: 8}}]",
        "shop/web shop/db 80", "deny", "np"),
    "ipVersion 6 is no IPv4": (
        DB + "ingress: [{action: Allow, ipVersion: 6}]", "shop/web shop/db 80", "deny", "np"),
    "destination of an ingress rule is the subject": (
        "selector: all(), ingress: [{action: Allow, destination: {selector: app == 'x'}}]",
        "shop/web shop/db 80", "deny", "np"),
    "destination of an egress rule is the peer": (
        "selector: app == 'web', egress: [{action: Allow, destination: {selector: app == 'db'}}]",
        "shop/web shop/db 80", "allow", "np"),
}  # fmt: skip


def calico(spec, name="p", api="projectcalico.org/v3"):
    text = spec.removeprefix("global ")
    kind, metadata = "NetworkPolicy", {"name": name, "namespace": "shop"}
    if text != spec:
        kind, metadata = "GlobalNetworkPolicy", {"name": name}
    body = yaml.safe_load("{" + text + "}")
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": body}


def decide(flow, *policies):
    source, destination, port = flow.split()
    estate = policy.compile([*yaml.safe_load(WORLD), *policies])
    return estate.decide(Flow.of(source, destination, int(port)))


@pytest.mark.parametrize("api", ["projectcalico.org/v3", "crd.projectcalico.org/v1"])
@pytest.mark.parametrize("name", CASES)
def test_case(name, api):
    spec, flow, verdict, _source = CASES[name]
    found = decide(flow, calico(spec, api=api))
    assert found.action.value == verdict, found.explain()
    denied = any(reason.action.value == "deny" for reason in found.reasons)
    assert denied is (verdict == "deny"), "the reasons agree with the verdict"


def kubernetes(spec):
    body = yaml.safe_load("{" + spec + "}")
    return {"kind": "NetworkPolicy", "metadata": {"name": "k", "namespace": "shop"}, "spec": body}


def test_lower_order_is_asked_first_and_no_order_last():
    allow = calico("order: 10, selector: all(), ingress: [{action: Allow}]", "z")
    deny = calico("order: 20, selector: all(), ingress: [{action: Deny}]", "a")
    late = calico("selector: all(), ingress: [{action: Deny}]", "b")
    assert decide("shop/web shop/db 80", deny, allow, late).allowed
    assert decide("shop/web shop/db 80", deny, late).reasons[1].decided_by.endswith("shop/a")


def test_equal_orders_are_asked_by_name():
    allow = calico("order: 10, selector: all(), ingress: [{action: Allow}]", "b")
    deny = calico("order: 10, selector: all(), ingress: [{action: Deny}]", "a")
    assert not decide("shop/web shop/db 80", allow, deny).allowed


def test_a_kubernetes_policy_has_order_1000_in_the_same_tier():
    admits = kubernetes("podSelector: {}, ingress: [{}]")
    before = calico("order: 999, selector: all(), ingress: [{action: Deny}]")
    after = calico("order: 1001, selector: all(), ingress: [{action: Deny}]")
    assert not decide("shop/web shop/db 80", admits, before).allowed
    assert decide("shop/web shop/db 80", admits, after).allowed


def test_calico_may_admit_what_a_kubernetes_policy_does_not():
    isolates = kubernetes("podSelector: {}, ingress: []")
    later = calico("order: 2000, selector: all(), ingress: [{action: Allow}]")
    assert decide("shop/web shop/db 80", isolates, later).allowed


def test_pass_goes_on_to_the_baseline_tier():
    baseline = {
        "kind": "ClusterNetworkPolicy", "metadata": {"name": "b"},
        "spec": {"tier": "Baseline", "priority": 1, "subject": {"namespaces": {}},
                 "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]},
    }  # fmt: skip
    passing = calico("selector: all(), ingress: [{action: Pass}]")
    assert decide("shop/web shop/db 80", passing).allowed
    assert not decide("shop/web shop/db 80", passing, baseline).allowed


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("selector: app = 'x'", "spec.selector: selector expression"),
        ("tier: security", "spec.tier: only the tier default"),
        ("global doNotTrack: true", "spec.doNotTrack: policies for host endpoints"),
        ("order: first", "spec.order: must be a number"),
        ("types: [ingress]", "spec.types[0]: 'ingress' is not one of"),
        ("ingress: [{action: allow}]", "spec.ingress[0].action: 'allow' is not one of"),
        ("ingress: [{action: Allow, http: {methods: [GET]}}]", "spec.ingress[0].http"),
        ("ingress: [{action: Allow, protocol: TCP, source: {ports: [80]}}]",
         "spec.ingress[0].source.ports: the port of a client"),
        ("egress: [{action: Allow, destination: {services: {name: x}}}]",
         "spec.egress[0].destination.services"),
        ("egress: [{action: Allow, destination: {domains: [a.b]}}]",
         "spec.egress[0].destination: unknown field 'domains'"),
        ("egress: [{action: Allow, destination: {ports: [80]}}]", "ports need a protocol"),
        ("ingress: [{action: Allow, protocol: TCP, destination: {ports: ['9:5']}}]",
         "spec.ingress[0].destination.ports[0]: the end of 9:5"),
        ("ingress: [{action: Allow, protocol: TCP, destination: {ports: [70000]}}]", "port 70000"),
        ("ingress: [{action: Allow, protocol: IGMP}]", "spec.ingress[0].protocol: 'IGMP'"),
        ("ingress: [{action: Allow, protocol: TCP, icmp: {type: 8}}]", "needs protocol ICMP"),
        ("ingress: [{action: Allow, protocol: ICMP, icmp: {type: 300}}]", "300 is not between"),
        ("ingress: [{action: Allow, ipVersion: 5}]", "spec.ingress[0].ipVersion: 5"),
        ("ingress: [{action: Allow, source: {nets: [x]}}]", "spec.ingress[0].source.nets[0]"),
        ("ingress: nonsense", "spec.ingress: must be a list"),
        ("namespaceSelector: all()", "unknown field 'namespaceSelector'"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_an_error_that_names_the_field(spec, message):
    with pytest.raises(ManifestError) as caught:
        policy.compile([calico(spec)])
    assert message in str(caught.value)
    assert str(caught.value).startswith(("NetworkPolicy shop/p: ", "GlobalNetworkPolicy p: "))


@pytest.mark.parametrize(
    "kind", ["CiliumNetworkPolicy", "AdminNetworkPolicy", "HostEndpoint", "NetworkSet"]
)
def test_kinds_that_would_change_the_answer_are_not_passed_over(kind):
    with pytest.raises(ManifestError, match=f"{kind} shop/x: {kind} is not understood"):
        policy.compile([{"kind": kind, "metadata": {"name": "x", "namespace": "shop"}}])
