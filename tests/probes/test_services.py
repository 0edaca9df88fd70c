"""A Service with its endpoints and a node's rules: what is read, and what is said instead."""

import pytest

from k8slab.errors import EnvironmentLacksError, ProbeError
from k8slab.policy import Party
from k8slab.probes import services
from k8slab.probes.services import Rule, look

WEB = Party("svc", "web", "shop")
SLICES = services.SLICES
LISTING = """\
table ip kube-proxy {
    set cluster-ips {
        type ipv4_addr
        elements = { 10.96.0.1, 10.96.1.26 }
    }

    map service-ips {
        type ipv4_addr . inet_proto . inet_service : verdict
        comment "ClusterIP, ExternalIP and LoadBalancer IP traffic"
        elements = { 10.96.0.1 . tcp . 443 : goto service-2QRHZV4L-default/kubernetes/tcp/https,
                10.96.1.26 . tcp . 80 : goto service-6LITFDW5-shop/web/tcp/ }
    }

    map service-nodeports {
        type inet_proto . inet_service : verdict
        elements = { tcp . 30080 : goto external-6LITFDW5-shop/web/tcp/ }
    }

    map no-endpoint-services {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.96.7.7 . tcp . 80 : drop, 10.96.1.26 . tcp . 81 : goto reject-chain }
    }

    chain endpoint-RLB5SF2R-shop/web/tcp/__10.244.1.3/8080 {
        meta l4proto tcp dnat to 10.244.1.3:8080
    }

    chain service-XXXXXXXX-shop/web-admin/tcp/ {
        numgen random mod 1 vmap { 0 : goto endpoint-AAAAAAAA-shop/web-admin/tcp/__10.0.0.1/1 }
    }

    chain service-6LITFDW5-shop/web/tcp/ {
        numgen random mod 1 vmap { 0 : goto endpoint-RLB5SF2R-shop/web/tcp/__10.244.1.3/8080 }
    }
}
"""


def service(**spec):
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 81}]
    return {
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"type": "NodePort", "clusterIPs": ["10.96.1.26"], "ports": ports, **spec},
    }


def entry(address, name="", **conditions):
    target = {"targetRef": {"kind": "Pod", "name": name}} if name else {}
    return {"addresses": [address], "conditions": conditions, "nodeName": "worker", **target}


class Cluster:
    """A Service, its slices, and a node that prints a listing (or cannot)."""

    provider, capabilities = "fake", frozenset({"nodes"})

    def __init__(self, found, entries=(), *, listing=LISTING, code=0):
        self.service, self.entries, self.listing, self.code = found, entries, listing, code

    def get(self, *_):
        return self.service

    def list(self, resource, _namespace, *, selector):
        assert (resource, selector) == (SLICES, "kubernetes.io/service-name=web")
        return [{"ports": [{"port": 8080}], "endpoints": [*self.entries]}]

    def node_run(self, node, argv):
        if self.listing is None:
            raise EnvironmentLacksError("no shell")
        assert (node, argv[:2]) == ("worker", ["nft", "list"])
        return type("Done", (), {"stdout": self.listing, "code": self.code})


def test_of_a_nodes_table_what_belongs_to_the_service_is_kept_in_the_order_of_the_way():
    front = look(Cluster(service()), WEB, "worker")
    assert front.rules == (
        Rule("map service-ips", "10.96.1.26 . tcp . 80 : goto service-6LITFDW5-shop/web/tcp/"),
        Rule("map service-nodeports", "tcp . 30080 : goto external-6LITFDW5-shop/web/tcp/"),
        Rule("map no-endpoint-services", "10.96.1.26 . tcp . 81 : goto reject-chain"),
        Rule(
            "chain service-6LITFDW5-shop/web/tcp/",
            "numgen random mod 1 vmap"
            " { 0 : goto endpoint-RLB5SF2R-shop/web/tcp/__10.244.1.3/8080 }",
        ),
        Rule(
            "chain endpoint-RLB5SF2R-shop/web/tcp/__10.244.1.3/8080",
            "meta l4proto tcp dnat to 10.244.1.3:8080",
        ),
    )


