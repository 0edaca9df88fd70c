"""Each fault of nodes and of the kernel: injected, seen, named, mended."""

import pytest
from challenges_kit import cases, play


@pytest.mark.parametrize(("fault", "seed"), cases(3))
def test_a_fault_shows_is_named_and_goes(cluster, tmp_path, fault, seed):
    play(cluster, tmp_path / "journal.sqlite", fault, seed)
