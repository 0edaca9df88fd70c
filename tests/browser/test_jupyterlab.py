"""The labs in a real browser: `k8slab lab` as a learner types it, Chromium, clicks.

Chromium is Debian's (/usr/bin/chromium), driven by Playwright. What is watched besides the
labs: no error on the console, and no request to anything but our own server.
"""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from k8slab.course import Journal, load, progress, release

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 90_000
"""Milliseconds, as Playwright counts: for a whole notebook on a busy machine."""

# The kernel is connected and idle: before that JupyterLab drops "run all" without a word.
READY = """() => {
    const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
    const kernel = context?.session?.kernel;
    return Boolean(context?.isReady && kernel?.connectionStatus === 'connected'
        && kernel?.status === 'idle');
}"""
# Not awaited here: only a wait of Playwright's own ends when its patience does.
RUN_ALL = """() => {
    window.ran = false;
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.ran = true; });
}"""

pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason=f"{CHROMIUM} is missing: apt install chromium"
)


@contextmanager
def serving(labs, cluster, lab):
    """Run `k8slab lab` as a learner does; yields the URL that it prints."""
    argv = [Path(sys.executable).with_name("k8slab"), "lab", lab, "--no-browser"]
    argv += ["--name", cluster.name, "--", "--LabApp.expose_app_in_browser=True"]
    own = {"K8SLAB_LABS": labs, "JUPYTERLAB_WORKSPACES_DIR": labs / ".workspaces"}
    process = subprocess.Popen(
        argv,
        env={**os.environ, **{name: str(path) for name, path in own.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1\S+", line):
                yield found[0]
                break
        else:
            pytest.fail(f"k8slab lab ended:\n{''.join(said)}")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


@contextmanager
def browsing(url, profile):
    """Start Chromium; yields a page, and the list of what goes wrong in it (`url` is ours)."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only this test needs it

    wrong = []
    own = url.partition("/lab")[0]

    def asked(request):
        if not request.url.startswith((own, own.replace("http", "ws"), "data:", "blob:")):
            wrong.append(f"a request to {request.url}")

    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            str(profile),
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1280, "height": 1000},
        )
        page = context.pages[0]
        page.set_default_timeout(PATIENCE)
        page.on("request", asked)
        page.on("console", lambda m: m.type == "error" and wrong.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
        try:
            yield page, wrong
        finally:
            context.close()


@pytest.fixture
def journal(cluster):
    journal = Journal()
    files = [Path(f"{journal.path}{ending}") for ending in ("", "-wal", "-shm")]
    for file in files:
        file.unlink(missing_ok=True)
    yield journal
    for file in files:
        file.unlink(missing_ok=True)


def run_all(page, url):
    page.goto(f"{url}&reset")  # without the tabs of before
    page.wait_for_function(READY)
    page.evaluate(RUN_ALL)
    page.wait_for_function("() => window.ran")
    page.wait_for_function(READY)


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


def test_both_labs_reach_full_marks_in_a_browser(cluster, journal, tmp_path):
    clear_of(cluster)
    labs = tmp_path / "labs"
    built = release.build_solutions(ROOT / "solutions", labs)
    notebooks = [path for path in built if path.stem == "lab"]
    with (
        serving(labs, cluster, "00") as url,
        browsing(url, tmp_path / "profile") as (page, wrong),
    ):
        for notebook in reversed(notebooks):
            place = str(notebook.relative_to(labs))
            run_all(page, url.replace("00-orientation/lab.ipynb", place))
            page.locator(".jp-RenderedHTMLCommon", has_text="predictions:").wait_for()
            assert page.locator("[data-mime-type$=stderr], [data-mime-type$=error]").count() == 0
            for picture in page.locator(".jp-OutputArea-output img").all():
                assert picture.get_attribute("alt"), "a picture without words"
                assert picture.evaluate("image => image.naturalWidth") > 0
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
