"""What a hint may depend on: a condition that the cluster's state fulfils or not.

{selects_nothing: any}                       a policy of the exercise selects no pod
{selects_nothing: networkpolicies/only-web}  this policy does
{flow: {from: batch, to: db, port: 8080}, is: open}
{count: networkpolicies.networking.k8s.io, equals: 0}   any value, as a `field` check has it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab import policy
from k8slab.errors import ExerciseError, K8slabError
from k8slab.grading import values
from k8slab.grading.checks import COMPARISONS, misses
from k8slab.grading.fields import Field, Fields, text, validate
from k8slab.grading.wants import WISHES
from k8slab.policy import Flow
from k8slab.probes import expand, observe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.grading.context import Context

ANY = "any"

FIELDS: Fields = {
    **values.FIELDS,
    **{name: field for name, field in COMPARISONS.items() if name != "same_as"},
    "selects_nothing": text("networkpolicies/NAME or any: a policy that selects no pod"),
    "flow": Field((dict,), "a flow: from, to, port, protocol"),
    "is": text("the outcome of that flow", allowed=tuple(WISHES)),
}

_FLOW: Fields = {
    "from": text("who", required=True),
    "to": text("whom", required=True),
    "port": Field((int, str), "a port number or a port's name", required=True),
    "protocol": text("TCP otherwise", allowed=("TCP", "UDP", "SCTP")),
}


def check(spec: Mapping[str, Any], place: str) -> None:
    """Raise `ExerciseError` when an exercise file uses a condition wrongly."""
    validate(spec, FIELDS, place)
    if "selects_nothing" in spec:
        name = spec["selects_nothing"]
        if len(spec) > 1 or (name != ANY and not name.startswith("networkpolicies/")):
            raise ExerciseError(
                f"{place}: selects_nothing stands alone: networkpolicies/NAME or any"
            )
    elif "flow" in spec:
        validate(spec["flow"], _FLOW, f"{place}, flow")
        if set(spec) != {"flow", "is"}:
            raise ExerciseError(f"{place}: a flow needs `is` beside it, and nothing else")
    elif fault := values.fault(spec):
        raise ExerciseError(f"{place}: {fault}", hint="or use selects_nothing, or flow and is")


def holds(context: Context, spec: Mapping[str, Any]) -> bool:
    """Say whether the cluster fulfils a condition now; what cannot be read is not fulfilled."""
    try:
        if "selects_nothing" in spec:
            return _selects_nothing(context, spec["selects_nothing"])
        if "flow" in spec:
            return _flow_is(context, spec["flow"], spec["is"])
        return not misses(values.read(context, spec), dict(spec))
    except K8slabError:
        return False  # the other text of the hint does then


def _selects_nothing(context: Context, name: str) -> bool:
    estate = policy.compile(context.policy_objects())
    wanted = name.partition("/")[2]
    return any(
        not estate.selected(one)
        for one in estate.policies
        if one.namespace in context.namespaces and (name == ANY or one.name == wanted)
    )


def _flow_is(context: Context, spec: Mapping[str, Any], wish: str) -> bool:
    flow = Flow.of(
        spec["from"], spec["to"], spec["port"], spec.get("protocol", "TCP"),
        namespace=context.namespace,
    )  # fmt: skip
    seen = observe(context.cluster, expand(context.cluster, [flow]))
    return all(one.outcome in WISHES[wish] for one in seen)
