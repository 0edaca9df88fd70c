"""Who asks for a check: the pod that it names, or a pod of the grader's own in its place.

Some checks run a program inside a pod: curl, python3, a resolver. Where that pod is as the set-up
made it, its programs are the course's. A pod that the answer may write is another matter: its
image, its mounts and its PATH decide what `curl` is there, and a program of the learner's would
tell the grader whatever is wanted. So what is not as in the set-up is not asked itself. Beside it
stands, while the checks last, a pod that has all that the network knows it by (namespace, labels,
ServiceAccount, node) and its resolver's settings (dnsPolicy, dnsConfig), with an image and a
command of the grader's. `hostAliases` are left out: what checks ask about names, they ask of DNS.

Its readiness gate is never fulfilled, so it is not Ready: a Service leads to it only if it wants
pods that are not (publishNotReadyAddresses), and finds nobody listening there. Its name is drawn,
and its annotation says whose it is, as with lookalikes. What the cluster made of it is compared
with what was asked for: a webhook may change pods.

A workload that does not run is no right answer, though the grader's pod would ask in its place. So
the pods that are replaced are Ready and their roll-out has ended before it asks; afterwards, and
when all of the check is over, they still are, and none of their containers was started again. A
program that ends later than that is not found out.
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from k8slab.errors import K8slabError, ProbeError
from k8slab.grading.additions import written_into
from k8slab.grading.collateral import owner_of
from k8slab.grading.comparing import changed
from k8slab.grading.lookalikes import MARK, removed
from k8slab.grading.result import Blame, Counterexample, Finding, Status
from k8slab.grading.starting import is_ready
from k8slab.grading.watched import WATCHED
from k8slab.objects import meta
from k8slab.policy import Party
from k8slab.policy.flow import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object
    from k8slab.probes.targets import Snapshot

TITLE = "who asks"

IMAGE = "k8slab/toolbox"
ASKER = "asker"
"""The container that asks."""
NEVER = "k8slab.dev/never"
"""A readiness gate (core/v1 PodReadinessGate) that nobody fulfils."""

SECONDS = 60.0
RUNNING = "Running"

ROLLING_OUT = "its roll-out has not ended"
PAUSED = f"{ROLLING_OUT}: it is paused, and kubectl rollout resume goes on with it"
NOT_READY = "it is not Ready"
STOPPED = "it was started again while others were asked in its place"

_KEPT = ("nodeName", "hostNetwork", "serviceAccountName", "dnsPolicy", "dnsConfig")
"""What of a pod decides from where it asks, and whom it asks for names."""

_STEERING = re.compile(
    "PATH|LD_.*|GCONV_PATH|PYTHON.*|BASH_ENV|ENV|HOME|CURL_.*|SSL_.*|RES_OPTIONS|LOCALDOMAIN"
    "|HOSTALIASES|(ALL|HTTPS?|NO)_PROXY",
    re.IGNORECASE,
)
"""Variables that decide what runs as curl, python3 or a shell, or whom it asks (ld.so(8),
resolv.conf(5), curl(1)). Others may be added: who traces programs gives some to each pod."""

_OF_CONTROLLERS = frozenset(
    {
        "pod-template-hash", "controller-revision-hash", "controller-uid",
        "batch.kubernetes.io/controller-uid", "statefulset.kubernetes.io/pod-name",
    }
)  # fmt: skip
"""Labels by which controllers know their own pods: with them they would adopt this one."""

_ADOPTING = frozenset({"daemonset", "replicaset", "replicationcontroller"})
"""Workloads that know their pods by labels alone which the network has to see: they adopt a pod
with these that is nobody's. A StatefulSet goes by the name as well."""


