"""The battery: the real kubectl says on the embedded cluster what it says on a real one."""

from pathlib import Path

import battery
import pytest
from playing import drained, pinned, play

BOOK = Path(__file__).parents[2] / "book" / "kubectl.md"


@pytest.mark.parametrize("subject", battery.SUBJECTS)
def test_kubectl_finds_what_a_real_cluster_has_for(subject, base):
    play(base, battery.SUBJECTS[subject])


def test_a_node_is_drained_and_tainted_as_on_a_real_cluster(cluster, namespace, shell):
    drained(cluster, pinned(cluster, namespace, shell))


def test_the_page_of_the_book_is_the_battery():
    assert BOOK.read_text() == battery.page(), (
        "book/kubectl.md is old: python tests/conformance/battery.py > book/kubectl.md"
    )
