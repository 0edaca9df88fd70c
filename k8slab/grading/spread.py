"""The check ``distribution``: requests to one address are spread over pods as wanted.

A pod asks many times, each time on a new connection, and counts who answered; with ``sticks``
the same pod has to answer every time. How often is
computed and not guessed. With n requests and a fair share p the count of one pod is binomial,
B(n, p). For k pods each has a lower and an upper bound with P(below) <= a and P(above) <= a,
where a = 1e-6 / 2k: so a fair spread is refused in less than one of a million checks (the sum of
2k such tails; dependence among the counts does not matter to a sum). n is the least number, in
steps of a tenth, for which a pod that gets half its share, B(n, p/2), falls below its lower bound
with a probability above 0.99. One that gets nothing always does, since that bound is then
above 0. The tails are exact sums, no approximation.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from k8slab.errors import ProbeError, UsageError
from k8slab.grading import values
from k8slab.grading.fields import Field, Fields, text
from k8slab.grading.polling import Polling
from k8slab.grading.result import Counterexample, Finding, Status
from k8slab.grading.starting import is_ready
from k8slab.objects import meta
from k8slab.policy import Party
from k8slab.probes import one_pod, run_in_pod

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.grading.context import Context

FALSE_FAILURE = 1e-6
POWER = 0.995
MOST_REQUESTS = 20_000
SECONDS = 3
"""How long one request may take."""

FIELDS: Fields = {
    "from": text("the pod that asks; it needs curl", required=True),
    "url": text("what is asked for; the answer's first line is the pod's name", required=True),
    "pods": text("a label selector: the pods that share evenly"),
    "shares": Field((dict,), "weights by label selector, instead of pods"),
    "sticks": text("a label selector: pods of which one answers everything, instead of pods"),
    "namespace": text("where the pods are; the exercise's namespace otherwise"),
}


def fault(spec: Mapping[str, Any]) -> str:
    """Say what is wrong with a check of this kind; empty when nothing is."""
    if sum(kind in spec for kind in ("pods", "shares", "sticks")) != 1:
        return "needs one of pods, shares and sticks"
    weights = spec.get("shares", {"": 1}).values()
    good = [w for w in weights if isinstance(w, int | float) and not isinstance(w, bool) and w > 0]
    return "" if len(good) == len(weights) > 0 else "shares: every weight must be a number above 0"


@dataclass(frozen=True, slots=True)
class Plan:
    """How many requests are sent, and between which counts each share must lie."""

    requests: int
    bounds: tuple[tuple[int, int], ...]


@cache
def plan(shares: tuple[float, ...]) -> Plan:
    """Return the plan for shares that sum up to 1; raises `UsageError` when it takes too many."""
    tail = FALSE_FAILURE / (2 * len(shares))
    requests = 20
    while requests <= MOST_REQUESTS:
        bounds = tuple(_bounds(requests, share, tail) for share in shares)
        pairs = zip(bounds, shares, strict=True)
        if all(_below(low, requests, share / 2) > POWER for (low, _), share in pairs):
            return Plan(requests, bounds)
        requests += max(1, requests // 10)
    raise UsageError(f"{len(shares)} shares are too many, or one is too small, to tell them apart")


def sticking(pods: int) -> int:
    """Return how many requests tell sticking to one pod from a random spread over `pods`.

    That these all fall to one by chance has the probability pods ** (1 - requests), which is
    to be below `FALSE_FAILURE`.
    """
    return 2 + math.ceil(-math.log(FALSE_FAILURE) / math.log(pods))


def _bounds(requests: int, share: float, tail: float) -> tuple[int, int]:
    if share >= 1:
        return requests, requests
    below, low = 0.0, 0
    while below + (here := _pmf(low, requests, share)) <= tail:
        below, low = below + here, low + 1
    above, high = 0.0, requests
    while above + (here := _pmf(high, requests, share)) <= tail:
        above, high = above + here, high - 1
    return low, high


def _below(count: int, requests: int, share: float) -> float:
    return math.fsum(_pmf(one, requests, share) for one in range(count))


def _pmf(count: int, requests: int, share: float) -> float:
    if share >= 1:
        return float(count == requests)
    choose = math.lgamma(requests + 1) - math.lgamma(count + 1) - math.lgamma(requests - count + 1)
    return math.exp(choose + count * math.log(share) + (requests - count) * math.log1p(-share))


def check(context: Context, spec: Mapping[str, Any]) -> Finding:
    """Ask, count, and compare, when nothing is under way any more."""
    began = time.monotonic()
    Polling(
        look=lambda: None,
        good=lambda _: context.quiet(),
        quiet=lambda _: not context.prompt,
        deadline=context.deadline,
        settled=1,
    ).run()
    measure = _Measure(context, spec)
    found = measure.run()
    if found.misses and not context.prompt:
        # What was changed may come into force late: the deadline says how late.
        threading.Event().wait(max(0.0, began + context.deadline - time.monotonic()))
        found = measure.run()
    if not found.misses:
        line = f"{found.plan.requests} requests: {found.told}"
        return Finding("distribution", Status.PASSED, (line,))
    url = values.fill(context, spec["url"])
    source = one_pod(context.cluster, Party.parse(spec["from"], context.namespace))
    replay = (
        f"kubectl -n {source.namespace} exec {source.name} -- "
        f"sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do curl -s {url}; echo; done'"
    )
    example = Counterexample(
        f"{found.plan.requests} requests for {url}", found.misses[0], found.told, (), replay
    )
    return Finding("distribution", Status.FAILED, found.misses, example)


@dataclass(frozen=True, slots=True)
class _Seen:
    plan: Plan
    misses: tuple[str, ...]
    told: str


@dataclass(frozen=True)
class _Measure:
    context: Context
    spec: Mapping[str, Any]

    def run(self) -> _Seen:
        if "sticks" in self.spec:
            return self._sticks()
        owners, names, shares = self._wanted()
        if not shares:
            return _Seen(Plan(0, ()), ("no ready pod is there to share",), "nobody answered")
        wanted = plan(tuple(shares))
        names_seen = self._ask(wanted.requests)
        if len(names_seen) < wanted.requests:
            return _Seen(wanted, (_lost(names_seen),), f"{len(names_seen)} answers")
        counts = Counter(owners.get(name, f"? {name}") for name in names_seen)
        misses = [
            f"{name}: between {low} and {high} of {wanted.requests} are fair, it got {counts[name]}"
            for name, (low, high) in zip(names, wanted.bounds, strict=True)
            if not low <= counts[name] <= high
        ]
        strangers = sorted(name[2:] for name in counts if name.startswith("? "))
        misses += [f"{name} answered, who should not" for name in strangers[:3]]
        told = ", ".join(f"{name.removeprefix('? ')} {n}" for name, n in sorted(counts.items()))
        return _Seen(wanted, tuple(misses), told)

    def _sticks(self) -> _Seen:
        space = self.spec.get("namespace", self.context.namespace)
        pods = self._ready(self.spec["sticks"], space)
        if len(pods) < 2:
            line = f"{len(pods)} pods are there: of two and more it can be told who is kept to"
            return _Seen(Plan(0, ()), (line,), "nobody was asked")
        wanted = Plan(sticking(len(pods)), ())
        seen = self._ask(wanted.requests)
        if len(seen) < wanted.requests:
            return _Seen(wanted, (_lost(seen),), f"{len(seen)} answers")
        counts = Counter(seen)
        told = ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))
        misses = [f"one pod is to answer all of them: {told}"] if len(counts) > 1 else []
        misses += [
            f"{name} answered, who should not" for name in sorted(counts) if name not in pods
        ]
        return _Seen(wanted, tuple(misses), told)

    def _wanted(self) -> tuple[dict[str, str], list[str], list[float]]:
        """Return who counts for which share, the shares' names, and the shares."""
        space = self.spec.get("namespace", self.context.namespace)
        if "pods" in self.spec:
            pods = self._ready(self.spec["pods"], space)
            return {p: p for p in pods}, pods, [1 / len(pods)] * len(pods)
        weights = self.spec["shares"]
        owners = {pod: name for name in weights for pod in self._ready(name, space)}
        total = sum(weights.values())
        return owners, [*weights], [weight / total for weight in weights.values()]

    def _ready(self, selector: str, space: str) -> list[str]:
        found = self.context.cluster.list("pods", space, selector=selector)
        return sorted(meta.name_of(pod) for pod in found if is_ready(pod))

    def _ask(self, requests: int) -> list[str]:
        source = self.context.asker(self.spec["from"])
        url = values.fill(self.context, self.spec["url"])
        # One curl for all requests; without keep-alive each has a connection of its own. The first
        # that is not answered ends it: to wait for hundreds that are lost tells no more.
        script = (
            f'i=0; while [ "$i" -lt {requests} ]; do echo "url = \\"$0\\""; i=$((i+1)); done | '
            f'curl -sgK - --fail-early -m {SECONDS} -H "Connection: close" -w "\\n"'
        )
        done = run_in_pod(
            self.context.cluster, source, ["sh", "-c", script, url], deadline=30 + requests / 20
        )
        if done.code in (126, 127):
            raise ProbeError(f"curl cannot be run in {source}: {done.stderr.strip()}")
        return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _lost(answered: Sequence[str]) -> str:
    return f"every request to be answered; request {len(answered) + 1} was not"
