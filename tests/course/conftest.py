import os
from pathlib import Path

import pytest

from k8slab.course import Journal, Session, load
from k8slab.testing.fake import FakeCluster

DATA = Path(__file__).parents[1] / "data" / "solutions"


@pytest.fixture(autouse=True)
def _not_the_users_own(tmp_path, monkeypatch):
    """Keep what a test grades out of the state directory of whoever runs it."""
    if "K8SLAB_HOME" not in os.environ:
        monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))
    lab = load(DATA / "90-example")
    return Session(lab, FakeCluster(), Journal(tmp_path / "home" / "progress.sqlite"))
