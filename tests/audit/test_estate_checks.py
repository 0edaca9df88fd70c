import pytest
from audit_kit import CLOSED, SHOP, policy


def test_an_estate_that_is_closed_and_lets_through_what_it_needs_has_no_finding(findings):
    assert findings(SHOP, CLOSED) == {}


def test_pods_without_policy_are_found_once_a_namespace(findings):
    found = findings(SHOP)
    (finding,) = found["no-policy"]
    assert finding.subject == "Namespace shop"
    assert finding.message == "no policy selects db, deployment/web"
    assert finding.place == "a.yaml:2"
    assert "ingress or egress" in found["no-default-deny"][0].message


def test_a_default_deny_that_admits_everybody_is_none(findings):
    spec = "podSelector: {}\npolicyTypes: [Ingress]\ningress: [{}]"
    found = findings(SHOP, CLOSED.replace("[Ingress, Egress]", "[Egress]"), policy(spec))
    assert found["no-default-deny"][0].message == "no policy isolates every pod for ingress"
    assert "everybody" in found


def test_a_default_deny_of_the_baseline_tier_counts(findings):
    text = """
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: deny}
spec:
  tier: Baseline
  priority: 1
  subject: {namespaces: {}}
  ingress: [{action: Deny, from: [{namespaces: {}}]}]
  egress: [{action: Deny, to: [{namespaces: {}}]}]
"""
    assert "no-default-deny" not in findings(SHOP, text)
    assert "no-policy" not in findings(SHOP, text)


@pytest.mark.parametrize(
    ("spec", "check", "field", "line"),
    [
        ("podSelector: {matchLabels: {app: wep}}", "selects-nothing", "spec.podSelector", 6),
        (
            "podSelector: {}\ningress:\n- from:\n  - podSelector: {matchLabels: {app: wep}}",
            "never-matches",
            "spec.ingress[0].from[0]",
            9,
        ),
        (
            "podSelector: {}\ningress:\n- from:\n  - namespaceSelector: {matchLabels: {a: b}}",
            "unknown-namespace-label",
            "spec.ingress[0].from[0]",
            9,
        ),
        (
            "podSelector: {}\ningress:\n- from: [{podSelector: {}}]\n  ports:\n  - port: metrics",
            "unknown-named-port",
            "spec.ingress[0].ports[0]",
            10,
        ),
        (
            (
                "podSelector: {matchLabels: {app: web}}\ningress:\n"
                "- from: [{podSelector: {}}]\n  ports:\n  - port: 80"
            ),
            "service-port",
            "spec.ingress[0].ports[0].port",
            10,
        ),
        (
            (
                "podSelector: {matchLabels: {app: web}}\ningress:\n"
                "- from: [{podSelector: {}}]\n  ports:\n  - {port: 9000, endPort: 9100}"
            ),
            "nobody-listens",
            "spec.ingress[0].ports[0]",
            10,
        ),
        (
            "podSelector: {matchLabels: {app: web}}\ningress:\n- from: [{podSelector: {}}]",
            "all-ports",
            "spec.ingress[0]",
            8,
        ),
    ],
)
def test_a_rule_that_does_nothing_or_too_much_is_found_with_field_and_line(
    findings, spec, check, field, line
):
    text = SHOP + CLOSED
    before = text.count("\n") + 1
    (finding,) = findings(text, policy(spec))[check]
    assert finding.subject == "NetworkPolicy shop/p"
    assert finding.field == field
    assert finding.place == f"a.yaml:{before + line}"


def test_the_remedy_for_a_services_port_names_the_target_port(findings):
    spec = "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{port: 80}]}]"
    (finding,) = findings(SHOP, policy(spec))["service-port"]
    assert finding.message == "TCP 80 is a port of Service shop/web, whose pods listen on 8080"
    assert finding.advice == "write port 8080"


def test_nothing_is_said_about_ports_of_pods_that_declare_none(findings):
    silent = SHOP.replace(", ports: [{name: http, containerPort: 8080}]", "")
    spec = "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{port: 9000}]}]"
    assert "nobody-listens" in findings(SHOP, policy(spec))
    assert "nobody-listens" not in findings(silent, policy(spec))


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("- {}", "- from: [{podSelector: {matchLabels: {app: db}}}]", True),
        (
            "- from: [{podSelector: {}}]",
            "- from: [{podSelector: {matchLabels: {app: db}}}]\n  ports: [{port: 8080}]",
            True,
        ),
        ("- from: [{namespaceSelector: {}}]", "- from: [{podSelector: {}}]", True),
        (
            "- ports: [{port: 8000, endPort: 9000}]",
            "- ports: [{port: 8080}]",
            True,
        ),
        ("- ports: [{protocol: TCP}]", "- ports: [{port: http}]", True),
        ("- ports: [{port: 8080}]", "- ports: [{port: http}]", False),
        (
            "- from: [{ipBlock: {cidr: 10.0.0.0/8}}]",
            "- from: [{ipBlock: {cidr: 10.1.0.0/16}}]",
            True,
        ),
        (
            "- from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]",
            "- from: [{ipBlock: {cidr: 10.1.2.0/24}}]",
            False,
        ),
        (
            (
                "- from:\n  - podSelector:\n      matchExpressions:\n"
                "      - {key: app, operator: In, values: [db, x]}"
            ),
            "- from: [{podSelector: {matchLabels: {app: db}}}]",
            True,
        ),
        (
            "- from: [{podSelector: {matchExpressions: [{key: app, operator: Exists}]}}]",
            "- from: [{podSelector: {matchLabels: {app: db}}}]",
            True,
        ),
        (
            "- from: [{podSelector: {matchLabels: {app: db}}}]",
            "- from: [{podSelector: {}}]",
            False,
        ),
    ],
)
def test_a_rule_is_shadowed_when_another_one_covers_it_by_its_words(
    findings, wide, narrow, covered
):
    first = policy(f"podSelector: {{}}\ningress:\n{wide}", "wide")
    second = policy(f"podSelector: {{matchLabels: {{app: web}}}}\ningress:\n{narrow}", "narrow")
    found = [f.subject for f in findings(SHOP, first, second).get("shadowed", ())]
    assert found == (["NetworkPolicy shop/narrow"] if covered else [])


