import shutil
import tempfile
from pathlib import Path

import pytest

from k8slab.course import load
from k8slab.course.mutants.trials import Trials
from k8slab.testing.fake import FakeCluster

EXAMPLE = Path(__file__).parents[2] / "data" / "solutions" / "90-example"


@pytest.fixture
def example(tmp_path):
    """Give a copy of the example lab that a test may change."""
    return shutil.copytree(EXAMPLE, tmp_path / "90-example")


@pytest.fixture
def trials(tmp_path, monkeypatch):
    """Make the trials of the example's exercise `protect`, on a cluster of plain Python."""
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))

    def make(lab, **how):
        scratch = Path(tempfile.mkdtemp(dir=tmp_path))
        return Trials.on(FakeCluster(reports_denials=True), load(lab), "protect", scratch, **how)

    return make
