"""Values that the cluster tells now: what an answer or a field is compared with.

An exercise never stores a right answer; it says where the answer can be read:

    {object: pods/web, path: status.podIP}          a field of an object
    {count: pods, selector: app=web}                how many there are
    {names: pods, selector: app=web}                which there are, comma-separated
    {events: FailedScheduling}                      how many events have a reason
    {endpoints: web}                                where a Service leads: ADDRESS:PORT of each
    {object: pods/web, path: status.podIP, in: 10.244.0.0/26}      yes or no
    {estate: {...}, finding: dns-denied}            what an audit finds (`audited`)
    {queries: example.com, from: web}               how many DNS queries a name costs in a pod
    {seconds: example.com, from: web}               how long looking it up takes there
    {lost: {from: web, to: svc:db, port: 80}}       where a packet is lost: a node, a pod, ...
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any

from k8slab.embedded.controllers.service_values import endpoints
from k8slab.errors import UsageError
from k8slab.grading import audited
from k8slab.grading.fields import Field, Fields, text
from k8slab.objects import meta, paths
from k8slab.objects.slices import SLICES, service_of
from k8slab.policy import Flow
from k8slab.probes.journey import journey
from k8slab.probes.lookups import look_up
from k8slab.probes.steps import is_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.grading.context import Context

_PLACE = re.compile(r"\{(?P<object>[^\s{}]+/[^\s{}]+) (?P<path>[^\s{}]+)\}")

FIELDS: Fields = {
    "object": text("an object as RESOURCE/NAME, for example pods/web or deployments.apps/web"),
    "path": text("where in the object, for example status.podIP"),
    "in": text("an address range; the value is then yes or no"),
    "count": text("a resource whose objects are counted, for example pods"),
    "names": text("a resource whose objects are named"),
    "events": text("a reason; how many events of the namespace have it"),
    "endpoints": text("a Service; the ADDRESS:PORT of each endpoint to which its ports lead"),
    "selector": text("a label selector for count, names, or object without a name"),
    "namespace": text("where to look; the exercise's namespace otherwise"),
    "estate": Field((dict,), "a large estate made from a seed: pods, policies, namespaces, seed"),
    "finding": text("a check of the audit; how often it strikes in the estate"),
    "queries": text("a name; how many DNS queries looking it up costs in the pod `from`"),
    "seconds": text("a name; how many whole seconds looking it up takes in the pod `from`"),
    "from": text("the pod of queries and seconds; it needs python3"),
    "list": Field((bool,), "true: where the check strikes, instead of how often"),
    "lost": Field((dict,), "a flow (from, to, port); the place at which its packet is lost"),
}


_SORTS = (
    "object", "count", "names", "events", "endpoints", "estate", "queries", "seconds", "lost"
)  # fmt: skip
_LOOKED_UP = ("queries", "seconds")


def fault(spec: Mapping[str, Any]) -> str:
    """Say what is wrong with a value's description; empty when nothing is."""
    given = [key for key in _SORTS if key in spec]
    if len(given) != 1:
        return f"needs exactly one of {', '.join(_SORTS)}"
    if ("from" in spec) != (given[0] in _LOOKED_UP):
        return f"`from` belongs to {' and '.join(_LOOKED_UP)}, and they need it"
    if given == ["estate"]:
        return audited.estate_fault(spec)
    if given == ["object"] and "path" not in spec:
        return "needs a path beside object"
    if given == ["lost"]:
        return _flow_fault(spec["lost"])
    try:
        paths.steps(spec.get("path", ""))
    except UsageError as error:
        return error.message
    return ""


def read(context: Context, spec: Mapping[str, Any]) -> Any:
    """Return the value as the cluster has it now; ``None`` when there is none."""
    if "estate" in spec:
        return audited.value(spec)
    if "from" in spec:
        return _looked_up(context, spec)
    if "lost" in spec:
        return _lost(context, spec["lost"])
    namespace = spec.get("namespace", context.namespace)
    selector = spec.get("selector", "")
    for key in ("count", "names"):
        if key in spec:
            listed = context.cluster.list(spec[key], namespace, selector=selector)
            names = sorted(meta.name_of(obj) for obj in listed)
            return len(names) if key == "count" else ", ".join(names)
    if "endpoints" in spec:
        return _endpoints(context, spec["endpoints"], namespace)
    if "events" in spec:
        listed = context.cluster.list("events", namespace)
        return sum(one.get("reason") == spec["events"] for one in listed)
    value = paths.at(find(context, spec), spec["path"])
    return _contains(spec["in"], value) if "in" in spec and value is not None else value


