"""The whole book is built without a network, and read in a browser: wide, narrow, light and dark.

No lab runs here (`test_runs.py` runs one): the outputs of the lab on which learners begin are made
up, of all the forms that there are, and wider than any page.
"""

import re

import pytest
from bookmaking import stage
from bookmaking.__main__ import build, main
from browser_kit import CHROMIUM, FLAGS, PATIENCE, needs_chromium
from click.testing import CliRunner

from k8slab.graphs.svg import Picture, html_table

WIDE = "k8slab-control-plane " * 12
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="1800" height="60"><rect width="1800"/></svg>'
pytestmark = pytest.mark.timeout(900)  # some twenty pages, on a machine that may be busy

READERS = {"dark": (360, 740), "light": (1280, 900)}
"""A telephone at night, and a screen by day: width and height in pixels."""


def outputs():
    """Return an output of each form: pictures, tables and texts that are wider than the page."""
    picture = Picture(SVG, alt="a wide picture").html()
    shown = [f"<pre>{WIDE}</pre>", picture, html_table(["a"] * 12, [[WIDE] * 12])]
    made = [{"output_type": "display_data", "data": {"text/html": one}} for one in shown]
    return [*made, {"output_type": "stream", "name": "stdout", "text": WIDE}]


def executed():
    source = stage.sources(["00"])[0]
    book = stage.read_source(source / "lab.md")
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = outputs()
    answer = "### BEGIN SOLUTION\nlab.answer('bird', 'quokka')\n### END SOLUTION"
    cell = {"cell_type": "code", "metadata": {}, "source": answer, "outputs": outputs()}
    book["cells"].append(cell)
    return {source.name: book}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the book once; Sphinx takes a warning for an error."""
    out = tmp_path_factory.mktemp("site")
    assert build(out, executed()) == []
    return out


def test_there_is_a_chapter_for_each_notebook(site):
    notebooks = {path.stem for path in stage.LABS.glob("*/*.ipynb")}
    chapters = {path.stem for path in (site / "labs").glob("[0-9]*.html")}
    assert chapters == notebooks


def test_nothing_but_an_earlier_book_is_removed(tmp_path):
    (tmp_path / "thesis.html").write_text("mine")
    done = CliRunner().invoke(main, ["--no-run", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "holds something else than a book" in done.output
    assert (tmp_path / "thesis.html").read_text() == "mine"


def test_a_chapter_tells_its_estimate_and_calls_it_that(site):
    for chapter in (site / "labs").glob("[0-9]*.html"):
        assert "Computed estimate: about" in chapter.read_text(encoding="utf-8")


def test_an_answer_is_not_found_by_the_search(site):
    page = (site / "labs" / "00-orientation.html").read_text(encoding="utf-8")
    told = (site / "searchindex.js").read_text(encoding="utf-8")
    assert "quokka" in page
    assert "orient" in told  # it is an index of words, by their stems
    assert "quokka" not in told


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only browsers need it

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(site, browser):
    """Open a page that notes in `wrong` whatever goes wrong in it."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.wrong = wrong = []

    def asked(request):
        if not request.url.startswith((site.as_uri(), "data:")):
            wrong.append(f"a request to {request.url}")

    page.on("request", asked)
    page.on("console", lambda m: m.type == "error" and wrong.append(f"console: {m.text}"))
    page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
    yield page
    page.context.close()


@needs_chromium
def test_every_page_fits_is_readable_and_asks_nobody(site, page):
    for path in pages(site):
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        for scheme, (width, height) in READERS.items():
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
            name = f"{path.relative_to(site)}, {scheme}, {width} pixels wide"
            if sideways := page.evaluate(SIDEWAYS):
                page.wrong.append(f"{name}: scrolls sideways by {sideways}")
            page.wrong += [f"{name}: {one}" for one in page.evaluate(UNREADABLE)]
    assert page.wrong == []


@needs_chromium
def test_the_sheet_of_kubectl_is_one_page_on_paper(site, page):
    page.goto((site / "kubectl-sheet.html").as_uri())
    for paper in ("A4", "Letter"):
        margin = dict.fromkeys(("top", "bottom", "left", "right"), "12mm")
        printed = page.pdf(format=paper, margin=margin)
        assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1, paper


@needs_chromium
def test_an_answer_is_folded_until_it_is_asked_for(site, page):
    page.goto((site / "labs" / "00-orientation.html").as_uri())
    fold = page.locator("details.k8slab-fold", has_text="One answer").first
    answer = fold.locator("pre").first
    assert not answer.is_visible()
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    answer.wait_for(state="visible")
    assert page.wrong == []


# How many pixels there are beside the page, and who is there: what does not scroll by itself.
SIDEWAYS = """() => {
    const width = document.documentElement.clientWidth;
    const over = document.documentElement.scrollWidth - width;
    if (over <= 0) { return ''; }
    const scrolls = (one) => one && (
        getComputedStyle(one).overflowX !== 'visible' || scrolls(one.parentElement));
    const wide = [...document.querySelectorAll('main *')].filter(
        one => one.getBoundingClientRect().right > width + 1 && !scrolls(one.parentElement));
    return over + ' px: ' + wide.slice(0, 5).map(one => one.outerHTML.slice(0, 80)).join(' ');
}"""

# Text and its background in the main part: their contrast is at least that of WCAG 2 for large
# letters, 3 to 1. Not all pairs are found so, but letters of the other scheme are.
UNREADABLE = """() => {
    const light = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(one => {
            const part = one / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (one) => {
        for (let at = one; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!/, 0\\)$|transparent/.test(colour)) { return colour; }
        }
        return 'rgb(255, 255, 255)';
    };
    const own = (one) => [...one.childNodes].some(
        node => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    const found = new Set();
    for (const one of document.querySelectorAll('article *')) {
        const shown = one.checkVisibility({checkOpacity: true, checkVisibilityCSS: true});
        if (!shown || !own(one) || one.closest('svg')) { continue; }
        const pair = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
        const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
        if (contrast < 3) {
            found.add(`${one.tagName}.${one.className}: contrast ${contrast.toFixed(1)}`);
        }
    }
    return [...found].slice(0, 5);
}"""


def pages(site):
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)
