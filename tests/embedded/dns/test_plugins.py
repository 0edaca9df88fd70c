"""Plugins one by one, in a chain without sockets."""

import asyncio
import re

import pytest

from k8slab.embedded import wire
from k8slab.embedded.dns import cache as cache_module
from k8slab.embedded.dns.catalogue import Catalogue
from k8slab.embedded.dns.chain import Plan, Query
from k8slab.embedded.dns.corefile import parse
from k8slab.embedded.dns.metrics import Metrics
from k8slab.embedded.dns.plugins import build
from k8slab.embedded.wire import Edns, Message, Record


class Chain:
    """One server block with its log lines; what it cannot answer is asked of `upstream`."""

    def __init__(self, body, zone="."):
        self.lines = []
        self.plan = Plan(
            catalogue=Catalogue(), metrics=Metrics(), file="Corefile", say=self.lines.append
        )
        self.site = build(parse(f"{zone} {{\n{body}\n}}\n")[0], self.plan)
        self.plan.dispatch = self.site.handler
        put = self.plan.catalogue.put
        put("namespaces", {"metadata": {"name": "shop"}})
        for name, spec in {
            "web": {"clusterIPs": ["10.96.1.1"]},
            "ext": {"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"},
            "out": {"type": "ExternalName", "externalName": "api.example"},
            "ring": {"type": "ExternalName", "externalName": "ring.shop.svc.cluster.local"},
        }.items():
            ports = [{"name": "http", "port": 80}]
            meta = {"namespace": "shop", "name": name}
            put("services", {"metadata": meta, "spec": {"ports": ports, **spec}})

    def ask(self, name, kind="A", **fields):
        message = Message(
            id=7, name=wire.canonical(name), type=wire.TYPES[kind], flags=wire.RD, **fields
        )
        result = self.site.handler(Query(message, ("10.244.1.5", 4242), "udp", 42))
        if isinstance(result, Message):
            return result

        async def wait():
            reply = await result
            for close in self.plan.closers:
                close()
            await asyncio.sleep(0)  # lets asyncio close the sockets
            return reply

        return asyncio.run(wait())

    def data(self, name, kind="A"):
        return [record.data for record in self.ask(name, kind).answers]


KUBERNETES = "kubernetes cluster.local"
WEB = "web.shop.svc.cluster.local."


def test_the_cluster_answers_with_authority_and_without_recursion():
    reply = Chain(KUBERNETES).ask(WEB)
    assert reply.flags == wire.QR | wire.AA | wire.RD
    assert reply.answers == (Record(WEB, wire.A, 5, "10.96.1.1"),)


def test_what_nobody_answers_is_refused():
    assert Chain("errors").ask("example.com").rcode == wire.REFUSED


def test_a_zone_that_is_not_synced_yet_fails_instead_of_lying():
    chain = Chain(f"{KUBERNETES}\nerrors")
    chain.plan.synced = lambda: False
    assert chain.ask("nothing.shop.svc.cluster.local").rcode == wire.SERVFAIL
    assert "not synced" in chain.lines[0]


def test_an_external_name_is_followed_inside_the_cluster():
    reply = Chain(KUBERNETES).ask("ext.shop.svc.cluster.local")
    assert [(r.type, r.data) for r in reply.answers] == [
        (wire.CNAME, WEB),
        (wire.A, "10.96.1.1"),
    ]
    assert reply.name == "ext.shop.svc.cluster.local."


def test_an_external_name_is_followed_through_the_other_plugins():
    chain = Chain(KUBERNETES + "\nhosts {\n 203.0.113.9 api.example\n fallthrough\n}")
    assert chain.data("out.shop.svc.cluster.local") == ["api.example.", "203.0.113.9"]


def test_a_ring_of_external_names_ends():
    reply = Chain(KUBERNETES).ask("ring.shop.svc.cluster.local")
    assert 1 < len(reply.answers) < 20


def test_fallthrough_passes_on_only_what_does_not_exist():
    body = "kubernetes cluster.local {\n fallthrough\n}\nforward . 127.0.0.1:1"
    chain = Chain(body)
    assert chain.ask(WEB, "MX").rcode == wire.NOERROR
    assert chain.ask("no.shop.svc.cluster.local").rcode == wire.SERVFAIL


def test_hosts_answers_its_names_and_fails_on_others_without_fallthrough():
    chain = Chain("hosts {\n 10.0.0.1 a.example b.example\n fd00::1 a.example\n}")
    assert chain.data("a.example") == ["10.0.0.1"]
    assert chain.data("A.Example", "AAAA") == ["fd00::1"]
    assert chain.data("1.0.0.10.in-addr.arpa", "PTR") == ["a.example.", "b.example."]
    assert chain.ask("b.example", "AAAA").rcode == wire.NOERROR
    assert chain.ask("c.example").rcode == wire.SERVFAIL


def test_a_name_can_be_rewritten_and_the_answer_has_the_name_that_was_asked():
    chain = Chain(f"{KUBERNETES}\nrewrite name shop.example {WEB}")
    reply = chain.ask("shop.example")
    assert reply.name == "shop.example."
    assert reply.answers == (Record("shop.example.", wire.A, 5, "10.96.1.1"),)


