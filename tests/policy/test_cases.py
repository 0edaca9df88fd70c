"""The corner cases of NetworkPolicy, one named case each, with its source.

api: comments of k8s.io/api/networking/v1. docs: kubernetes.io, "Network Policies".
calico: how Calico decides where the API leaves it open (ipBlock and pod addresses).
cnp: network-policy-api, "API overview": what a Service leads back to the same pod is judged as
any other packet, since policies are enforced outside the pod; NetworkPolicy leaves it open.
"""

import pytest
import yaml
from shop import WORLD

from k8slab import policy
from k8slab.errors import ManifestError
from k8slab.policy import Flow

WEB = "podSelector: {matchLabels: {app: web}}, "
DB = "podSelector: {matchLabels: {app: db}}, "

# name: (spec of a policy in shop, flow, verdict, source)
CASES = {
    "no policy at all: allowed": (None, "shop/web shop/db 80", "allow", "docs"),
    "ingress absent isolates": (
        DB + "policyTypes: [Ingress]", "shop/web shop/db 80", "deny", "api"),
    "ingress null isolates": (DB + "ingress: null", "shop/web shop/db 80", "deny", "api"),
    "an empty rule may be written as null": (
        DB + "ingress: [null]", "other/web shop/db 1", "allow", "api"),
    "from: null is everyone": (
        DB + "ingress: [{from: null}]", "other/web shop/db 1", "allow", "api"),
    "empty policyTypes are as none": (
        DB + "policyTypes: [], ingress: []", "shop/web shop/db 80", "deny", "api"),
    "both directions at once": (
        "podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}]",
        "shop/web other/web 80", "deny", "api"),
    "the source's egress counts as well as the destination's ingress": (
        WEB + "policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: x}}}]}]",
        "shop/web shop/db 80", "deny", "docs"),
    "answers to an admitted connection need no rule": (
        WEB + "policyTypes: [Ingress], ingress: []", "shop/web shop/db 80", "allow", "docs"),
    "ingress [] isolates": (DB + "ingress: []", "shop/web shop/db 80", "deny", "api"),
    "ingress [{}] admits everyone": (DB + "ingress: [{}]", "other/web shop/db 1", "allow", "api"),
    "from: [] is everyone": (DB + "ingress: [{from: []}]", "other/web shop/db 1", "allow", "api"),
    "ports: [] is all ports": (
        DB + "ingress: [{ports: []}]", "shop/web shop/db 9999", "allow", "api"),
    "without policyTypes ingress is isolated": (DB, "shop/web shop/db 80", "deny", "api"),
    "without policyTypes and egress rules egress is free": (
        "podSelector: {}, ingress: []", "shop/web other/web 80", "allow", "api"),
    "without policyTypes an egress rule isolates egress": (
        "podSelector: {}, egress: [{ports: [{port: 53}]}]", "shop/web other/web 80", "deny", "api"),
    "without policyTypes an egress rule isolates ingress too": (
        DB + "egress: [{}]", "shop/web shop/db 80", "deny", "api"),
    "egress: [] without policyTypes does not isolate egress": (
        "podSelector: {}, egress: []", "shop/web other/web 80", "allow", "api"),
    "a section that policyTypes does not list is ignored": (
        "podSelector: {}, policyTypes: [Egress], egress: [{}], ingress: []",
        "other/web shop/db 80", "allow", "api"),
    "an empty podSelector selects the whole namespace": (
        "podSelector: {}, ingress: []", "other/web shop/bare 80", "deny", "api"),
    "a policy does not reach into another namespace": (
        "podSelector: {}, ingress: []", "shop/web other/web 80", "allow", "api"),
    "an empty podSelector peer is the policy's namespace": (
        DB + "ingress: [{from: [{podSelector: {}}]}]", "shop/bare shop/db 80", "allow", "api"),
    "an empty podSelector peer is no other namespace": (
        DB + "ingress: [{from: [{podSelector: {}}]}]", "other/web shop/db 80", "deny", "api"),
    "an empty namespaceSelector is every namespace": (
        DB + "ingress: [{from: [{namespaceSelector: {}}]}]",
        "other/web shop/db 80", "allow", "api"),
    "both selectors in one peer: and (wrong pod)": (
        DB + "ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}, "
        "podSelector: {matchLabels: {app: web}}}]}]", "other/web shop/db 80", "deny", "docs"),
    "both selectors in one peer: and (both right)": (
        DB + "ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, "
        "podSelector: {matchLabels: {app: web}}}]}]", "other/web shop/db 80", "allow", "docs"),
    "two peers: or": (
        DB + "ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}, "
        "{podSelector: {matchLabels: {app: web}}}]}]", "shop/web shop/db 80", "allow", "docs"),
    "the name label of a namespace is always there": (
        DB + "ingress: [{from: [{namespaceSelector: "
        "{matchLabels: {kubernetes.io/metadata.name: other}}}]}]",
        "other/web shop/db 80", "allow", "docs"),
    "NotIn matches a pod without the key": (
        DB + "ingress: [{from: [{podSelector: "
        "{matchExpressions: [{key: tier, operator: NotIn, values: [front]}]}}]}]",
        "shop/bare shop/db 80", "allow", "api"),
    "NotIn does not match the value": (
        DB + "ingress: [{from: [{podSelector: "
        "{matchExpressions: [{key: tier, operator: NotIn, values: [front]}]}}]}]",
        "shop/web shop/db 80", "deny", "api"),
    "In takes any of its values": (
        DB + "ingress: [{from: [{podSelector: "
        "{matchExpressions: [{key: app, operator: In, values: [x, web]}]}}]}]",
        "shop/web shop/db 80", "allow", "api"),
    "all expressions of a selector count": (
        DB + "ingress: [{from: [{podSelector: {matchLabels: {app: web}, "
        "matchExpressions: [{key: tier, operator: DoesNotExist}]}}]}]",
        "shop/web shop/db 80", "deny", "api"),
    "Exists wants the key": (
        DB + "ingress: [{from: [{podSelector: "
        "{matchExpressions: [{key: tier, operator: Exists}]}}]}]",
        "shop/bare shop/db 80", "deny", "api"),
    "NotIn matches a namespace without the key": (
        DB + "ingress: [{from: [{namespaceSelector: "
        "{matchExpressions: [{key: stage, operator: NotIn, values: [prod]}]}}]}]",
        "other/web shop/db 80", "allow", "api"),
    "a namespaceSelector alone means all pods of the namespaces": (
        DB + "ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}}]}]",
        "shop/bare shop/db 80", "allow", "api"),
    "an empty namespaceSelector with a podSelector means pods everywhere": (
        DB + "ingress: [{from: [{namespaceSelector: {}, "
        "podSelector: {matchLabels: {app: web}}}]}]",
        "other/web shop/db 80", "allow", "api"),
    "DoesNotExist matches a pod without the key": (
        DB + "ingress: [{from: [{podSelector: "
        "{matchExpressions: [{key: tier, operator: DoesNotExist}]}}]}]",
        "shop/bare shop/db 80", "allow", "api"),
    "ipBlock matches an outside address": (
        DB + "ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]",
        "ip:203.0.113.9 shop/db 80", "allow", "api"),
    "except is taken out of the block": (
        DB + "ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.8/29]}}]}]",
        "ip:203.0.113.9 shop/db 80", "deny", "api"),
    "except is no deny: another rule may admit": (
        DB + "ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.8/29]}}, "
        "{ipBlock: {cidr: 203.0.113.9/32}}]}]",
        "ip:203.0.113.9 shop/db 80", "allow", "api"),
    "ipBlock matches a pod's address too": (
        DB + "ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16}}]}]",
        "shop/web shop/db 80", "allow", "calico"),
    "except is taken out for pods too": (
        DB + "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.244.0.0/16]}}]}]",
        "shop/web shop/db 80", "deny", "calico"),
    "ipBlock of an egress rule matches the pod behind": (
        WEB + "policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.244.0.0/16}}]}]",
        "shop/web shop/db 80", "allow", "calico"),
    "ipBlock never means a Service's address": (
        WEB + "policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.96.0.0/12}}]}]",
        "shop/web svc:shop/db 80", "deny", "docs"),
    "ipBlock of the other family matches nothing": (
        DB + "ingress: [{from: [{ipBlock: {cidr: '::/0'}}]}]",
        "shop/web shop/db 80", "deny", "api"),
    "a named port is the destination pod's": (
        DB + "ingress: [{ports: [{port: http}]}]", "shop/web shop/db 8080", "allow", "api"),
    "a named port has its own number on each pod": (
        "podSelector: {}, ingress: [{ports: [{port: http}]}]",
        "shop/db shop/web 80", "allow", "api"),
    "a named port that a pod has not admits nothing there": (
        "podSelector: {}, ingress: [{ports: [{port: http}]}]",
        "shop/web shop/bare 80", "deny", "api"),
    "a named port is not the source's number": (
        DB + "ingress: [{ports: [{port: http}]}]", "shop/web shop/db 80", "deny", "api"),
    "a named port has a protocol": (
        DB + "ingress: [{ports: [{port: dns}]}]", "shop/web shop/db 53/UDP", "deny", "api"),
    "a named port for egress is the peer's": (
        WEB + "policyTypes: [Egress], egress: [{ports: [{port: http}]}]",
        "shop/web shop/db 8080", "allow", "api"),
    "an outside address has no named ports": (
        WEB + "policyTypes: [Egress], egress: [{ports: [{port: http}]}]",
        "shop/web ip:203.0.113.9 80", "deny", "api"),
    "endPort includes its end": (
        DB + "ingress: [{ports: [{port: 8000, endPort: 8080}]}]",
        "shop/web shop/db 8080", "allow", "api"),
    "endPort excludes what is beyond": (
        DB + "ingress: [{ports: [{port: 8000, endPort: 8080}]}]",
        "shop/web shop/db 8081", "deny", "api"),
    "a protocol without port is all its ports": (
        DB + "ingress: [{ports: [{protocol: UDP}]}]", "shop/web shop/db 53/UDP", "allow", "api"),
    "a port without protocol is TCP": (
        DB + "ingress: [{ports: [{port: 53}]}]", "shop/web shop/db 53/UDP", "deny", "api"),
    "SCTP is a protocol of its own": (
        DB + "ingress: [{ports: [{protocol: SCTP, port: 80}]}]",
        "shop/web shop/db 80/SCTP", "allow", "api"),
    "a hostNetwork pod cannot be selected as subject": (
        "podSelector: {}, ingress: []", "other/web shop/host 80", "allow", "docs"),
    "a hostNetwork pod is not matched by labels as peer": (
        DB + "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
        "shop/host shop/db 80", "deny", "docs"),
    "a hostNetwork pod is its node's address": (
        DB + "ingress: [{from: [{ipBlock: {cidr: 172.18.0.2/32}}]}]",
        "shop/host shop/db 80", "allow", "docs"),
    "a pod always reaches itself": (
        "podSelector: {}, policyTypes: [Ingress, Egress]", "shop/db shop/db 80", "allow", "docs"),
    "a pod reaches itself through a Service only as policies admit": (
        DB + "ingress: []", "shop/db svc:shop/db 80", "deny", "cnp"),
    "and it does if they admit it": (
        DB + "ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]",
        "shop/db svc:shop/db 80", "allow", "cnp"),
    "a pod's own node always reaches it": (
        DB + "ingress: []", "node:n2 shop/db 80", "allow", "docs"),
    "another node does not": (DB + "ingress: []", "node:n1 shop/db 80", "deny", "docs"),
    "an egress policy holds towards the pod's own node too": (
        "podSelector: {}, policyTypes: [Egress]", "shop/db node:n2 10250", "deny", "calico"),
    "a Service is decided on the pod and its own port": (
        DB + "ingress: [{ports: [{port: 8080}]}]", "shop/web svc:shop/db 80", "allow", "docs"),
    "the Service's port in a policy admits nothing": (
        DB + "ingress: [{ports: [{port: 80}]}]", "shop/web svc:shop/db 80", "deny", "docs"),
    "a pod by its address is the same pod": (
        DB + "ingress: []", "shop/web ip:10.244.0.2 80", "deny", "api"),
}  # fmt: skip