@contextmanager
def placed(
    context: Context, specs: Sequence[Mapping[str, Any]], there: Snapshot
) -> Iterator[Context]:
    """Give a context in which no check asks by a learner's program, for the length of a block.

    `there` was read just now. Whose place cannot be taken is in `Context.unasked`, with the reason:
    no quota for one more pod, something that changes pods, no node that runs it within a minute.
    """
    asking = dict.fromkeys(party for spec in specs for party in parties(context, spec))
    theirs = [party for party in asking if not _as_set_up(context, there, party)]
    pods: dict[Party, Object] = {}
    unasked: dict[Party, K8slabError] = {}

    def imitate(party: Party) -> None:
        # Of the moment that was judged so far: a pod that came since might be another one.
        pods[party] = _beside(context, there, party)

    def make(party: Party) -> None:
        context.cluster.apply([pods[party]])

    with removed(context.cluster, pods.values()):
        _each(theirs, unasked, imitate)
        _each(theirs, unasked, make)
        # They start side by side: all have the same minute.
        ends = time.monotonic() + SECONDS
        _each(theirs, unasked, lambda party: _await(context, pods[party], ends))
        own = {party: Party("pod", *_names(pod)) for party, pod in pods.items()}
        yield replace(context, askers=own, unasked=unasked) if theirs else context


def _each(
    asking: Iterable[Party], unasked: dict[Party, K8slabError], step: Callable[[Party], None]
) -> None:
    """Take a step for each asker; one that fails is no reason for the others to."""
    for party in asking:
        if party not in unasked:
            try:
                step(party)
            except K8slabError as error:
                unasked[party] = error


def unready(context: Context, there: Snapshot, party: Party, since: Snapshot | None = None) -> str:
    """Say why nobody may ask in the place of an asker; empty where it runs, or asks itself.

    With `since` a container that was started again after that moment is such a reason too.
    """
    if _as_set_up(context, there, party):
        return ""
    if context.under_way(there, keeper := _keeper(there, party)):
        return PAUSED if context.paused(there, keeper) else ROLLING_OUT
    pods = [_pod(there, one) for one in there.parties(party)]
    if not all(pod and is_ready(pod) for pod in pods):
        return NOT_READY
    before = _restarts(_pod(since, one) for one in since.parties(party)) if since else {}
    now = _restarts(pods)
    return STOPPED if any(now[uid] > before.get(uid, now[uid]) for uid in now) else ""


def finding(
    context: Context, spec: Mapping[str, Any], there: Snapshot, since: Snapshot | None = None
) -> Finding | None:
    """Return what is wrong with the askers of a check, see `unready`; nothing where they run."""
    for party in parties(context, spec):
        if why := unready(context, there, party, since):
            title = spec.get("title") or spec.get("question") or spec["check"]
            command = replay(there, party, why)
            example = Counterexample(str(party), "to run, and to be Ready", why, (), command)
            line, group = f"{party}: {why}", spec.get("group", "")
            blame = Blame.NOT_READY
            return Finding(title, Status.FAILED, (line,), example, blame=blame, group=group)
    return None


def replay(there: Snapshot, party: Party, why: str) -> str:
    """Return a command that shows what `unready` says."""
    keeper = _keeper(there, party)
    if why not in (ROLLING_OUT, PAUSED):
        return f"kubectl -n {party.namespace} get pods"
    return f"kubectl -n {party.namespace} rollout status {keeper.kind}/{keeper.name} --watch=false"


def replaced(context: Context, spec: Mapping[str, Any], there: Snapshot) -> bool:
    """Say whether somebody else asks in the place of an asker of a check."""
    return any(not _as_set_up(context, there, party) for party in parties(context, spec))


