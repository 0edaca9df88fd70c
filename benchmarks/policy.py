"""How fast the policy engine answers, from parsed objects on, on estates of realistic shape.

Times are of the processor, in this process: the engine does nothing else, and others that
work on the machine do not count. The estates come from a seed (`k8slab.audit.estates`).
"""

import copy
import functools
import gc
import random
import resource
import time

from harness import Limits, bench

from k8slab import policy
from k8slab.audit.estates import Size, realistic
from k8slab.policy import Flow

SMALL, MIDDLE, LARGE = Size(1000, 300, 20), Size(10_000, 2000, 50), Size(100_000, 10_000, 500)
MEBIBYTE = 1024


@functools.cache
def objects(size):
    return realistic(size)


@functools.cache
def answered(size):
    estate = policy.compile(objects(size))
    assert estate.reach.areas
    return estate


def all_connections(size, rounds):
    """Yield the milliseconds from objects to all connections, as disjoint areas."""
    made = objects(size)
    for _ in range(rounds):
        gc.collect()
        gc.freeze()  # the parsed objects of all sizes are no part of the question
        start = time.process_time()
        areas = policy.compile(made).reach.areas
        yield (time.process_time() - start) * 1000
        assert areas
        gc.unfreeze()


@bench("policy-1k", "all connections of 1,000 pods, 300 policies", Limits("ms", 300, 50))
def small():
    yield from all_connections(SMALL, 10)


@bench("policy-10k", "all connections of 10,000 pods, 2,000 policies", Limits("ms", 3000, 300))
def middle():
    yield from all_connections(MIDDLE, 5)


@bench(
    "policy-100k", "all connections of 100,000 pods, 10,000 policies", Limits("ms", 30_000, 3000)
)
def large():
    yield from all_connections(LARGE, 2)


@bench("policy-memory", "memory of this process with the 100,000 pods", Limits("MB", 4096, 4096))
def memory():
    answered(LARGE)
    yield resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE


@bench("policy-change", "one policy of 10,000 changed: all connections anew", Limits("ms", 50, 1))
def change():
    yield from changes(LARGE)


@bench(
    "policy-change-10k", "one policy of 2,000 changed: all connections anew", Limits("ms", 50, 1)
)
def change_middle():
    yield from changes(MIDDLE)


def changes(size):
    estate = answered(size)
    policies = [obj for obj in objects(size) if obj["kind"] == "NetworkPolicy"]
    chance = random.Random(7)
    for _ in range(20):
        other = copy.deepcopy(chance.choice(policies))
        other["spec"]["ingress"] = [{"from": [{"podSelector": {}}]}]
        start = time.process_time()
        areas = estate.replace(other).reach.areas
        yield (time.process_time() - start) * 1000
        assert areas


@bench("policy-decide", "one decision after loading", Limits("us", 30, 5))
def decide():
    estate = answered(MIDDLE)
    chance, keys = random.Random(3), list(estate.pods)
    flows = [Flow.of(chance.choice(keys), chance.choice(keys), 9000) for _ in range(20_000)]
    for _ in range(5):
        start = time.process_time()
        for flow in flows:
            estate.decide(flow)
        yield (time.process_time() - start) / len(flows) * 1e6
