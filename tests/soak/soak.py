"""Soak a cluster: change it at random, kill parts of it, and look whether all is well.

    soak.py [--minutes N | --moments N] [--victims A,B] [--seed N] [--players N] [--bundle DIR]

Without `--moments` nothing is killed: rounds of random operations, after each of which the
cluster must settle and every invariant must hold. With it, after a random time somebody is
killed in each round. The seed repeats the choices, not the timing. What went wrong is printed
with the last operations, and left in the bundle directory with everything that can be seen.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from select import select

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

import invariants
import kills
import operations
import rulesets
from faults_kit import host_state, pod
from ledger import Ledger
from mirrors import Mirror
from players import Player
from views import View

from k8slab import clusters
from k8slab.embedded.config import ClusterPaths
from k8slab.errors import K8slabError

SHOWN = 60
"""Operations that a failure prints; the bundle has all."""
MIRRORED = ("pods", "endpointslices.discovery.k8s.io", "configmaps")
SETTLE = 120.0
"""Seconds in which a cluster must become whole again: a container that was killed waits for ten,
the next time for twenty, then forty and eighty."""


class FaultError(Exception):
    """Something that must always hold does not."""


class Arena:
    """One cluster that is soaked."""

    def __init__(self, name, seed, *, players=2, nodes=3):
        self.name = name
        self.seed = seed
        self.ledger = Ledger()
        self.operations = []
        self.cluster = clusters.up(name, wanted=clusters.Wanted(nodes=nodes))
        self._random = random.Random(seed)
        self._names = [f"p{number}" for number in range(players)]
        self._mirrors = [Mirror(self.cluster, resource) for resource in MIRRORED]
        for mirror in self._mirrors:
            mirror.start()
        self._furnish()

    def _furnish(self):
        spaces = [operations.namespace(name, "a") for name in self._names]
        where, name = invariants.OBSERVER
        self.cluster.apply([{**spaces[0], "metadata": {"name": where}}])
        self.cluster.apply([pod(name, "sleep", "999999")], namespace=where)
        for player in self._players():
            player.apply(operations.namespace(player.space, "a"), "")
            operations.always_there(player)
        self.cluster.wait("pods", name, where)

    def _players(self):
        # A handle of its own for each: the server is gone for all of them at once.
        return [
            Player(clusters.attach(self.name), name, self._random.random(), self.ledger)
            for name in self._names
        ]

    def play(self, seconds, interrupt=lambda: None):
        """Have the players work for so long, then call `interrupt` while they still do."""
        players = self._players()
        for player in players:
            player.start()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and any(p.is_alive() for p in players):
            select([], [], [], min(0.05, max(0.0, ends - time.monotonic())))
        try:
            return interrupt()
        finally:
            for player in players:
                player.stop()
            for player in players:
                player.join(60)
            self.operations += sorted((d for p in players for d in p.did), key=lambda d: d.began)
            self._after(players)

    def _after(self, players):
        stuck = [f"{player.space} does not come back" for player in players if player.is_alive()]
        complaints = [text for player in players for text in player.complaints]
        for player in players:
            player.tidy()  # one whose cluster was killed under it could not
        if stuck or complaints:
            raise FaultError("\n".join(stuck + complaints))

    def check(self):
        """Raise `FaultError` unless the cluster settles with every invariant true."""
        more = (self.ledger.check, *(mirror.check for mirror in self._mirrors))
        found = invariants.settle(self.cluster, *more, deadline=SETTLE)
        if found:
            raise FaultError("\n".join(found))

    def kill_one(self, victim):
        """Kill somebody; returns what was done."""
        return kills.kill(victim, self, self._random)

    def close(self):
        """Let go of the cluster, which goes on."""
        for mirror in self._mirrors:
            mirror.stop()
        self.cluster.rest.close()

    def bundle(self, directory, error):
        """Write down everything that can be seen of a cluster with a fault."""
        directory.mkdir(parents=True, exist_ok=True)
        lines = "\n".join(map(str, self.operations))
        (directory / "faults.txt").write_text(f"seed {self.seed}\n{error}\n", encoding="utf-8")
        (directory / "operations.txt").write_text(lines, encoding="utf-8")
        log = ClusterPaths.of(self.name).log
        (directory / "cluster.log").write_bytes(log.read_bytes())
        try:
            view = View(self.cluster)
            objects = {**vars(view.objects), "events": self.cluster.list("events")}
            (directory / "objects.json").write_text(json.dumps(objects, indent=1), encoding="utf-8")
            for name, node in view.nodes.items():
                seen = {"routes": node.routes, "links": node.links, "rules": node.rules}
                (directory / f"{name}.json").write_text(
                    json.dumps(seen, indent=1), encoding="utf-8"
                )
            wrong = "\n".join(rulesets.differences(view))
            (directory / "rules.txt").write_text(wrong, encoding="utf-8")
            seen = {"processes": vars(view.processes), "fds": view.processes.descriptors}
            (directory / "processes.txt").write_text(str(seen), encoding="utf-8")
        except (K8slabError, OSError, AssertionError) as problem:
            (directory / "unseen.txt").write_text(repr(problem), encoding="utf-8")


def soak(arena, *, seconds, round_seconds=20.0):
    """Play rounds for so long; yields a line for each."""
    ends, number = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        number += 1
        before = len(arena.operations)
        arena.play(min(round_seconds, max(1.0, ends - time.monotonic())))
        began = time.monotonic()
        arena.check()
        count, took = len(arena.operations) - before, time.monotonic() - began
        yield f"round {number}: {count} operations, settled after {took:.1f} s"


def chaos(arena, victims, *, longest=1.5):
    """Kill each of `victims` at a random moment under load; yields a line for each."""
    rng = random.Random(arena.seed)
    for number, victim in enumerate(victims, 1):
        before, moment = len(arena.operations), rng.uniform(0.05, longest)
        said = arena.play(moment, lambda victim=victim: arena.kill_one(victim))
        began = time.monotonic()
        arena.check()
        count, took = len(arena.operations) - before, time.monotonic() - began
        where = f"moment {number}, {moment:.2f} s and {count} operations"
        yield f"{where}: {said}; whole again {took:.1f} s later"


def main(words):
    """Run from the command line; the exit code is 1 when a fault was found."""
    parser = argparse.ArgumentParser(prog="make soak ARGS=...", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    parser.add_argument("--moments", type=int, default=0, help="kill somebody so many times")
    parser.add_argument("--victims", default=",".join(kills.VICTIMS), help="whom to kill")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--players", type=int, default=2)
    parser.add_argument("--bundle", type=Path, default=Path("soak-bundle"))
    wanted = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="k8slab-soak-") as home:
        os.environ["K8SLAB_HOME"] = home
        before = host_state(home)
        print(f"seed {wanted.seed}", flush=True)
        try:
            code = _run(wanted)
        finally:
            clusters.delete("soak")
        if host_state(home) != before:
            print("the host's namespaces are not as they were before")
            code = 1
    return code


def _run(wanted):
    arena = Arena("soak", wanted.seed, players=wanted.players)
    try:
        if wanted.moments:
            order = random.Random(wanted.seed)
            victims = [order.choice(wanted.victims.split(",")) for _ in range(wanted.moments)]
            rounds = chaos(arena, victims)
        else:
            victims, rounds = [], soak(arena, seconds=wanted.minutes * 60)
        problem = settled(arena, rounds, wanted.bundle, say=partial(print, flush=True))
    finally:
        arena.close()
    killed = f"; killed: {dict(Counter(victims))}" if victims else ""
    print(problem or f"all is well after {len(arena.operations)} operations{killed}")
    return int(bool(problem))


def settled(arena, rounds, bundle, *, say=lambda _line: None):
    """Go through the rounds; return an empty text, or everything about the first fault."""
    try:
        for line in rounds:
            say(line)
    except (FaultError, K8slabError, AssertionError) as error:
        arena.bundle(bundle, error)
        last = "\n".join(map(str, arena.operations[-SHOWN:]))
        return (
            f"seed {arena.seed}: FAULT\n{error}\nthe last operations:\n{last}\n"
            f"everything that could be seen is in {bundle}"
        )
    return ""


if __name__ == "__main__":
    # Whoever ends it by `kill` or `timeout` wants no cluster left behind either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
