"""The engine predicts what the cluster does, on random estates with every construct.

The long run is ``make conformance``; this is a sample of it. ``K8SLAB_CONFORMANCE=SECONDS``
makes it longer. The seed is in the message of a mismatch.
"""

import os
import random
import time

import estates_kit
import pytest

SECONDS = float(os.environ.get("K8SLAB_CONFORMANCE", "8"))


@pytest.fixture(scope="module")
def world(dual_stack_cluster):
    made = estates_kit.World(dual_stack_cluster)
    yield made
    made.put_policies([])
    for name in estates_kit.NAMESPACES:
        dual_stack_cluster.delete("namespaces", name)
        dual_stack_cluster.wait("namespaces", name, until="delete")


def test_random_estates_behave_as_predicted(world):
    seed, end = random.randrange(1 << 30), time.monotonic() + SECONDS
    count = 0
    # One estate of twelve blocks nobody: three of them would now and then show nothing.
    while count < 3 or not world.blocked or time.monotonic() < end:
        world.compare(seed + count)
        count += 1
    assert 0 < world.blocked < world.flows
    print(f"{count} estates, {world.flows} flows, {world.blocked} of them blocked")
