"""The meaning of a NetworkPolicy, case by case.

The estate of all cases: in `shop` (team=shop) web-1 (app=web, http=8080) and web-2 (app=web,
http=9090), db (app=db, pg=5432), host (app=web on the host's network), done (finished);
in `ops` (team=ops) mon (app=mon, http=3000).
"""

import pytest

from k8slab.embedded.controllers.policy_values import (
    Estate,
    compile_policy,
    pod_facts,
    read_policy,
)
from k8slab.embedded.network.model import Block, PolicyRule, PortRange


def pod(name, namespace, app, address, port=None, **extra):
    ports = [{"name": port[0], "containerPort": port[1]}] if port else []
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": name,
            "labels": {"app": app},
            **extra.pop("metadata", {}),
        },
        "spec": {"containers": [{"name": "c", "ports": ports}], **extra.pop("spec", {})},
        "status": {"phase": "Running", "podIPs": [{"ip": address}], **extra.pop("status", {})},
    }


PODS = [
    pod("web-1", "shop", "web", "10.0.0.1", ("http", 8080)),
    pod("web-2", "shop", "web", "10.0.0.2", ("http", 9090)),
    pod("db", "shop", "db", "10.0.0.3", ("pg", 5432)),
    pod("host", "shop", "web", "172.18.0.2", ("http", 8080), spec={"hostNetwork": True}),
    pod("done", "shop", "web", "10.0.0.4", ("http", 8080), status={"phase": "Succeeded"}),
    pod("mon", "ops", "mon", "10.0.1.1", ("http", 3000)),
]
WEB, DB, MON = frozenset({"web-1", "web-2"}), frozenset({"db"}), frozenset({"mon"})
ALL_SHOP = WEB | DB


def estate():
    made = Estate()
    made.namespaces = {"shop": {"team": "shop"}, "ops": {"team": "ops"}}
    for one in PODS:
        if facts := pod_facts(one):
            made.put(facts)
    return made


def compiled(**spec):
    policy = {"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}
    return compile_policy(read_policy(policy), estate())


def ips(*numbers):
    return frozenset(f"10.0.{n}" for n in numbers)


app = {"matchLabels": {"app": "web"}}
everyone = PolicyRule()
nobody = frozenset()

SECTIONS = {
    "ingress absent isolates ingress only": ({"podSelector": {}}, {"ingress": ()}),
    "ingress [] isolates and allows nothing": ({"podSelector": {}, "ingress": []}, {"ingress": ()}),
    "ingress [{}] allows everything": (
        {"podSelector": {}, "ingress": [{}]},
        {"ingress": (everyone,)},
    ),
    "egress rules without policyTypes isolate both ways": (
        {"podSelector": {}, "egress": [{}]},
        {"ingress": (), "egress": (everyone,)},
    ),
    "egress [] without policyTypes does not isolate egress": (
        {"podSelector": {}, "egress": []},
        {"ingress": ()},
    ),
    "policyTypes Egress alone denies all egress": (
        {"podSelector": {}, "policyTypes": ["Egress"]},
        {"egress": ()},
    ),
    "a section that policyTypes does not list is ignored": (
        {"podSelector": {}, "policyTypes": ["Egress"], "ingress": [{}], "egress": [{}]},
        {"egress": (everyone,)},
    ),
}


@pytest.mark.parametrize(("spec", "wanted"), SECTIONS.values(), ids=SECTIONS)
def test_sections(spec, wanted):
    found = compiled(**spec)
    assert {d.direction: d.rules for d in found} == wanted
    assert all(d.subjects == ALL_SHOP for d in found)


PEERS = {
    "from [] is everyone": ([], None, None),
    "an empty podSelector is every pod of this namespace": (
        [{"podSelector": {}}],
        ips("0.1", "0.2", "0.3"),
        None,
    ),
    "an empty namespaceSelector is every pod anywhere": (
        [{"namespaceSelector": {}}],
        ips("0.1", "0.2", "0.3", "1.1"),
        None,
    ),
    "both selectors in one peer are and": (
        [{"namespaceSelector": {"matchLabels": {"team": "ops"}}, "podSelector": app}],
        nobody,
        None,
    ),
    "two peers are or": (
        [{"namespaceSelector": {"matchLabels": {"team": "ops"}}}, {"podSelector": app}],
        ips("0.1", "0.2", "1.1"),
        None,
    ),
    "NotIn matches pods without the key": (
        [
            {
                "podSelector": {
                    "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]
                }
            }
        ],
        ips("0.1", "0.2", "0.3"),
        None,
    ),
    "an ipBlock alone selects no pod by label": (
        [{"ipBlock": {"cidr": "10.0.0.0/24", "except": ["10.0.0.3/32"]}}],
        nobody,
        (Block("10.0.0.0/24", ("10.0.0.3/32",)),),
    ),
    "an ipBlock beside a selector": (
        [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"podSelector": app}],
        ips("0.1", "0.2"),
        (Block("0.0.0.0/0"),),
    ),
    "a selector that matches only host and finished pods matches nobody": (
        [{"podSelector": {"matchLabels": {"app": "none"}}}],
        nobody,
        None,
    ),
}


