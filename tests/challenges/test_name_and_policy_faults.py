"""Each fault of names, policies and traffic: injected, seen, named, mended."""

import pytest
from challenges_kit import cases, play


@pytest.mark.parametrize(("fault", "seed"), cases(2))
def test_a_fault_shows_is_named_and_goes(cluster, tmp_path, fault, seed):
    play(cluster, tmp_path / "journal.sqlite", fault, seed)
