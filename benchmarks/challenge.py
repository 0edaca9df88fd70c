"""Challenges: how long the command takes until something is broken and shows it."""

from cluster import command, state
from harness import Limits, bench

from k8slab import clusters

SEEDS = range(12)
"""What a class would draw: faults of all levels."""


@bench("challenge", "k8slab challenge, until the symptom shows", Limits("s", 2.0, 1.0))
def ready():
    with state():
        clusters.up()
        for seed in SEEDS:
            yield command("challenge", "--seed", str(seed))
            command("challenge", "stop")
