"""Each fault of one Service and its pods: injected, seen, named, mended."""

import pytest
from challenges_kit import cases, play


@pytest.mark.parametrize(("fault", "seed"), cases(1))
def test_a_fault_shows_is_named_and_goes(cluster, tmp_path, fault, seed):
    play(cluster, tmp_path / "journal.sqlite", fault, seed)