@pytest.mark.parametrize(("peers", "addresses", "blocks"), PEERS.values(), ids=PEERS)
def test_peers(peers, addresses, blocks):
    (section,) = compiled(podSelector={}, ingress=[{"from": peers}])
    assert section.rules == (PolicyRule(addresses=addresses, blocks=blocks),)


PORTS = {
    "ports [] is every port": ([], None, None),
    "a number": ([{"port": 80}], (PortRange("TCP", 80, 80),), None),
    "a number as text": ([{"port": "80"}], (PortRange("TCP", 80, 80),), None),
    "a protocol without port is all its ports": (
        [{"protocol": "UDP"}],
        (PortRange("UDP"),),
        None,
    ),
    "endPort makes a range": (
        [{"port": 80, "endPort": 90, "protocol": "SCTP"}],
        (PortRange("SCTP", 80, 90),),
        None,
    ),
    "a name is another number on each subject": (
        [{"port": "http"}],
        (),
        {("TCP", "10.0.0.1", 8080), ("TCP", "10.0.0.2", 9090)},
    ),
    "a name of another protocol is no port": ([{"port": "http", "protocol": "UDP"}], (), set()),
    "a name and a number": (
        [{"port": "http"}, {"port": 1}],
        (PortRange("TCP", 1, 1),),
        {("TCP", "10.0.0.1", 8080), ("TCP", "10.0.0.2", 9090)},
    ),
}


@pytest.mark.parametrize(("ports", "numbers", "named"), PORTS.values(), ids=PORTS)
def test_ports_of_ingress(ports, numbers, named):
    (section,) = compiled(podSelector=app, ingress=[{"ports": ports}])
    expected = None if named is None else frozenset(named)
    assert section.rules == (PolicyRule(ports=numbers, named=expected),)


def egress_http(peers):
    spec = {"podSelector": app, "policyTypes": ["Egress"]}
    (section,) = compiled(**spec, egress=[{"to": peers, "ports": [{"port": "http"}]}])
    return section.rules[0]


def test_a_named_port_of_egress_is_resolved_on_the_selected_peers():
    rule = egress_http([{"namespaceSelector": {"matchLabels": {"team": "ops"}}}])
    assert rule.named == {("TCP", "10.0.1.1", 3000)}
    assert rule.addresses == {"10.0.1.1"}


def test_a_named_port_of_egress_to_everyone_is_resolved_on_all_pods():
    assert egress_http([]).named == {
        ("TCP", "10.0.0.1", 8080),
        ("TCP", "10.0.0.2", 9090),
        ("TCP", "10.0.1.1", 3000),
    }


def test_a_named_port_of_egress_to_a_block_is_resolved_on_the_pods_inside():
    rule = egress_http([{"ipBlock": {"cidr": "10.0.0.0/24", "except": ["10.0.0.2/32"]}}])
    assert rule.named == {("TCP", "10.0.0.1", 8080)}


def test_subjects_are_the_selected_pods_of_the_policys_own_namespace():
    (section,) = compiled(podSelector={"matchLabels": {"app": "mon"}})
    assert section.subjects == frozenset()
    (section,) = compiled(podSelector=app)
    assert section.subjects == WEB


def test_a_pod_without_address_is_isolated_already():
    made = estate()
    new = pod("new", "shop", "web", "10.0.0.9")
    new["status"] = {"phase": "Pending"}
    made.put(pod_facts(new))
    policy = {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"podSelector": app}}
    (section,) = compile_policy(read_policy(policy), made)
    assert "new" in section.subjects


def test_a_terminating_pod_goes_on_being_enforced():
    leaving = pod("web-1", "shop", "web", "10.0.0.1", metadata={"deletionTimestamp": "now"})
    assert pod_facts(leaving) is not None


def test_host_and_finished_pods_are_not_seen():
    assert [pod_facts(one) for one in PODS if one["metadata"]["uid"] in ("host", "done")] == [
        None,
        None,
    ]


def test_the_ports_of_a_sidecar_count_and_those_of_an_init_container_do_not():
    one = pod("x", "shop", "web", "10.0.0.9")
    port = [{"name": "metrics", "containerPort": 9000}]
    one["spec"]["initContainers"] = [
        {"name": "side", "restartPolicy": "Always", "ports": port},
        {"name": "init", "ports": [{"name": "setup", "containerPort": 1}]},
    ]
    assert pod_facts(one).ports == (("TCP", "metrics", 9000),)


CONCERNS = {
    "its subject": ({"podSelector": app}, "web-1", True),
    "its peer": (
        {"podSelector": app, "ingress": [{"from": [{"namespaceSelector": {}}]}]},
        "mon",
        True,
    ),
    "neither": ({"podSelector": app, "ingress": [{"from": [{"podSelector": {}}]}]}, "mon", False),
    "a pod in a block, by port number": (
        {"podSelector": app, "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]},
        "mon",
        False,
    ),
    "a pod in a block, by port name": (
        {
            "podSelector": app,
            "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": "http"}]}],
        },
        "mon",
        True,
    ),
}


@pytest.mark.parametrize(("spec", "name", "wanted"), CONCERNS.values(), ids=CONCERNS)
def test_a_policy_knows_which_pods_it_depends_on(spec, name, wanted):
    made = estate()
    policy = read_policy({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec})
    facts = next(f for f in made.pods() if f.uid == name)
    assert policy.concerns(facts, made) is wanted
