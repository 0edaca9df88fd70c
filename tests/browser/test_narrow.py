"""A narrow window of JupyterLab: long choices can be told apart, and lines break between words."""

import json
import shutil
from itertools import pairwise

import pytest
from browser_kit import READY, ROOT, browsing, needs_chromium, run_all, serving

pytestmark = needs_chromium

CELL = """\
from k8slab.notebook.questions import form
long = "Kubernetes only asks for a balancer; somebody else has to provide one, or nobody does."
from k8slab.notebook.views import View, shown, wrapped
shown(View("", wrapped(["10.96.0.10 " * 30])))
form("Why?", {"a": long, "b": long}, call="", save=lambda *_: "", confidence=False)"""
# Top and bottom of each choice's words and of its button, in order.
PLACES = """() => [...document.querySelectorAll('.widget-radio-box label')].map(label => {
    const words = document.createRange();
    words.selectNodeContents(label.firstChild);
    return [words, label.querySelector('input')].map(part => {
        const {top, bottom} = part.getBoundingClientRect();
        return [top, bottom];
    });
})"""
# The words of the output that stand on two lines.
BROKEN = """() => {
    const text = document.querySelector('.jp-OutputArea-output pre').firstChild;
    const lines = (from) => {
        const word = document.createRange();
        word.setStart(text, from);
        word.setEnd(text, from + 10);
        return word.getClientRects().length;
    };
    return [...Array(30).keys()].filter(number => lines(11 * number) > 1);
}"""


@pytest.fixture
def labs(tmp_path):
    shutil.copytree(ROOT / "labs", tmp_path / "labs")
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cell = {"cell_type": "code", "id": "form", "metadata": {}, "outputs": [], "source": CELL}
    text = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": spec},
        "cells": [{**cell, "execution_count": None}],
    }
    (tmp_path / "labs" / "00-orientation" / "form.ipynb").write_text(json.dumps(text))
    return tmp_path / "labs"


def test_long_choices_do_not_lie_over_each_other(cluster, labs, tmp_path):
    with (
        serving(labs, cluster, "00") as url,
        browsing(url, tmp_path / "profile") as (page, wrong),
    ):
        page.set_viewport_size({"width": 520, "height": 1000})
        run_all(page, url.replace("00-orientation.ipynb", "form.ipynb"))
        page.wait_for_function(READY)
        page.locator(".widget-radio-box label").last.wait_for()
        places = page.evaluate(PLACES)
        assert page.evaluate(BROKEN) == []
        assert wrong == []
    assert len(places) == 2
    for (top, bottom), (button, _) in places:
        assert bottom - top > 30, "the words take one line: the window is too wide for this test"
        assert button < top + 20, "the button stands beside the first line"
    for (words, _), (after, _) in pairwise(places):
        assert words[1] <= after[0]
