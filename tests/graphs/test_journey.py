"""The picture of a journey: words and shapes besides colours, and the table that says the same."""

import re
import shutil

import pytest

from k8slab.graphs.journey import JourneyGraph
from k8slab.policy import Flow
from k8slab.probes import Outcome
from k8slab.probes.journey import Journey, Place, Step

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")

WEB, NODE, SWITCH, DB = (
    Place("pod", "shop/web"), Place("node", "worker"), Place("switch", ""), Place("pod", "shop/db"),
)  # fmt: skip
SENT = "10.244.1.2:40001 > 10.96.0.20:80 SYN"


def step(leg, place, kind, text, packet=""):
    return Step(leg, place, kind, text, packet, 0.0 if packet else None)


def arrived():
    steps = (
        step("there", WEB, "leaves", "sent by eth0", SENT),
        step("there", NODE, "enters", "comes in by cali1", SENT),
        step("there", NODE, "endpoint", "endpoint 10.244.1.3:8080, drawn out of 3"),
        step("there", NODE, "leaves", "leaves by cali2", "10.244.1.2:40001 > 10.244.1.3:8080 SYN"),
        step("there", DB, "enters", "comes in by eth0", SENT),
        step("back", DB, "leaves", "sent by eth0", "10.244.1.3:8080 > 10.244.1.2:40001 SYN,ACK"),
        step("back", NODE, "rewritten", "source 10.244.1.3:8080 becomes 10.96.0.20:80"),
        step("back", NODE, "leaves", "leaves by cali1", "10.96.0.20:80 > 10.244.1.2:40001 SYN,ACK"),
        step("back", WEB, "enters", "comes in by eth0", SENT),
    )
    return Journey(Flow.of("shop/web", "svc:shop/db", 80), Outcome.OPEN, steps=steps)


def lost():
    dropped = step("there", NODE, "lost", "dropped: no policy allows this ingress")
    steps = (*arrived().steps[:2], dropped)
    return Journey(Flow.of("shop/web", "shop/db", 80), Outcome.SILENT, steps=steps, lost=dropped)


def test_the_way_back_uses_the_boxes_of_the_way_there():
    dot = JourneyGraph(arrived()).dot()
    assert len(re.findall(r"^  s\d+ \[", dot, re.MULTILINE)) == 3
    assert re.findall(r"(s\d) -> (s\d)", dot) == [
        ("s0", "s1"), ("s1", "s2"), ("s2", "s1"), ("s1", "s0")
    ]  # fmt: skip
    assert "style=dashed" in dot


def test_the_losing_hop_has_its_own_shape_and_says_so():
    dot = JourneyGraph(lost()).dot()
    (box,) = (line for line in dot.splitlines() if "octagon" in line)
    assert "LOST HERE: dropped: no policy" in box
    assert "node worker" in box


@pytest.mark.parametrize(
    ("kind", "text"),
    [("lost", "rejected: the Service has no endpoint"), ("refused", "no program listens on 9")],
)
def test_a_refusal_is_not_told_as_a_loss(kind, text):
    end = step("there", NODE, kind, text)
    steps = (*arrived().steps[:2], end)
    graph = JourneyGraph(
        Journey(
            Flow.of("shop/web", "shop/db", 80),
            Outcome.REFUSED,
            steps=steps,
            lost=end if kind == "lost" else None,
        )
    )
    (box,) = (line for line in graph.dot().splitlines() if "peripheries=2" in line)
    assert f"REFUSED HERE: {text}" in box
    assert f"refused at node worker: {text}" in graph.alt()
    assert f"REFUSED: {text}" in graph.table()
    for told in (graph.dot(), graph.alt(), graph.table(), graph.journey.text()):
        assert "lost" not in told.lower()


def test_what_was_lost_out_of_sight_is_not_said_to_be_lost_at_the_place_before():
    left = Step("there", WEB, "lost", "it came to no place watched", facts={"after": True})
    seen = Journey(Flow.of("shop/web", "shop/db", 80), Outcome.SILENT, steps=(left,), lost=left)
    assert "LOST AFTER THIS: it came to no place watched" in JourneyGraph(seen).dot()
    assert "lost somewhere after pod shop/web" in JourneyGraph(seen).alt()


def test_the_sign_of_the_outcome_is_for_terminals_and_not_for_pictures():
    graph = JourneyGraph(lost())
    assert graph.journey.text().startswith(". shop/web -> ")
    assert graph.alt().startswith("shop/web -> ")
    assert 'label="shop/web -> ' in graph.dot()


def test_the_alt_text_tells_outcome_and_places():
    alt = JourneyGraph(lost()).alt()
    assert "silent, lost at node worker: dropped: no policy allows this ingress" in alt
    assert "There: pod shop/web, node worker." in alt


def test_a_pod_that_asks_itself_is_drawn():
    steps = (
        step("there", WEB, "leaves", "sent by lo", SENT),
        step("there", WEB, "enters", "comes in by lo", SENT),
        step("back", WEB, "leaves", "sent by lo", SENT),
    )
    journey = Journey(Flow.of("shop/web", "shop/web", 80), Outcome.OPEN, steps=steps)
    assert JourneyGraph(journey).dot().count("[shape=box") == 1


def test_the_table_has_every_step():
    table = JourneyGraph(lost()).table()
    assert table.count("<tr>") == 1 + 3
    assert "LOST: dropped" in table


@needs_dot
def test_it_is_drawn_in_every_form():
    graph = JourneyGraph(lost())
    assert "LOST HERE" in graph.picture().svg
    assert graph.file("png").startswith(b"\x89PNG")
    assert b"digraph" in graph.file("dot")
