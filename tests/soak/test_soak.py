"""The soak and the kills in short: `make soak` does the same for half an hour."""

import os
import random
import tempfile
from pathlib import Path

import kills
import pytest
from faults_kit import host_state
from soak import Arena, chaos, settled, soak

from k8slab import clusters

SECONDS = 6.0
"""How long the players play, in two rounds; settling and checking come on top."""


@pytest.fixture
def arena(monkeypatch):
    """Give a cluster of its own with two players, and take all of it away."""
    with tempfile.TemporaryDirectory(prefix="k8slab-soak-") as home:
        monkeypatch.setenv("K8SLAB_HOME", home)
        before = host_state(home)
        made = Arena("soak", random.randrange(10**6))
        yield made
        made.close()
        clusters.delete("soak")
        assert host_state(home) == before


def run(arena, rounds):
    """Play the rounds; a fault is told with the operations, the bundle stays."""
    bundle = Path(tempfile.gettempdir()) / f"k8slab-soak-bundle-{os.getpid()}"
    problem = settled(arena, rounds, bundle)
    assert not problem, problem


def test_a_cluster_that_is_changed_at_random_is_whole_after_each_round(arena):
    while len(arena.operations) <= 20:  # a busy machine does little in a round
        run(arena, soak(arena, seconds=SECONDS, round_seconds=SECONDS / 2))


def test_a_busy_cluster_is_whole_again_after_each_kill(arena):
    others = ["CoreDNS", "pod", "world", "agent", "start"]
    victims = random.sample(kills.CLUSTER, 2) + random.sample(others, 4)
    run(arena, chaos(arena, victims, longest=0.8))
