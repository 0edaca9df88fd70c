"""The policy graph in JupyterLab: clicked, reached with the keyboard, and asked by choosing."""

import json
import os
import shutil
from pathlib import Path

import pytest
from browser_kit import ROOT, browsing, needs_chromium, run_all, serving

pytestmark = [
    needs_chromium,
    pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed"),
]

POD = """\
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}
spec: {{containers: [{{name: a, ports: [{{containerPort: {port}}}]}}]}}
"""
POLICY = """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db-web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
"""
CELL = """\
from k8slab import policies
policies("shop", manifests=["shop.yaml"])"""


def notebook():
    cell = {"cell_type": "code", "id": "why", "metadata": {}, "outputs": [], "source": CELL}
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": spec},
        "cells": [{**cell, "execution_count": None}],
    }


@pytest.fixture
def labs(tmp_path):
    shutil.copytree(ROOT / "labs", tmp_path / "labs")
    place = tmp_path / "labs" / "00-orientation"
    ports = {"web": 80, "db": 5432, "batch": 80}
    text = "".join(POD.format(name=name, port=port) for name, port in ports.items())
    (place / "shop.yaml").write_text(text + POLICY)
    (place / "why.ipynb").write_text(json.dumps(notebook()))
    return tmp_path / "labs"


def test_an_edge_tells_its_reasons_by_click_key_and_choice(cluster, labs, tmp_path):
    with (
        serving(labs, cluster, "00") as url,
        browsing(url, tmp_path / "profile") as (page, wrong),
    ):
        run_all(page, url.replace("00-orientation.ipynb", "why.ipynb"))
        picture = page.locator("[data-k8slab]")
        said = picture.get_by_role("status")
        edge = picture.get_by_role("button", name="shop: web to shop: db: TCP 5432 is allowed")
        edge.focus()
        page.keyboard.press("Enter")
        assert "rule spec.ingress[0] of NetworkPolicy shop/db-web" in said.inner_text()
        assert edge.get_attribute("aria-pressed") == "true"

        picture.get_by_role("button", name="shop: db is selected by:").click()
        assert said.inner_text().splitlines()[1].strip() == "NetworkPolicy shop/db-web (ingress)"

        picture.get_by_role("combobox").nth(0).select_option("shop/batch")
        picture.get_by_role("combobox").nth(1).select_option("shop/db")
        assert "label app=batch is not app=web" in said.inner_text()

        edge.locator("text").click()
        assert "peer from[0] {podSelector: {matchLabels: {app: web}}}" in said.inner_text()
        if place := os.environ.get("K8SLAB_SCREENSHOTS"):
            page.screenshot(path=Path(place) / "policies.png")
        assert wrong == []