def told(context: Context, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Say in a line who asked in whose place; nothing where the pod itself did."""
    return tuple(
        f"a pod of the grader's own asked, with labels, node and resolver settings of {party}"
        for party in parties(context, spec)
        if party in context.askers and party not in context.unasked
    )


def parties(context: Context, spec: Mapping[str, Any]) -> Iterable[Party]:
    """Yield the pods and workloads in which a check, or the value that it compares with, asks."""
    for part in (spec, spec.get("value"), spec.get("same_as")):
        if isinstance(part, dict) and isinstance(part.get("from"), str):
            party = Party.parse(part["from"], context.namespace)
            if party.kind in ("pod", *WORKLOADS):
                yield party


def _as_set_up(context: Context, there: Snapshot, party: Party) -> bool:
    """Say whether a pod, or the workload that makes it, is as its manifest says.

    The pods of a workload are as it made them: kubectl set image changes a pod alone.
    """
    keeper = _keeper(there, party)
    for wanted in context.setup:
        if Party(wanted["kind"].lower(), *_names(wanted)) == keeper:
            found = there.objects(WATCHED[wanted["kind"]], keeper.namespace).get(keeper.name)
            if found is None or changed(wanted, found):
                return False
            pods = [_pod(there, one) for one in there.parties(party)]
            return keeper.kind == "pod" or not any(pod and written_into(pod) for pod in pods)
    return False


def _keeper(there: Snapshot, party: Party) -> Party:
    """Return the workload that keeps a pod; the party itself where there is none."""
    pod = _pod(there, party) if party.kind == "pod" else None
    return owner_of(there, pod) if pod else party


def _pod(there: Snapshot, party: Party) -> Object | None:
    return there.objects("pods", party.namespace).get(party.name)


def _restarts(pods: Iterable[Object | None]) -> dict[str, int]:
    """Return how often the containers of each pod were started again, by its UID."""
    return {
        meta.uid_of(pod): sum(
            one.get("restartCount", 0) for one in pod["status"].get("containerStatuses") or ()
        )
        for pod in pods
        if pod
    }


def _names(obj: Object) -> tuple[str, str]:
    return meta.name_of(obj), meta.namespace_of(obj)


def _beside(context: Context, there: Snapshot, party: Party) -> Object:
    """Return the grader's pod for one that the answer may have written."""
    if (keeper := _keeper(there, party)).kind in _ADOPTING:
        raise ProbeError(
            f"no pod of the grader's own can ask in the place of {party}: the {keeper.kind} "
            f"{keeper.name} would take it for one of its pods",
            hint="let a pod or a Deployment ask",
        )
    like = there.pod(there.parties(party)[0])
    labels = {k: v for k, v in meta.labels_of(like).items() if k not in _OF_CONTROLLERS}
    container = {"name": ASKER, "image": IMAGE, "command": ["sleep", "infinity"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            # With the letter it is never that of a StatefulSet's own, which adopts web-12345678.
            "name": f"{party.name[:40]}-x{secrets.token_hex(4)}",
            "namespace": party.namespace,
            "labels": labels,
            "annotations": {MARK: context.namespace},
        },
        "spec": {
            **{key: like["spec"][key] for key in _KEPT if key in like["spec"]},
            "containers": [container],
            "readinessGates": [{"conditionType": NEVER}],
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
        },
    }


def _await(context: Context, made: Object, ends: float) -> None:
    """Wait until the grader's pod runs, and runs as it was made."""
    name, space = _names(made)
    left = max(1.0, ends - time.monotonic())
    (found,) = context.cluster.wait("pods", name, space, until=_has_started, deadline=left)
    status = found["status"]
    if status["phase"] != RUNNING:
        why = status.get("message") or status.get("reason") or status["phase"]
        raise ProbeError(
            f"the grader's own pod has ended: {why}",
            hint="make room on the node of the pod that it stands beside, then check again",
        )
    wanted, ran = _own(made), _own(found)
    where = next((field for field in wanted if ran.get(field) != wanted[field]), "")
    if where:
        raise ProbeError(
            f"the grader's own pod is not as it was made: something changed its {where}",
            hint="look for what changes pods: kubectl get mutatingwebhookconfigurations",
        )


def _own(pod: Object) -> Object:
    """Return what must be as it was made; a service mesh puts a container and labels beside it."""
    containers: list[Object] = pod["spec"]["containers"]
    asker: Object = next((one for one in containers if one["name"] == ASKER), {})
    ours = {f"container's {key}": asker.get(key) for key in ("image", "command", "args", "envFrom")}
    ours["container's env"] = [
        one for one in asker.get("env") or () if _STEERING.fullmatch(one["name"])
    ]
    return ours | {key: pod["spec"][key] for key in _KEPT if key in pod["spec"]}


def _has_started(pod: Object) -> bool:
    """Say whether a pod runs, or has ended: then waiting is of no use."""
    return (pod.get("status") or {}).get("phase") in (RUNNING, "Failed", "Succeeded")