def test_of_two_equal_rules_only_the_later_one_is_shadowed(findings):
    rule = "- from: [{podSelector: {matchLabels: {app: db}}}]\n"
    (finding,) = findings(SHOP, policy(f"podSelector: {{}}\ningress:\n{rule}{rule}"))["shadowed"]
    assert finding.field == "spec.ingress[1]"


def test_policies_that_say_the_same_are_duplicates_and_not_shadowed_too(findings):
    spec = "podSelector: {}\ningress: [{from: [{podSelector: {}}]}]"
    found = findings(SHOP, policy(spec, "a"), policy(spec, "b"))
    assert [f.subject for f in found["duplicate"]] == ["NetworkPolicy shop/b"]
    assert "shadowed" not in found


def test_an_object_that_stands_twice_is_found(findings):
    found = findings(SHOP, policy("podSelector: {}"), policy("podSelector: {}"))
    assert "it stands at a.yaml:" in found["defined-twice"][0].message


def test_isolated_pods_need_dns_by_udp_and_tcp(findings):
    closed = policy("podSelector: {}\npolicyTypes: [Egress]", "deny")
    assert "may not ask DNS" in findings(SHOP, closed)["dns-denied"][0].message
    udp = "policyTypes: [Egress]\negress: [{ports: [{port: 53, protocol: UDP}]}]"
    found = findings(SHOP, closed, policy(f"podSelector: {{matchLabels: {{app: db}}}}\n{udp}"))
    assert found["dns-denied"][0].message == "deployment/web may not ask DNS"
    assert "dns-denied" not in findings(SHOP, CLOSED)


def test_dns_by_udp_only_is_told_of_the_policy_that_admits_it(findings):
    closed = policy("podSelector: {}\npolicyTypes: [Egress]", "deny")
    udp = "podSelector: {}\npolicyTypes: [Egress]\negress: [{ports: [{port: 53, protocol: UDP}]}]"
    found = findings(SHOP, closed, policy(udp, "names"))["dns-one-protocol"]
    assert {finding.subject for finding in found} == {"NetworkPolicy shop/names"}
    assert "db, deployment/web may ask DNS by UDP and not by TCP" in {f.message for f in found}


def test_dns_is_asked_of_the_real_pods_where_they_are_known(findings):
    spec = """
    podSelector: {}
    policyTypes: [Egress]
    egress: [{to: [{ipBlock: {cidr: 10.244.0.9/32}}]}]
    """
    server = """
---
apiVersion: v1
kind: Pod
metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec: {containers: [{name: a, image: x}]}
status: {podIP: 10.244.0.9, podIPs: [{ip: 10.244.0.9}]}
"""
    assert "dns-denied" in findings(SHOP, policy(spec))
    assert "dns-denied" not in findings(SHOP, policy(spec), server)


def test_a_service_that_policies_close_to_everybody_is_found(findings):
    found = findings(SHOP, policy("podSelector: {}", "deny"))
    (finding,) = found["service-unreachable"]
    assert finding.subject == "Service shop/web"
    assert "shop/deny" in finding.message
    assert "service-unreachable" not in findings(SHOP, CLOSED)


def test_services_that_lead_nowhere_are_found(findings):
    gone = """
---
apiVersion: v1
kind: Service
metadata: {name: gone, namespace: shop}
spec: {selector: {app: gone}, ports: [{port: 1}]}
---
apiVersion: v1
kind: Service
metadata: {name: odd, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: a, port: 1, targetPort: 9}, {name: b, port: 2, targetPort: http}]
"""
    found = findings(SHOP, gone)
    assert found["service-selects-nothing"][0].subject == "Service shop/gone"
    assert [f.field for f in found["service-port-nowhere"]] == ["spec.ports[0]"]


def test_policies_without_any_pod_are_judged_alone(findings):
    found = findings(policy("podSelector: {}\ningress: [{}, {}]"))
    assert set(found) == {"everybody", "shadowed"}


def test_a_policy_that_is_not_understood_is_left_out_and_said(findings):
    text = "\n---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: c}\n"
    found = findings(SHOP, CLOSED, text)
    assert list(found) == ["not-understood"]
    assert "Cilium" in found["not-understood"][0].message


def test_what_the_api_refuses_is_not_judged_further(findings):
    found = findings(SHOP, CLOSED, policy("podSelektor: {}"))
    assert list(found) == ["refused"]
    assert found["refused"][0].message == 'unknown field "spec.podSelektor"'


def test_an_estate_with_policies_of_all_dialects_is_audited(findings):
    calico = """
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {selector: app == 'nobody', ingress: [{action: Allow, source: {selector: app == 'x'}}]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec: {types: [Egress], egress: [{action: Pass}]}
"""
    found = findings(SHOP, CLOSED, calico)
    assert [f.subject for f in found["selects-nothing"]] == [
        "NetworkPolicy.projectcalico.org shop/web"
    ]
    assert "not-understood" not in found
