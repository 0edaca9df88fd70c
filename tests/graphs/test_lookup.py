"""A look-up as picture, table and text: all three say the same."""

import shutil

import pytest

from k8slab.graphs import lookup as graph
from k8slab.probes.lookups import Lookup, Query

SERVER = "10.96.0.10"
FIRST = "example.com.shop.svc.cluster.local."


def lookup(*queries, code=0, said="203.0.113.10"):
    return Lookup(
        pod="shop/web",
        name="example.com",
        command="",
        code=code,
        said=said,
        seconds=0.01,
        search=("shop.svc.cluster.local",),
        options="ndots:5",
        queries=queries,
    )


FOUND = lookup(
    Query(FIRST, "A", SERVER, "NXDOMAIN"),
    Query(FIRST, "AAAA", SERVER, "NXDOMAIN"),
    Query("example.com.", "A", SERVER, "NOERROR", ("A 203.0.113.10",)),
    Query("example.com.", "AAAA", SERVER, "NOERROR"),
)


def test_the_summary_counts_queries_and_names():
    assert graph.summary(FOUND) == (
        "example.com from shop/web: 4 queries for 2 names; found 203.0.113.10"
    )
    one = lookup(Query("example.com.", "A", SERVER), code=2, said="unknown")
    assert graph.summary(one).endswith("1 query for 1 name; nothing was found")


def test_several_look_ups_are_ordered_by_their_cost():
    one = lookup(Query("example.com.", "A", SERVER, "NOERROR"))
    assert graph.ranking([FOUND, one, one]) == (
        "fewest queries first: example.com 1 = example.com 1 < example.com 4"
    )
    again = lookup(Query("example.com.", "A", SERVER), *one.queries)
    assert "cannot be compared" in graph.ranking([FOUND, again])


def test_a_second_server_is_a_step_of_its_own():
    silent = Query("example.com.", "A", "10.96.0.58")
    found = lookup(silent, Query("example.com.", "A", SERVER, "NOERROR", ("A 203.0.113.10",)))
    assert [len(queries) for _, queries in found.steps()] == [1, 1]
    assert "2 queries for 1 name;" in graph.summary(found)
    assert "A asked of 10.96.0.58\\nno answer" in graph.dot(found)


def test_many_addresses_are_counted_and_not_listed():
    many = "\n".join(f"192.0.2.{n}" for n in range(60))
    assert graph.summary(lookup(said=many)).endswith("found 60 addresses")


def test_table_and_text_have_a_row_for_each_query():
    assert [row[:3] for row in graph.rows(FOUND)] == [
        ["1", FIRST, "A"],
        ["1", FIRST, "AAAA"],
        ["2", "example.com.", "A"],
        ["2", "example.com.", "AAAA"],
    ]
    html, text = graph.table(FOUND), graph.text(FOUND)
    for row in graph.rows(FOUND):
        for cell in row:
            assert cell in html
            assert cell in text


def test_a_step_is_told_by_its_frame_and_in_words():
    dot = graph.dot(lookup(*FOUND.queries, Query("x.", "A", SERVER)))
    frames = [line for line in dot.splitlines() if line.startswith("  step") and "label" in line]
    assert ["dashed" in line for line in frames] == [True, False, False]
    assert ["peripheries=2" in line for line in frames] == [False, True, False]
    assert ["dotted" in line for line in frames] == [False, False, True]
    assert "NXDOMAIN (no such name)" in frames[0]
    assert "no answer" in frames[2]


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_the_picture_has_words_for_those_who_do_not_see_it():
    picture = graph.picture(FOUND)
    assert picture.svg.startswith("<svg")
    assert "step 1: example.com.shop.svc.cluster.local. NXDOMAIN" in picture.alt
    assert "step 2: example.com. A 203.0.113.10; no AAAA record." in picture.alt


def test_a_look_up_that_asked_nobody_is_told_too():
    assert "Nothing was asked" in graph.alt(lookup(code=2, said="no name server"))
