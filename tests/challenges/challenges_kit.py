"""Inject a fault, see the symptom, mend it, see health: the same for every recipe."""

import random
import re
import time

import pytest

from k8slab.challenges import Choice, catalogue, current, start
from k8slab.challenges.beginning import mend
from k8slab.challenges.recipe import level_and_needs
from k8slab.course.journal import Journal
from k8slab.course.sealing import unseal
from k8slab.objects import manifests

SECONDS = 120.0
"""Until a mended cluster shows it: pods become ready again, CoreDNS reads its Corefile."""


def variants(entry):
    """Return how many variants a recipe has."""
    (found,) = manifests.load_values(entry.recipe.read_bytes(), entry.id)
    return len(found.get("variants") or [None])


def seed_of(number, count):
    """Return a seed that takes the `number`-th of some variants."""
    tried = range(100, 10_000)
    picked = (s for s in tried if random.Random(f"variant/{s}").randrange(count) == number)
    return next(picked)


def cases(*levels):
    """Return every fault of some levels with a seed for each of its variants."""
    found = []
    for entry in catalogue.injectable():
        count = variants(entry) if level_and_needs(entry)[0] in levels else 0
        for number in range(count):
            name = f"{entry.id}-{number}" if number else entry.id
            found.append(pytest.param(entry.id, seed_of(number, count), id=name))
    return found


def play(cluster, journal_file, fault, seed):
    """Inject, see, diagnose, mend, see; raises `AssertionError` where one of it is otherwise."""
    needs = level_and_needs(catalogue.entry(fault))[1]
    if "small-conntrack" in needs - cluster.capabilities:
        pytest.skip("the limit of this machine is too high to fill its table of connections")
    journal = Journal(journal_file)
    try:
        # The start itself raises when the symptom does not show, by packets and by the API.
        challenge = start(cluster, Choice(fault=fault, seed=seed), journal=journal)
        case = challenge.case
        assert challenge.asks_hop == (case.lost is not None)
        told = evidence_for(case)
        for cause in case.causes:
            named = challenge.diagnose(object=cause.object, field=cause.field, evidence=told)
            assert named.right, cause
        if challenge.asks_hop:
            assert challenge._sealed_place().startswith(hop_of(cluster, challenge))
            assert not challenge.hop("the moon").right
            assert challenge.hop(challenge._sealed_place()).right
        mend(cluster, case)
        ends = time.monotonic() + SECONDS
        score = challenge.check()
        while not score.fixed and time.monotonic() < ends:
            score = challenge.check()
        assert score.fixed, score.text()
        assert score.unbroken, score.text()
        assert score.points == score.max_points, score.text()
    finally:
        # Of a start that raised, too: what it stopped would spoil the worker's other tests.
        if (begun := current(cluster, journal=journal)) is not None:
            begun.stop()


HOPS = {
    "F08": "node {worker2}",  # where the client asks, and no pod is
    "F15": "pod {server}",  # it comes back with its own address, which is forged to the kernel
    "F14": "node {worker2}",  # to whose block the address of the old pod belongs
    "F16": "node {worker2}",  # whose kube-proxy knows no such Service
    "F18": "node {worker2}",  # its table of connections is full
    "F19": "node {worker}",  # whose own link takes less than its pods send
    "F20": "node {worker}",  # to which the wrong route leads, into a blackhole
    "F23": "switch between the nodes",  # the default route leads to its router, which has no way
    "F24": "switch between the nodes",  # so does that of the node without rules and routes
    "F32": "node of {client}",  # egress
    "F33": "node of {client}",  # egress, to an address of that node
    "F34": "node of {server}",  # ingress
    "F35": "node of {server}",  # ingress
    "F36": "node of {server}",  # ingress, of the webhook that the API server asks
}
"""Where packets are lost, by what the recipe breaks; what a journey finds must be the same."""


def hop_of(cluster, challenge):
    """Return how the name of the place begins where a fault loses packets."""
    case = challenge.case
    named = unseal(challenge.begun.data["sealed"], "the journal")["words"]
    text = HOPS[case.fault.id].format(**named)
    kind, _, name = text.partition(" of ")
    if name:
        pods = cluster.list("pods", case.namespace)
        pod = next(one for one in pods if one["metadata"]["name"].startswith(f"{name}-"))
        return f"{kind} {pod['spec']['nodeName']}"
    return text.replace("pod ", f"pod {case.namespace}/")


def evidence_for(case):
    """Return a text that the first pattern of a recipe's evidence matches."""
    plain = re.sub(r"\\[bZ]|\\", "", case.evidence[0]).replace(" *", " ").replace("$", "")
    assert re.search(case.evidence[0], plain, re.IGNORECASE), (case.evidence[0], plain)
    return plain
