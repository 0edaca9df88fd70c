"""`k8slab lab --resume` in a browser: the notebook opens at the cell where the learner was."""

import json
import shutil

from browser_kit import READY, ROOT, browsing, needs_chromium, serving

from k8slab.course import Journal

pytestmark = needs_chromium

ACTIVE = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cell = panel.content.activeCell;
    const seen = cell.node.getBoundingClientRect(), view = panel.node.getBoundingClientRect();
    return {path: panel.context.path, source: cell.model.sharedModel.getSource(),
            visible: seen.top >= view.top && seen.top < view.bottom};
}"""


def test_a_learner_goes_on_where_they_were(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_JOURNAL", str(tmp_path / "progress.sqlite"))
    labs = shutil.copytree(ROOT / "labs", tmp_path / "labs")
    journal = Journal()
    journal.add("00-orientation", "check", "manifest")
    journal.add("02-dns", "observation", "one-of-two", lines=[])
    with (
        serving(labs, cluster, "--resume") as url,
        browsing(url, tmp_path / "profile") as (page, wrong),
    ):
        assert "/lab/tree/02-dns/02-dns-stretch.ipynb?token=" in url
        page.goto(url)
        page.wait_for_function(READY)
        page.wait_for_function(f"() => ({ACTIVE})().source.includes('lab.observe')")
        page.wait_for_function(f"() => ({ACTIVE})().visible")
        found = page.evaluate(ACTIVE)
        assert found["path"] == "02-dns/02-dns-stretch.ipynb"
        assert 'lab.observe("one-of-two")' in found["source"]
        assert wrong == []
    cells = json.loads((labs / "02-dns" / "02-dns-stretch.ipynb").read_text())["cells"]
    (wanted,) = [one["id"] for one in cells if found["source"] == "".join(one["source"])]
    assert url.endswith(f"#cell-id={wanted}")
