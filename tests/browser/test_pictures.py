"""Pictures as Chromium draws them: letters are wider there than where boxes are laid out."""

import shutil

import pytest
from browser_kit import CHROMIUM, FLAGS, needs_chromium

from k8slab.graphs import matrix, service
from k8slab.graphs.journey import JourneyGraph
from k8slab.policy import Flow, Party
from k8slab.probes import Matrix, Observation, Outcome, Port
from k8slab.probes.journey import Journey, Place, Step
from k8slab.probes.services import Endpoint, Front, Rule

pytestmark = needs_chromium
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")

# Texts that stand out of their box, or of the whole picture, to the right, and how far.
OUTSIDE = """box => [...document.querySelectorAll('text')].map(text => {
    const around = text.closest(box)?.querySelector('polygon, path') || text.closest('svg');
    const right = element => element.getBoundingClientRect().right;
    return [text.textContent, right(text) - right(around)];
}).filter(([, outside]) => outside > 0)"""


@pytest.fixture(scope="module")
def page():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only this test needs it

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page()
        browser.close()


def outside(page, picture):
    page.set_content(picture.svg)
    assert page.locator("text").count() > 2
    return page.evaluate(OUTSIDE, "g.node")  # as dot calls them


def journey():
    web, node = Place("pod", "shop/web"), Place("node", "worker")
    wide = "destination 10.96.161.165:8080 becomes 10.244.155.155:8080, and so on"
    steps = (
        Step("there", web, "route", "route 0.0.0.0/0 via 169.254.1.1 by eth0"),
        Step("there", node, "rewritten", wide),
    )
    return JourneyGraph(Journey(Flow.of("shop/web", "svc:shop/db", 80), Outcome.OPEN, steps=steps))


def front():
    rules = (
        Rule("chain service-2W42447X-shop-2026/web-10-244-155-155-8080-80/", "numgen random"),
        Rule("map service-ips", "10.96.144.131 . tcp . 80 : goto service-PW42GPMX-lab03-endpoints"),
    )
    one = Endpoint("10.244.1.3:8080", "web-1", "worker", "ready", used=True)
    return Front("shop/web", "ClusterIP", ("10.96.1.26 port 80/TCP",), (one,), "worker", rules)


@needs_dot
@pytest.mark.parametrize(
    "picture", [lambda: journey().picture(), lambda: service.picture(front())], ids=["way", "rules"]
)
def test_words_stay_in_their_boxes(page, picture):
    assert outside(page, picture()) == []


def test_the_legend_of_a_matrix_is_shown_whole(page):
    spaces = ("lab01-open", "lab01-open-data")
    pods = tuple(Party("pod", "db", space) for space in spaces)
    seen = Observation(Flow(*pods, 5432), Outcome.REFUSED)
    found = Matrix(pods, pods, (Port(5432),), {(*pods, Port(5432)): seen})
    assert outside(page, matrix.picture(found)) == []