def _endpoints(context: Context, name: str, namespace: str) -> str | None:
    """Return where a Service leads, comma-separated; ``None`` for nowhere.

    All slices of the label are one list, which may have an endpoint twice (KEP-752). As with
    kube-proxy each port of the Service leads to the endpoints of slices of its families (KEP-563)
    that have a port of its name: to those that are ready, and only without any to those that
    serve while they terminate (KEP-1669). Of one without an address of its own DNS tells all
    that are ready; one that is an ExternalName has no endpoints.
    """
    service = context.cluster.get("services", name, namespace)
    if service is None or service["spec"].get("type") == "ExternalName":
        return None
    spec, found = service["spec"], set()
    families = spec.get("ipFamilies") or ("IPv4", "IPv6")
    slices = [
        one
        for one in context.cluster.list(SLICES, namespace)
        if service_of(one) == name and one["addressType"] in families
    ]
    headless = spec.get("clusterIP") == "None"
    given = slices if headless else [spec]
    for port in [port for one in given for port in one.get("ports") or ()]:
        behind = endpoints(port, slices)
        ready = {end for end in behind if not end.terminating}
        found |= ready if ready or headless else {*behind}
    return ", ".join(sorted({f"{end.address}:{end.port}" for end in found})) or None


def _looked_up(context: Context, spec: Mapping[str, Any]) -> int:
    """Return what looking a name up costs in a pod: packets that were really sent, or time."""
    pod = context.asker(spec["from"])
    name = spec.get("queries") or spec["seconds"]
    found = look_up(context.cluster, pod, name)
    return len(found.queries) if "queries" in spec else round(found.seconds)


_FLOW = {"from", "to", "port"}


def _flow_fault(flow: Mapping[str, Any]) -> str:
    if not flow.keys() >= _FLOW or flow.keys() - {*_FLOW, "protocol"}:
        return "lost needs from, to and port, and may have protocol"
    try:
        Flow.of(
            flow["from"],
            flow["to"],
            flow["port"],
            flow.get("protocol", "TCP"),
            namespace="anywhere",
        )
    except UsageError as error:
        return f"lost: {error.message}"
    return ""


def _lost(context: Context, spec: Mapping[str, Any]) -> str | None:
    """Return the place at which a packet is lost or refused; ``None`` for nowhere."""
    flow = Flow.of(
        spec["from"], spec["to"], spec["port"], spec.get("protocol", "TCP"),
        namespace=context.namespace,
    )  # fmt: skip
    ended = journey(context.cluster, flow, predict=False).ended
    return str(ended.place) if ended else None


def find(context: Context, spec: Mapping[str, Any]) -> Any:
    """Return the object that ``object`` (and ``selector``) mean, or ``None``."""
    namespace = spec.get("namespace", context.namespace)
    resource, _, name = spec["object"].partition("/")
    if name:
        return context.cluster.get(resource, name, namespace)
    found = context.cluster.list(resource, namespace, selector=spec.get("selector", ""))
    live = [obj for obj in found if not meta.is_deleting(obj)]
    return live[0] if live else None


def fill(context: Context, template: str) -> str:
    """Replace each ``{RESOURCE/NAME PATH}`` by what the cluster says; a missing one by nothing."""
    return _PLACE.sub(
        lambda found: as_text(read(context, {"object": found["object"], "path": found["path"]})),
        template,
    )


def _contains(block: str, value: Any) -> str:
    try:
        return "yes" if ipaddress.ip_address(str(value)) in ipaddress.ip_network(block) else "no"
    except ValueError as error:
        raise UsageError(f"cannot tell whether {value!r} is in {block!r}: {error}") from error


def as_text(value: Any) -> str:
    """Return a value as a learner would type it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool | list | dict):
        return json.dumps(value)
    return str(value)


def alike(spec: Mapping[str, Any], typed: str, value: Any) -> bool:
    """Compare what was typed with what a value's description says, in the way of its sort.

    A node may be called by the end of its name, as everywhere in the course: worker2.
    """
    if "lost" in spec or spec.get("path") == "spec.nodeName":
        return value is not None and is_place(typed, as_text(value))
    return same(typed, value)


def same(typed: str, value: Any) -> bool:
    """Compare what was typed with a value: case, spaces and the order of a list do not count."""

    def parts(text_: str) -> list[str]:
        return sorted(part for part in text_.lower().replace(",", " ").split() if part)

    return value is not None and parts(typed) == parts(as_text(value))
