"""The check ``rollout``: while a Deployment is rolled out, no request of a client fails.

A small program in the client's pod asks again and again, each time on a new connection, from
several threads, and counts what fails. When it runs, the Deployment is rolled out as
``kubectl rollout restart`` does it (an annotation of the template). It ends when the new pods are
ready, the old ones gone, and nothing has failed for `AFTERWARDS` seconds more: nodes whose rules
lag (kube-proxy's minSyncPeriod) still send requests to pods that have gone. For the same reason
a roll-out that is under way already, such as that of an answer itself, is left to end so first.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k8slab.clusters.media import MERGE
from k8slab.clusters.waiting import is_ready
from k8slab.errors import K8slabError, ProbeError, UsageError
from k8slab.grading import values
from k8slab.grading.fields import Fields, text
from k8slab.grading.result import Counterexample, Finding, Status
from k8slab.objects import meta, selectortext
from k8slab.probes import run_in_pod

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object

AFTERWARDS = 1.2
"""Seconds: a little more than kube-proxy's usual minSyncPeriod."""
REQUEST_SECONDS = 1.0
"""How long one request may take."""
ROLLED_OUT_SECONDS = 90.0
RESOURCE = "deployments.apps"
_RESTARTED = "kubectl.kubernetes.io/restartedAt"

FIELDS: Fields = {
    "deployment": text("the Deployment that is rolled out", required=True),
    "from": text("the pod that asks meanwhile; it needs python3", required=True),
    "url": text("what is asked for; {services/web spec.clusterIP} gives a value", required=True),
}

_PROGRAM = """\
import collections, json, sys, threading, time, urllib.error, urllib.request
url, before, afterwards, patience = sys.argv[1], *map(float, sys.argv[2:])
good, bad, ends = [], [], []  # lists, since threads can add to them at once
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
def ask():
    while not ends or (time.monotonic() < ends[0] and not bad):
        try:
            with opener.open(url, timeout=patience) as answer:
                answer.read()
            good.append(1)
        except urllib.error.HTTPError as error:
            bad.append(f"status {error.code}")
        except (OSError, EOFError) as error:
            bad.append(str(getattr(error, "reason", error)) or type(error).__name__)
        time.sleep(0.01)
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
quiet = time.monotonic() + before
while time.monotonic() < quiet or len(good) + len(bad) < 20:
    time.sleep(0.01)
good.clear()
bad.clear()
print("asking", flush=True)
sys.stdin.read(1)
ends.append(time.monotonic() + afterwards)
for thread in threads:
    thread.join()
print(json.dumps([len(good), collections.Counter(bad)]))
"""


def check(context: Context, spec: Mapping[str, Any]) -> Finding:
    """Roll out under requests, and count those that failed."""
    if _is_paused(context, spec["deployment"]):
        return _paused(context, spec["deployment"])
    asker = context.asker(spec["from"])
    problems: list[K8slabError] = []

    def roll_out() -> bytes:
        try:
            _roll_out(context, spec["deployment"])
        except K8slabError as error:  # the program has to end all the same
            problems.append(error)
        return b"."

    under_way = _was_under_way(context, spec["deployment"])
    before = AFTERWARDS + REQUEST_SECONDS if under_way else 0.0
    url = values.fill(context, spec["url"])
    argv = ["python3", "-c", _PROGRAM, url, *map(str, (before, AFTERWARDS, REQUEST_SECONDS))]
    deadline = ROLLED_OUT_SECONDS + 30
    done = run_in_pod(context.cluster, asker, argv, stdin=roll_out, deadline=deadline)
    if problems:
        raise problems[0]
    if done.code:
        raise ProbeError(f"python3 cannot ask in {asker}: {done.stderr.strip()}")
    answered, failed = json.loads(done.stdout.splitlines()[-1])
    return _finding(spec, answered, failed)


def _is_paused(context: Context, name: str) -> bool:
    found = context.cluster.get(RESOURCE, name, context.namespace)
    return bool(found and found["spec"].get("paused"))


def _paused(context: Context, name: str) -> Finding:
    """Say that a paused Deployment cannot be rolled out: it would be waited for in vain."""
    line = f"the Deployment {name} is paused: kubectl rollout resume goes on with it"
    replay = f"kubectl -n {context.namespace} rollout resume deployment/{name}"
    example = Counterexample(f"a rollout of {name}", "to end", "it is paused", (), replay)
    return Finding("rollout", Status.FAILED, (line,), example)


def _finding(spec: Mapping[str, Any], answered: int, failed: Mapping[str, int]) -> Finding:
    if not failed:
        return Finding("rollout", Status.PASSED, (f"{answered} requests, all answered",))
    count = sum(failed.values())
    told = ", ".join(f"{number} x {what}" for what, number in failed.items())
    line = f"of {answered + count} requests {count} failed: {told}"
    what = f"a rollout of {spec['deployment']} under requests"
    replay = f"kubectl rollout restart deployment/{spec['deployment']}, while a loop asks"
    example = Counterexample(what, "every request answered", line, (), replay)
    return Finding("rollout", Status.FAILED, (line,), example)


def _was_under_way(context: Context, name: str) -> bool:
    """Wait until no roll-out is under way; say whether one was."""
    found = context.cluster.get(RESOURCE, name, context.namespace)
    if found and is_ready(found) and not any(map(meta.is_deleting, _pods(context, name))):
        return False
    context.cluster.wait(RESOURCE, name, context.namespace, deadline=ROLLED_OUT_SECONDS)
    _await_end(context, [pod for pod in _pods(context, name) if meta.is_deleting(pod)])
    return True


def _roll_out(context: Context, name: str) -> None:
    cluster, space = context.cluster, context.namespace
    old = _pods(context, name)
    path = cluster.resources.named(RESOURCE).path(namespace=space, name=name)
    annotations = {_RESTARTED: datetime.now(UTC).isoformat()}
    patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    cluster.request("PATCH", path, patch, content_type=MERGE)
    cluster.wait(RESOURCE, name, space, deadline=ROLLED_OUT_SECONDS)
    _await_end(context, old)


def _pods(context: Context, name: str) -> list[Object]:
    found = context.cluster.get(RESOURCE, name, context.namespace)
    if found is None:
        raise UsageError(f"there is no Deployment {name} in {context.namespace}")
    selector = selectortext.written(found["spec"]["selector"])
    return [*context.cluster.list("pods", context.namespace, selector=selector)]


def _await_end(context: Context, pods: Sequence[Object]) -> None:
    for pod in pods:
        name, space = meta.name_of(pod), context.namespace
        context.cluster.wait("pods", name, space, until="delete", deadline=ROLLED_OUT_SECONDS)
