"""JupyterLab as a learner starts it, and a Chromium that tells what goes wrong in it."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

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

needs_chromium = pytest.mark.skipif(
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
        process.communicate(timeout=PATIENCE / 1000)


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
            timeout=PATIENCE,
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


def run_all(page, url):
    page.goto(f"{url}&reset")  # without the tabs of before
    page.wait_for_function(READY)
    page.evaluate(RUN_ALL)
    page.wait_for_function("() => window.ran")
    page.wait_for_function(READY)
