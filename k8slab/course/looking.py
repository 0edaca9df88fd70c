"""What is looked at for a prediction: flows, values, answers, and what commands print.

Nothing here knows what was predicted, or decides whether it came true (`course.deciding`).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from k8slab import programs
from k8slab.course.lab import make_flow, several
from k8slab.errors import ApiStatusError
from k8slab.grading import Context, admitted, http, values
from k8slab.graphs import lookup as lookup_graph
from k8slab.objects import meta
from k8slab.policy import Party
from k8slab.probes import expand, observe, one_pod, resolve, run_in_pod
from k8slab.probes.lookups import look_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.course.lab import Prediction
    from k8slab.probes import Observation

PROMPT = "$ "
"""How a line begins that is a command, and not what it printed."""


def look(cluster: Any, prediction: Prediction) -> tuple[list[str], list[Observation]]:
    """Look at what a prediction is about; return the lines to show, and what its flows did."""
    spec, lines = prediction.observe, []
    observations = _try_flows(cluster, spec.get("flows") or (), prediction)
    lines += [str(seen) for seen in observations]
    context = Context(cluster, prediction.namespace)
    lines += [_value(context, wanted) for wanted in several(spec.get("value"))]
    if "http" in spec:
        lines += _ask(cluster, spec["http"], prediction.namespace)
    if "admitted" in spec:
        obj = spec["admitted"]
        space = f" in {meta.namespace_of(obj)}" if meta.namespace_of(obj) else ""
        said = admitted.refusal(context, obj) or admitted.ACCEPTED
        lines.append(f"{obj['kind']} {meta.name_of(obj)}{space}: {said}")
    if "kubectl" in spec:
        lines += _kubectl(cluster, spec["kubectl"], prediction.namespace)
    if "command" in spec:
        lines += _run(cluster, spec["command"], prediction.namespace)
    if "resolve" in spec:
        lines += _resolve(cluster, spec["resolve"], prediction.namespace)
    return lines, observations


def _try_flows(cluster: Any, entries: Any, prediction: Prediction) -> list[Observation]:
    flows = [make_flow(e, prediction.namespace, prediction.id) for e in entries]
    return observe(cluster, expand(cluster, flows))


def _ask(cluster: Any, spec: Mapping[str, Any], namespace: str) -> list[str]:
    source = one_pod(cluster, Party.parse(spec["from"], namespace))
    url = values.fill(Context(cluster, namespace), spec["url"])
    answer = http.get(cluster, source, url, spec.get("request_headers"))
    return [f"GET {url}: {answer.told()}", *answer.body.splitlines()[:20]]


def _resolve(cluster: Any, spec: Mapping[str, Any], namespace: str) -> list[str]:
    """Look names up; one of them is told query by query, of several the cost alone."""
    source = one_pod(cluster, Party.parse(spec["from"], namespace))
    found = [
        look_up(cluster, source, name, command=_asking(spec, name))
        for name in map(str, spec["names"])
    ]
    if len(found) == 1:
        return lookup_graph.text(found[0]).splitlines()
    return [*map(lookup_graph.summary, found), lookup_graph.ranking(found)]


def _asking(spec: Mapping[str, Any], name: str) -> list[str]:
    return [*map(str, spec["command"]), name] if "command" in spec else []


def _kubectl(cluster: Any, words: Sequence[Any], namespace: str) -> list[str]:
    """Run the real kubectl: some questions are about what it prints."""
    argv = [*cluster.kubectl, "-n", namespace, *map(str, words)]
    environment = {"KUBECONFIG": str(cluster.kubeconfig)}
    done = programs.run(argv, env=environment, check=False)
    told = (done.stdout + done.stderr).splitlines() or ["(it printed nothing)"]
    return [PROMPT + shlex.join(argv), *told]


def _run(cluster: Any, spec: Mapping[str, Any], namespace: str) -> list[str]:
    argv = [str(word) for word in spec["argv"]]
    asked = PROMPT + (argv[2] if argv[:2] == ["sh", "-c"] else " ".join(argv))
    try:
        if "node" in spec:
            (node,) = resolve(cluster, [Party("node", spec["node"])])
            done = cluster.node_run(node.name, argv)
        else:
            pod = one_pod(cluster, Party.parse(spec["pod"], namespace))
            done = run_in_pod(cluster, pod, argv, container=spec.get("container", ""))
    except ApiStatusError as error:  # a program that is not there: what is to be seen
        return [asked, f"error: {error.message}"]
    told = (done.stdout + done.stderr).splitlines()
    return [asked, *told, *([] if done.code == 0 else [f"exit {done.code}"])]


def _value(context: Context, wanted: Mapping[str, Any]) -> str:
    name = wanted.get("object") or wanted.get("count") or wanted.get("names")
    told = values.as_text(values.read(context, wanted))
    return f"{name} {wanted.get('path', '')}".strip() + f": {told}"