@pytest.mark.parametrize(
    ("entries", "wanted"),
    [
        ([entry("10.0.0.1", "a")], [("ready", True)]),
        (
            [entry("10.0.0.1", "a", ready=True), entry("10.0.0.2", "b", ready=False)],
            [("ready", True), ("not ready", False)],
        ),
        (
            [
                entry("10.0.0.1", "a", ready=False, serving=True, terminating=True),
                entry("10.0.0.2", "b", ready=False, serving=False),
            ],
            [("terminating, still serving", True), ("not ready", False)],
        ),
        (
            [
                entry("10.0.0.1", "a", ready=False, serving=True, terminating=True),
                entry("10.0.0.2", "b"),
            ],
            [("terminating, still serving", False), ("ready", True)],
        ),
    ],
)
def test_ready_endpoints_are_used_and_without_any_those_that_still_serve(entries, wanted):
    front = look(Cluster(service(), entries), WEB)
    assert [(one.state, one.used) for one in front.endpoints] == wanted
    assert front.endpoints[0].address == "10.0.0.1:8080"


NEAR, FAR = "10.244.1.3:8080", "10.244.2.2:8080"
BOTH = """\
table ip kube-proxy {
    map service-ips {
        elements = { 10.96.1.26 . tcp . 80 : goto %s-6LITFDW5-shop/web/tcp/ }
    }

    map service-nodeports {
        elements = { tcp . 30080 : goto external-6LITFDW5-shop/web/tcp/ }
    }

    chain external-6LITFDW5-shop/web/tcp/ {
        ip saddr 10.244.0.0/16 goto service-6LITFDW5-shop/web/tcp/
        fib saddr type local jump mark-for-masquerade
        goto %s-6LITFDW5-shop/web/tcp/
    }

    chain service-6LITFDW5-shop/web/tcp/ {
        numgen random mod 2 vmap { 0 : goto endpoint-A-shop/web/a, 1 : goto endpoint-B-shop/web/b }
    }

    chain local-6LITFDW5-shop/web/tcp/ {
        numgen random mod 1 vmap { 0 : goto endpoint-A-shop/web/a }
    }

    chain endpoint-A-shop/web/a {
        meta l4proto tcp dnat to 10.244.1.3:8080
    }

    chain endpoint-B-shop/web/b {
        meta l4proto tcp dnat to 10.244.2.2:8080
    }
}
"""


def used(listing):
    entries = [entry("10.244.1.3", "near"), entry("10.244.2.2", "far")]
    front = look(Cluster(service(), entries, listing=listing), WEB, "worker")
    return {one.address: one.only or "both" for one in front.endpoints if one.used}, front.note


@pytest.mark.parametrize(
    ("inside", "outside", "wanted"),
    [
        ("service", "service", {NEAR: "both", FAR: "both"}),
        ("service", "local", {NEAR: "both", FAR: "inside"}),
        ("local", "service", {NEAR: "both", FAR: "outside"}),
        ("local", "local", {NEAR: "both"}),
    ],
)
def test_an_endpoint_is_used_where_the_nodes_rules_lead_to_it(inside, outside, wanted):
    assert used(BOTH % (inside, outside)) == (wanted, "")


def test_a_node_whose_rules_know_an_endpoint_less_uses_it_not_although_it_is_ready():
    assert used(LISTING) == ({NEAR: "inside"}, "")


def test_a_node_without_a_rule_for_the_service_uses_nobody_and_says_so():
    assert used("table ip kube-proxy {\n}\n") == ({}, "worker has no rule for this Service")


@pytest.mark.parametrize(
    ("found", "addresses"),
    [
        ({}, ["10.96.1.26 port 80/TCP", "every node, port 30080/TCP", "10.96.1.26 port 81/TCP"]),
        (
            {"clusterIP": "None", "clusterIPs": ["None"]},
            ["headless: its name gives the addresses of the endpoints"],
        ),
        (
            {"type": "ExternalName", "externalName": "a.test"},
            ["an alias (CNAME) of a.test"],
        ),
        (
            {"type": "LoadBalancer", "ports": [{"port": 80}]},
            ["10.96.1.26 port 80/TCP", "external address: pending"],
        ),
    ],
)
def test_where_a_service_is_reached_is_told_in_words(found, addresses):
    assert list(look(Cluster(service(**found)), WEB).addresses) == addresses


@pytest.mark.parametrize(
    ("cluster", "node", "told"),
    [
        (Cluster(service(clusterIPs=["None"])), "worker", "without an address of its own"),
        (Cluster(service()), "", "no rules are shown"),
        (Cluster(service(), listing=None), "worker", "cannot be read: no shell"),
        (Cluster(service(), code=1), "worker", "no table of kube-proxy"),
    ],
)
def test_without_rules_it_is_said_why(cluster, node, told):
    front = look(cluster, WEB, node)
    assert (front.rules, front.node) == ((), "")
    assert told in front.note


def test_a_service_that_is_not_there_is_an_error():
    with pytest.raises(ProbeError, match="there is no Service shop/web"):
        look(Cluster(None), WEB)
