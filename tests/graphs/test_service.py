"""A Service with endpoints and rules as picture, table and text: all say the same."""

import shutil
from dataclasses import replace

import pytest

from k8slab.graphs import service as graph
from k8slab.probes.services import Endpoint, Front, Rule

ONE = Endpoint("10.244.1.3:8080", "web-1", "worker", "ready", used=True)
TWO = Endpoint("10.244.2.2:8080", "web-2", "worker2", "not ready", used=False)
CHAIN = "endpoint-RLB5SF2R-shop/web/tcp/__10.244.1.3/8080"
RULES = (
    Rule("map service-ips", "10.96.1.26 . tcp . 80 : goto service-6LITFDW5-shop/web/tcp/"),
    Rule(
        "chain service-6LITFDW5-shop/web/tcp/", f"numgen random mod 1 vmap {{ 0 : goto {CHAIN} }}"
    ),
    Rule(f"chain {CHAIN}", "meta l4proto tcp dnat to 10.244.1.3:8080"),
)
FRONT = Front("shop/web", "ClusterIP", ("10.96.1.26 port 80/TCP",), (ONE, TWO), "worker", RULES)
EMPTY = Front("shop/web", "ClusterIP", ("10.96.1.26 port 80/TCP",), (), note="no rules are shown")


def test_the_summary_counts_the_endpoints_that_are_used():
    wanted = "Service shop/web (ClusterIP): 10.96.1.26 port 80/TCP; 1 of 2 endpoints used by worker"
    assert graph.summary(FRONT) == wanted


def test_without_a_nodes_rules_nobody_says_that_an_endpoint_is_used():
    unread = replace(FRONT, node="", rules=(), note="no rules are shown")
    assert graph.summary(unread).endswith("1 of 2 endpoints can be used")
    assert ">can be used</th>" in graph.table(unread)
    assert "ready  can be used: yes" in graph.text(unread)


def test_an_endpoint_that_only_some_connections_reach_says_so_everywhere():
    partly = replace(FRONT, endpoints=(replace(ONE, only="inside"), TWO))
    assert graph.rows(partly)[0][-1] == "from inside only"
    assert "10.244.1.3:8080, ready, used from inside only;" in graph.alt(partly)
    assert 'label="from inside only\\n0: dnat to 10.244.1.3:8080"' in graph.dot(partly)
    assert "used: from inside only" in graph.text(partly)


def test_table_and_text_have_every_endpoint_and_every_rule():
    html, text = graph.table(FRONT), graph.text(FRONT)
    for told in (html, text):
        for cell in ("web-1", "10.244.2.2:8080", "worker2", "not ready", RULES[0].text):
            assert cell in told
    assert graph.text(EMPTY).endswith("no rules are shown")


def test_the_arrow_to_an_endpoint_says_which_rule_leads_there():
    dot = graph.dot(FRONT)
    assert 'rules -> e0 [label="0: dnat to 10.244.1.3:8080"];' in dot
    assert 'e1 [style=dotted, arrowhead=none, label="not used"];' in dot
    assert "numgen random mod 1 ...\\l" in dot
    assert "nobody" in graph.dot(EMPTY)


def test_of_many_endpoints_some_are_drawn_and_all_are_in_the_table():
    many = Front("a/b", "ClusterIP", (), tuple(ONE for _ in range(40)))
    assert "  e11 [" in graph.dot(many)
    assert "  e12 [" not in graph.dot(many)
    assert graph.picture(many).note.startswith("12 of 40 endpoints are drawn.")
    assert len(graph.rows(many)) == 40


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_the_picture_has_words_for_those_who_do_not_see_it():
    picture = graph.picture(FRONT)
    assert picture.svg.startswith("<svg")
    assert "web-2 10.244.2.2:8080, not ready, not used. 3 rules on worker." in picture.alt
    assert "Nobody is behind it" in graph.alt(EMPTY)
