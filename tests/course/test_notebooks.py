"""A notebook's code runs confined, and what it leaves is graded like a stranger's bundle."""

import json
from pathlib import Path

import pytest

from k8slab.course import load, notebooks
from k8slab.grading import Status

LABS = Path(__file__).parents[1] / "data" / "solutions"
SPACE = "lab90-protect"

POLICY = """%%apply
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-web}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}]
"""
HOSTILE = """
import os
from pathlib import Path
from k8slab.course import Journal
print(os.listdir("/"))
Journal().add("90-example", "check", "look", status="passed", points=1)
(Path("/k8slab") / "answers.zip").symlink_to("/etc/passwd")
"""


def notebook(file, *cells):
    made = [
        {
            "cell_type": "code",
            "id": f"c{n}",
            "metadata": {},
            "source": text,
            "outputs": [],
            "execution_count": None,
        }
        for n, text in enumerate(cells)
    ]
    kernel = {"kernelspec": {"display_name": "p", "language": "python", "name": "python3"}}
    book = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": made}
    file.write_text(json.dumps(book))
    return file


@pytest.mark.slow
def test_a_notebook_is_graded_by_what_it_does_and_not_by_what_it_claims(
    cluster, tmp_path, monkeypatch
):
    assert cluster.name  # this machine can run one
    monkeypatch.setenv("K8SLAB_LABS", str(LABS))
    file = notebook(
        tmp_path / "anna.ipynb",
        "from k8slab import lab",
        "lab.start()",
        'lab.begin("protect")',
        "raise ValueError('a broken cell costs nothing')",
        POLICY,
        'lab.check("protect")',
        HOSTILE,
    )
    lab = load(LABS / "90-example")
    report = notebooks.grade_notebook(file, lab, 0, told=lambda _line: None)
    (grades,) = report.learners
    assert grades.error == ""
    scores = {score.result.exercise: score for score in grades.scores}
    assert scores["protect"].result.status is Status.PASSED
    assert scores["protect"].agrees
    assert scores["look"].points == 0
    assert scores["look"].claimed == 1


@pytest.mark.slow
def test_a_notebook_that_leaves_nothing_is_said(cluster, tmp_path, monkeypatch):
    assert cluster.name
    monkeypatch.setenv("K8SLAB_LABS", str(LABS))
    file = tmp_path / "anna.ipynb"
    file.write_text("{")
    report = notebooks.grade_notebook(file, load(LABS / "90-example"), 0, told=lambda _line: None)
    assert "it left nothing to grade" in report.learners[0].error


@pytest.mark.parametrize("content", [b"no", b"{}", b"[]", b"\xff", b'{"nbformat": "x"}'])
def test_a_file_that_is_no_notebook_is_said_without_a_traceback(tmp_path, content):
    (tmp_path / "anna.ipynb").write_bytes(content)
    with pytest.raises(SystemExit, match="it is no notebook that Jupyter can read: "):
        notebooks._notebook(tmp_path / "anna.ipynb")
