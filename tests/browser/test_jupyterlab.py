"""The labs in a real browser: `k8slab lab` as a learner types it, Chromium, clicks.

Chromium is Debian's (/usr/bin/chromium), driven by Playwright. What is watched besides the
labs: no error on the console, and no request to anything but our own server.
"""

from pathlib import Path

import pytest
from browser_kit import PATIENCE, ROOT, browsing, needs_chromium, run_all, serving

from k8slab.course import Journal, load, progress, release

# Whole labs, which on a busy machine take minutes.
pytestmark = [needs_chromium, pytest.mark.timeout(900)]


WHOLE = {"02-dns": 9, "03-services": 12, "05-network-policies": 15, "07-troubleshooting": 5}
"""Labs that are worked through with their stretch, and how many exercises both have."""


@pytest.fixture
def journal(cluster):
    journal = Journal()
    files = [Path(f"{journal.path}{ending}") for ending in ("", "-wal", "-shm")]
    for file in files:
        file.unlink(missing_ok=True)
    yield journal
    for file in files:
        file.unlink(missing_ok=True)


def predict_by_clicking(page, question, choice):
    """Choose, say how sure, save; return what the form says then."""
    form = page.locator(".jp-OutputArea-output .widget-vbox").filter(has_text=question).first
    form.get_by_label(choice).check()
    form.locator(".noUi-handle").press("ArrowRight")
    form.get_by_role("button", name="Save").click()
    noted = form.locator("p", has_text="Noted:")
    noted.wait_for()
    return noted.inner_text()


def clear_of(cluster):
    for space in cluster.list("namespaces"):
        if space["metadata"]["name"].startswith("lab0"):
            cluster.delete("namespaces", space["metadata"]["name"])
            cluster.wait("namespaces", space["metadata"]["name"], until="delete")


def work_through(page, url):
    """Run a notebook with answers to its end; nothing may fail in it, and pictures have words."""
    run_all(page, url)
    page.locator(".jp-RenderedHTMLCommon", has_text="predictions:").wait_for()
    assert page.locator("[data-mime-type$=stderr], [data-mime-type$=error]").count() == 0
    for picture in page.locator(".jp-OutputArea-output img").all():
        assert picture.get_attribute("alt"), "a picture without words"
        assert picture.evaluate("image => image.naturalWidth") > 0


def shows_a_journey(page):
    """See that a lost packet has its picture, its words, and every step in a table."""
    picture = page.locator(".jp-OutputArea-output img[alt*='lost at node']").first
    assert "dropped: no policy allows this ingress" in picture.get_attribute("alt")
    shown = picture.locator("xpath=ancestor::*[contains(@class, 'jp-RenderedHTMLCommon')][1]")
    shown.locator("summary", has_text="Every step as a table").click()
    row = shown.locator("tr", has_text="LOST: dropped: no policy allows this ingress")
    assert row.is_visible()
    assert shown.locator("th", has_text="where").is_visible()


def name_of_tab(page):
    """Return what the tab of the open notebook shows."""
    return page.locator("#jp-main-dock-panel .lm-mod-current .lm-TabBar-tabLabel").inner_text()


def test_both_labs_reach_full_marks_in_a_browser(cluster, journal, tmp_path):
    clear_of(cluster)
    labs = tmp_path / "labs"
    built = release.build_solutions(ROOT / "solutions", labs)
    notebooks = [path for path in built if path.stem == path.parent.name not in WHOLE]
    with (
        serving(labs, cluster, "00") as url,
        browsing(url, tmp_path / "profile") as (page, wrong),
    ):
        for notebook in reversed(notebooks):
            first = f"00-orientation/{release.notebook_file('00-orientation')}"
            work_through(page, url.replace(first, str(notebook.relative_to(labs))))
            assert name_of_tab(page) == notebook.name
        said = predict_by_clicking(page, "in another namespace. What happens?", "Both run")
        assert said == "Noted: Both run, side by side. (confidence 4 of 5)"
        assert wrong == []
    clear_of(cluster)
    for name in (path.parent.name for path in notebooks):
        found = progress(load(ROOT / "solutions" / name, journal.seed), journal)
        core = [one for one in found.points if found.tries[one]]
        assert len(core) >= 4
        assert [found.points[one] for one in core] == [found.max_points[one] for one in core]
    (clicked,) = journal.events("00-orientation", "prediction", "same-name")
    assert clicked.data == {"choice": "both", "confidence": 4}


RARELY = {"02-dns", "03-services"}
"""Their browser runs take long, mostly waiting for names on purpose: `make test ARGS="-m slow"`."""

# xdist gives to one worker what is equal before the last "::", so each lab may go elsewhere.
LABS = [
    pytest.param(lab, id=f"{lab}::whole", marks=[pytest.mark.slow] if lab in RARELY else [])
    for lab in WHOLE
]


@pytest.mark.parametrize("name", LABS)
def test_core_and_stretch_reach_full_marks_in_a_browser(name, cluster, journal, tmp_path):
    clear_of(cluster)
    labs = tmp_path / "labs"
    built = release.build_solutions(ROOT / "solutions", labs)
    with (
        serving(labs, cluster, name[:2]) as url,
        browsing(url, tmp_path / "profile") as (page, wrong),
    ):
        page.set_default_timeout(4 * PATIENCE)  # its stretch has nine parts
        for notebook in [path.name for path in built if path.parent.name == name]:
            work_through(page, url.replace(release.notebook_file(name), notebook))
            if notebook == "07-troubleshooting.ipynb":
                shows_a_journey(page)
        assert wrong == []
    clear_of(cluster)
    found = progress(load(ROOT / "solutions" / name, journal.seed), journal)
    assert len(found.points) == WHOLE[name]
    assert found.points == found.max_points
