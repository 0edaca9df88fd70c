import pytest
from audit_kit import policy


@pytest.mark.parametrize(
    ("spec", "check", "words"),
    [
        ("podSelector: {}\nx: 1", "refused", 'unknown field "spec.x"'),
        ("podSelector: {}\npolicyTypes: [Egress]\ningress: [{}]", "ignored-section", "only egress"),
        ("podSelector: {}\negress: []\ningress: [{}]", "everybody", "from everybody"),
        (
            "podSelector: {}\ningress: [{from: [{namespaceSelector: {}}, {podSelector: {}}]}]",
            "two-peers-for-one",
            "means pods of shop",
        ),
        (
            "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: '::/0'}}]}]",
            "whole-address-space",
            "::/0",
        ),
        (
            "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 10.0.0.5/8}}]}]",
            "host-bits",
            "means 10.0.0.0/8",
        ),
        (
            "podSelector: {}\negress: [{ports: [{port: 53}]}]",
            "dns-one-protocol",
            "without protocol",
        ),
        (
            "podSelector: {}\negress: [{ports: [{port: 53, protocol: UDP}]}]",
            "dns-to-everybody",
            "every address",
        ),
    ],
)
def test_a_trap_is_found(traps, spec, check, words):
    finding = traps(policy(spec))[check]
    assert words in finding.message
    assert finding.place.startswith("a.yaml:")


@pytest.mark.parametrize(
    "spec",
    [
        "podSelector: {}",
        "podSelector: {}\ningress: [{from: [{namespaceSelector: {}, podSelector: {}}]}]",
        "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]",
        "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 10.0.0.5/32}}]}]",
        (
            "podSelector: {}\negress: [{to: [{podSelector: {}}], ports: [{port: 53}, "
            "{port: 53, protocol: UDP}]}]"
        ),
        (
            "podSelector: {}\negress:\n"
            "- {to: [{podSelector: {}}], ports: [{port: 53, protocol: UDP}]}"
            "\n- {to: [{podSelector: {}}], ports: [{port: 53, protocol: TCP}]}"
        ),
        "podSelector: {}\ningress: [{ports: [{port: 53}]}]",
    ],
)
def test_what_is_meant_as_it_is_written_is_no_trap(traps, spec):
    assert traps(policy(spec)) == {}


def test_other_kinds_are_checked_against_the_api(traps):
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: A}\nspec: {ports: [{port: 0}]}\n"
    assert traps(text)["refused"].subject == "Service default/A"


CALICO = """
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: a, namespace: shop}
spec:
  selector: app == 'web'
  ingress:
  - action: Allow
    source: {selector: app == 'db'}
"""


def test_a_policy_of_calico_that_the_engine_reads_has_no_finding(traps):
    assert traps(CALICO) == {}
    assert traps(CALICO.replace("projectcalico", "crd.projectcalico")) == {}


@pytest.mark.parametrize(
    ("old", "new", "words", "line"),
    [
        ("app == 'web'", "app = 'web'", "after a label comes ==", 6),
        ("action: Allow", "action: Allowed", "'Allowed' is not one of", 8),
        ("selector: app == 'web'", "tier: net", "only the tier default is understood", 6),
        ("source: {selector", "source: {ports: [80], selector", "port of a client", 9),
        ("ingress:", "ingres:", "unknown field 'ingres'", 5),
    ],
)
def test_what_is_wrong_with_one_of_calicos_is_told_with_its_line(traps, old, new, words, line):
    finding = traps(CALICO.replace(old, new))["not-understood"]
    assert words in finding.message
    assert finding.subject == "NetworkPolicy.projectcalico.org shop/a"
    assert finding.place == f"a.yaml:{line}"