@pytest.mark.parametrize(
    ("rule", "owner"),
    [
        ("suffix .example .shop.svc.cluster.local answer auto", "web.example."),
        ("suffix .example .shop.svc.cluster.local", WEB),
        (r"regex (.*)\.example {1}.shop.svc.cluster.local answer auto", "web.example."),
    ],
)
def test_other_rewrites_change_the_answers_name_only_when_told_to(rule, owner):
    reply = Chain(f"{KUBERNETES}\nrewrite name {rule}").ask("web.example")
    assert [record.name for record in reply.answers] == [owner]
    assert reply.answers[0].data == "10.96.1.1"


def test_a_group_that_the_pattern_has_not_stays_as_it_is_written():
    chain = Chain(f"{KUBERNETES}\nrewrite name regex (.*)\\.example {{1}}.{{2}}.cluster.local")
    assert chain.ask("web.example").rcode == wire.NXDOMAIN


def test_rewrite_rules_are_tried_in_order_and_stop():
    chain = Chain(
        f"{KUBERNETES}\nrewrite name exact a.example {WEB}\nrewrite name prefix a nothing"
    )
    assert chain.data("a.example") == ["10.96.1.1"]


def test_the_log_line_has_the_real_form():
    chain = Chain(f"{KUBERNETES}\nlog")
    chain.ask(WEB, edns=Edns(4096, wire.DNSSEC_OK))
    pattern = (
        r'\[INFO\] 10\.244\.1\.5:4242 - 7 "A IN web\.shop\.svc\.cluster\.local\. '
        r'udp 42 true 4096" NOERROR qr,aa,rd \d+ \d+\.\d+s'
    )
    assert re.fullmatch(pattern, chain.lines[0])


def test_the_log_can_be_limited_to_a_class():
    chain = Chain(f"{KUBERNETES}\nlog {{\n class denial\n}}")
    chain.ask(WEB)
    chain.ask("no.shop.svc.cluster.local")
    assert len(chain.lines) == 1
    assert "NXDOMAIN" in chain.lines[0]


def test_the_log_format_can_be_given():
    chain = Chain(f'{KUBERNETES}\nlog . "{{remote}} asks {{name}} {{type}}"')
    chain.ask(WEB)
    assert chain.lines == [f"[INFO] 10.244.1.5 asks {WEB} A"]


def test_a_cached_answer_outlives_its_source_and_counts_down(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(cache_module.time, "monotonic", lambda: now[0])
    chain = Chain("kubernetes cluster.local {\n ttl 30\n}\ncache 30")
    assert chain.ask(WEB).answers[0].ttl == 30
    chain.plan.catalogue.remove("services", "shop", "web")
    now[0] += 12
    assert chain.ask(WEB).answers[0].ttl == 18
    now[0] += 18
    assert chain.ask(WEB).rcode == wire.NXDOMAIN
    assert chain.plan.metrics.value("coredns_cache_hits_total", type="success") == 1


def test_a_denial_is_cached_by_its_soa(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(cache_module.time, "monotonic", lambda: now[0])
    chain = Chain("kubernetes cluster.local {\n ttl 30\n}\ncache 10")
    assert chain.ask("new.shop.svc.cluster.local").rcode == wire.NXDOMAIN
    spec = {"clusterIPs": ["10.96.1.8"], "ports": [{"port": 1}]}
    meta = {"namespace": "shop", "name": "new"}
    chain.plan.catalogue.put("services", {"metadata": meta, "spec": spec})
    assert chain.ask("new.shop.svc.cluster.local").rcode == wire.NXDOMAIN
    now[0] += 10
    assert chain.data("new.shop.svc.cluster.local") == ["10.96.1.8"]


def test_the_cache_can_be_disabled_for_a_zone():
    chain = Chain(f"{KUBERNETES}\ncache 30 {{\n disable success cluster.local\n disable denial\n}}")
    assert chain.data(WEB) == ["10.96.1.1"]
    chain.plan.catalogue.remove("services", "shop", "web")
    assert chain.ask(WEB).rcode == wire.NXDOMAIN
    assert chain.plan.metrics.value("coredns_cache_hits_total") == 0


def test_loadbalance_keeps_all_records_and_changes_their_order():
    lines = "\n".join(f" 10.0.0.{number} a.example" for number in range(8))
    chain = Chain(f"hosts {{\n{lines}\n}}\nloadbalance")
    orders = {tuple(chain.data("a.example")) for _ in range(20)}
    assert len(orders) > 1
    assert {frozenset(order) for order in orders} == {
        frozenset(f"10.0.0.{number}" for number in range(8))
    }


def test_metrics_count_questions_and_answers():
    chain = Chain(f"{KUBERNETES}\nprometheus")
    chain.ask(WEB)
    chain.ask("no.shop.svc.cluster.local")
    count = chain.plan.metrics.value
    assert count("coredns_dns_requests_total", type="A", proto="udp") == 2
    assert count("coredns_dns_responses_total", rcode="NXDOMAIN", plugin="kubernetes") == 1
    page = chain.plan.metrics.render()
    assert 'coredns_dns_request_duration_seconds_bucket{server="dns://:53"' in page
    assert re.search(r"coredns_dns_request_duration_seconds_count\{[^}]*\} 2\n", page)
