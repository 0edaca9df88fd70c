"""What is done to a running cluster to break it, to mend it, and to bring it back.

    {apply: [OBJECT, ...]}                      server-side apply; see `grading.values.fill`
    {delete: RESOURCE/NAME}                     and wait until it is gone
    {kill: SELECTOR}                            delete pods without a grace, and wait
    {change: RESOURCE/NAME, set: {path: value}} a merge patch of fields
    {change: RESOURCE/NAME, edit: {path: [pattern, text]}}     replace text in a field
    {change: RESOURCE/NAME, set: ..., was: OBJECT}             or make it anew where it is gone
    {wait: RESOURCE/NAME}                       until it is ready
    {node: NAME, run: [argv]}                   a command in a node's network namespace
    {agent: kube-proxy, node: NAME, running: false}            stop or start a node's agent
    {restore: OBJECT}                           make it anew, exactly so

`namespace:` names another one than the challenge's. What is changed outside of the challenge's
namespaces is remembered first: `before` gives the actions that put it back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.challenges.paths import nested
from k8slab.clusters.agents import run_agent
from k8slab.clusters.media import MERGE
from k8slab.errors import ApiStatusError, ClusterError, K8slabError, UsageError
from k8slab.grading import Context, values
from k8slab.grading.watched import pattern_of
from k8slab.objects import meta, paths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from k8slab.challenges.recipe import Action, Case
    from k8slab.objects.meta import Object

GONE_SECONDS = READY_SECONDS = 60.0
_CONFLICT, _INVALID = 409, 422


@dataclass(frozen=True, slots=True)
class Doing:
    """Where actions are done; `quietly`: a command that fails on a node is no error.

    A learner may have brought back already what is brought back.
    """

    cluster: Any
    case: Case
    quietly: bool = False

    def space(self, action: Action) -> str:
        """Return the namespace that an action is about."""
        return str(action.get("namespace", self.case.namespace))


def run(cluster: Any, case: Case, actions: Sequence[Action], *, quietly: bool = False) -> None:
    """Do one action after the other."""
    doing = Doing(cluster, case, quietly)
    for action in actions:
        verb = next((word for word in _VERBS if word in action), "")
        if not verb:
            raise UsageError(f"{case.fault.id}: unknown action {action}")
        _VERBS[verb](doing, action)


def bring_back(cluster: Any, case: Case, actions: Sequence[Action]) -> list[str]:
    """Do every action, whatever became of those before it; return what could not be done."""
    failed = []
    for action in actions:
        try:
            run(cluster, case, [action], quietly=True)
        except K8slabError as error:
            failed.append(f"{_named(action)}: {error.message}")
    return failed


def _named(action: Action) -> str:
    verb = next(word for word in _VERBS if word in action)
    if verb in ("agent", "node"):
        return f"node {action['node']}"
    subject = pattern_of(action[verb]) if verb == "restore" else action[verb]
    return f"{verb} {subject}"


def before(cluster: Any, case: Case) -> list[Action]:
    """Return the actions that bring back what the injection changes outside the namespaces."""
    doing = Doing(cluster, case)
    found: list[Action] = []
    for action in case.inject:
        if "agent" in action:
            found.append({**action, "running": True})
        for obj in action.get("apply", ()):
            space = meta.namespace_of(obj)
            if space and space not in case.namespaces:
                found += _as_it_was(cluster, pattern_of(obj), space)
        if "change" in action and action.get("namespace"):
            obj = _object(doing, action)
            wanted = {**action.get("set", {}), **action.get("edit", {})}
            was = {path: paths.at(obj, path) for path in wanted}
            back = {"change": action["change"], "namespace": action["namespace"], "set": was}
            found.append({**back, "was": _plain(obj)})
    return found


def _as_it_was(cluster: Any, pattern: str, namespace: str) -> list[Action]:
    """Return what puts an object back that is about to be overwritten, or made."""
    resource, _, name = pattern.partition("/")
    found = cluster.get(resource, name, namespace)
    return [
        {"delete": pattern, "namespace": namespace},
        *([{"restore": _plain(found)}] if found is not None else []),
    ]


def _plain(obj: Object) -> Object:
    """Return an object without what the API server writes into it."""
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: value for key, value in obj["metadata"].items() if key in kept}
    body = {key: value for key, value in obj.items() if key != "status"}
    return {**body, "metadata": metadata}


def replace(cluster: Any, obj: Object) -> None:
    """Make an object as given, anew where the API lets nobody change it."""
    try:
        cluster.apply([obj])
    except ApiStatusError as error:
        if error.code not in (_CONFLICT, _INVALID):
            raise
        found = cluster.resources.of(obj)
        resource = f"{found.plural}.{found.group}".rstrip(".")
        name, space = meta.name_of(obj), meta.namespace_of(obj)
        cluster.delete(resource, name, space)
        cluster.wait(resource, name, space, until="delete", deadline=GONE_SECONDS)
        cluster.apply([obj])


def _object(doing: Doing, action: Action) -> dict[str, Any]:
    resource, _, name = action["change"].partition("/")
    found = doing.cluster.get(resource, name, doing.space(action))
    if found is None:
        raise ClusterError(f"there is no {action['change']} in {doing.space(action)}")
    return dict(found)


def _apply(doing: Doing, action: Action) -> None:
    context = Context(doing.cluster, doing.case.namespace)
    objects = [_filled(context, obj) for obj in action["apply"]]
    doing.cluster.apply(objects, namespace=doing.case.namespace)


def _filled(context: Context, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _filled(context, one) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(context, one) for one in value]
    return values.fill(context, value) if isinstance(value, str) else value


def _delete(doing: Doing, action: Action) -> None:
    resource, _, name = action["delete"].partition("/")
    space = doing.space(action)
    doing.cluster.delete(resource, name, space)
    doing.cluster.wait(resource, name, space, until="delete", deadline=GONE_SECONDS)


def _kill(doing: Doing, action: Action) -> None:
    space = doing.space(action)
    pods = [meta.name_of(pod) for pod in doing.cluster.list("pods", space, selector=action["kill"])]
    for name in pods:
        doing.cluster.delete("pods", name, space, grace=0)
    for name in pods:
        doing.cluster.wait("pods", name, space, until="delete", deadline=GONE_SECONDS)


def _restore(doing: Doing, action: Action) -> None:
    # As it is: a `{` in it is its own, and nothing of the cluster is to be filled in.
    doing.cluster.apply([action["restore"]])


def _wait(doing: Doing, action: Action) -> None:
    resource, _, name = action["wait"].partition("/")
    doing.cluster.wait(resource, name, doing.space(action), deadline=READY_SECONDS)


def _change(doing: Doing, action: Action) -> None:
    resource, _, name = action["change"].partition("/")
    if "was" in action and doing.cluster.get(resource, name, doing.space(action)) is None:
        _restore(doing, {"restore": action["was"]})
        return
    found = doing.cluster.resources.named(resource)
    path = found.path(namespace=doing.space(action), name=name)
    wanted = dict(action.get("set", {}))
    for field, (pattern, text) in action.get("edit", {}).items():
        old = str(paths.at(_object(doing, action), field))
        wanted[field], count = re.subn(pattern, text, old)
        if not count:
            raise ClusterError(f"{action['change']}: {field} has nothing like {pattern!r}")
    for field, value in wanted.items():
        doing.cluster.request("PATCH", path, nested(field, value), content_type=MERGE)


def _node(doing: Doing, action: Action) -> None:
    argv = _filled(Context(doing.cluster, doing.case.namespace), [*map(str, action["run"])])
    done = doing.cluster.node_run(action["node"], argv)
    if done.code and not doing.quietly:
        raise ClusterError(
            f"{action['node']}: {' '.join(argv)}: exit {done.code}", hint=done.stderr.strip()
        )


def _agent(doing: Doing, action: Action) -> None:
    run_agent(doing.cluster, action["node"], action["agent"], running=action["running"])


_VERBS: Mapping[str, Callable[[Doing, Action], None]] = {
    "agent": _agent,
    "apply": _apply,
    "change": _change,
    "delete": _delete,
    "kill": _kill,
    "node": _node,
    "restore": _restore,
    "wait": _wait,
}