def estate(spec):
    objects = yaml.safe_load(WORLD)
    if spec is not None:
        body = yaml.safe_load("{" + spec + "}")
        body.setdefault("podSelector", {})
        objects.append(
            {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "shop"}, "spec": body}
        )
    return policy.compile(objects)


def read_flow(text):
    source, destination, rest = text.split()
    port, _, protocol = rest.partition("/")
    return Flow.of(source, destination, int(port), protocol or "TCP")


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    spec, flow, verdict, _source = CASES[name]
    assert estate(spec).decide(read_flow(flow)).action.value == verdict, name


def test_ipblock_and_pods_is_a_switch():
    objects = yaml.safe_load(WORLD)
    block = {"from": [{"ipBlock": {"cidr": "10.244.0.0/16"}}]}
    spec = {"podSelector": {}, "ingress": [block]}
    objects.append(
        {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "shop"}, "spec": spec}
    )
    flow = read_flow("shop/web shop/db 80")
    assert policy.compile(objects).decide(flow).allowed
    assert not policy.compile(objects, blocks_match_pods=False).decide(flow).allowed


def test_policies_add_up():
    objects = yaml.safe_load(WORLD)
    for name, app in (("a", "nobody"), ("b", "web")):
        peer = {"podSelector": {"matchLabels": {"app": app}}}
        spec = {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [peer]}]}
        objects.append(
            {"kind": "NetworkPolicy", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}
        )
    verdict = policy.compile(objects).decide(read_flow("shop/web shop/db 80"))
    assert verdict.allowed
    assert verdict.reasons[1].admitted_by == "shop/b"
    assert verdict.reasons[1].isolated_by == ("shop/a", "shop/b")


