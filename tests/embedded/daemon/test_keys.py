"""A new cluster's keys are made in a child; an old one's are left alone."""

import os

from k8slab.embedded.apiserver import pki
from k8slab.embedded.config import ClusterConfig
from k8slab.embedded.daemon import keys


def test_the_child_makes_everything_that_the_daemon_would_make(tmp_path):
    pid = keys.begin(tmp_path, ClusterConfig(name="new"))

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert pki.is_intact(tmp_path / "pki")
    assert {path.name for path in (tmp_path / "world").iterdir()} == {
        "world-ca.crt",
        "world.crt",
        "world.key",
    }


def test_no_child_is_needed_where_keys_are(tmp_path):
    (tmp_path / "pki").mkdir()

    assert keys.begin(tmp_path, ClusterConfig(name="old")) == 0


def test_a_child_that_fails_says_why(tmp_path, capfd):
    (tmp_path / "world").touch()  # where a directory is wanted

    pid = keys.begin(tmp_path, ClusterConfig(name="new"))

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert "FileExistsError" in capfd.readouterr().err
