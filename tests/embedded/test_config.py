"""The state directory belongs to us alone, wherever it is."""

import os
import stat
from pathlib import Path

import pytest

from k8slab.embedded.config import make_own, make_private, make_state_home
from k8slab.errors import EnvironmentLacksError

OTHER = 65_534


@pytest.fixture
def foreign(tmp_path):
    """Give a directory of another user: one that root gave away, for others one of root's."""
    if os.geteuid():
        return Path("/usr")
    directory = tmp_path / "foreign"
    directory.mkdir(mode=0o777)
    os.chown(directory, OTHER, OTHER)
    return directory


def test_a_directory_that_another_user_made_is_refused(foreign):
    before = foreign.stat().st_mode
    with pytest.raises(EnvironmentLacksError, match=r"belongs to the user \d+, and not to you"):
        make_private(foreign)
    assert foreign.stat().st_mode == before


def test_a_link_to_a_directory_of_another_user_is_refused(foreign, tmp_path):
    (tmp_path / "link").symlink_to(foreign)
    with pytest.raises(EnvironmentLacksError, match="not to you") as caught:
        make_private(tmp_path / "link")
    assert "export K8SLAB_HOME" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a link away")
def test_a_link_that_another_user_planted_is_refused(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "own")
    os.chown(tmp_path / "link", OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(EnvironmentLacksError, match="not to you"):
        make_private(tmp_path / "link")


def test_a_link_of_ones_own_to_a_directory_of_ones_own_is_fine(tmp_path):
    (tmp_path / "own").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "own")
    assert make_private(tmp_path / "link") == tmp_path / "link"
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_directory_that_keeps_its_mode_is_refused_where_others_may_write_into_it(mode, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own").chmod(mode)
    with pytest.raises(EnvironmentLacksError, match="chmod go-w"):
        make_own(tmp_path / "own")
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == mode
    (tmp_path / "own").chmod(mode & ~0o022)
    assert make_own(tmp_path / "own") == tmp_path / "own"


def test_a_state_directory_of_another_user_is_refused_even_with_other_things_in_it(
    foreign, monkeypatch
):
    if not os.geteuid():
        (foreign / "something").touch()
    monkeypatch.setenv("K8SLAB_HOME", str(foreign))
    with pytest.raises(EnvironmentLacksError, match="not to you"):
        make_state_home()