def test_a_denial_tells_the_first_mismatch_of_every_rule():
    spec = DB + (
        "ingress: [{from: [{podSelector: {matchLabels: {app: fe}}}]}, {ports: [{port: http}]}]"
    )
    text = estate(spec).decide(read_flow("shop/web shop/db 80")).explain()
    assert "shop/p spec.ingress[0]: pod shop/web: label app=web is not app=fe" in text
    assert "shop/p spec.ingress[1]: port 80 is not http (8080 on this pod)" in text


def test_a_service_without_ready_pods_leaves_nothing_to_decide():
    verdict = estate(None).decide(read_flow("shop/web svc:shop/nobody 80"))
    assert verdict.allowed
    assert "nothing to decide" in verdict.reasons[0].because


def test_a_finished_pod_is_nobody():
    objects = yaml.safe_load(WORLD)
    next(o for o in objects if o["metadata"]["name"] == "web")["status"]["phase"] = "Succeeded"
    with pytest.raises(Exception, match="nothing is known about shop/web"):
        policy.compile(objects).decide(read_flow("shop/web shop/db 80"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ingress: [{from: [{}]}]", "a peer needs"),
        ("ingress: [{from: [{ipBlock: {cidr: x}}]}]", "'x' is not an address range"),
        ("ingress: [{from: [{ipBlock: {cidr: 1.0.0.0/8}, podSelector: {}}]}]", "not both"),
        ("ingress: [{ports: [{protocol: ICMP}]}]", "protocol 'ICMP'"),
        ("ingress: [{ports: [{port: '80'}]}]", "'80' is no name of a port"),
        ("ingress: [{ports: [{port: HTTP}]}]", "'HTTP' is no name of a port"),
        ("ingress: [{ports: [{port: 0}]}]", "port 0 is not between 1 and 65535"),
        ("ingress: [{form: []}]", "spec.ingress[0]: unknown field 'form'"),
        ("egress: [{from: []}]", "spec.egress[0]: unknown field 'from'"),
        ("egres: []", "spec: unknown field 'egres'"),
        ("podSelector: {app: web}", "spec.podSelector: unknown field 'app'"),
        (
            "podSelector: {matchLabels: {app: true}}",
            "spec.podSelector.matchLabels.app: must be text",
        ),
        (
            "ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: In}]}}]}]",
            "In needs values",
        ),
        (
            "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]",
            "spec.ingress[0].from[0].ipBlock.except[0]: 11.0.0.0/8 is not a part of 10.0.0.0/8",
        ),
        ("ingress: [{ports: [{port: 10, endPort: 5}]}]", "endPort 5"),
        ("policyTypes: [ingress]", "'ingress' is not one of Ingress, Egress"),
        ("ingress: nonsense", "NetworkPolicy shop/p"),
        (
            "podSelector: {matchExpressions: [{key: a, operator: Is}]}",
            "unknown selector operator 'Is'",
        ),
    ],
)
def test_what_the_api_would_refuse_is_refused_with_the_policys_name(spec, message):
    with pytest.raises(ManifestError, match="NetworkPolicy shop/p") as error:
        estate(spec)
    assert message in str(error.value)
