"""The check ``admitted``: what the API server says to an object, which is not kept.

It is a dry run on the server's side, so admission webhooks are asked as by ``kubectl apply``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k8slab.errors import ApiStatusError
from k8slab.grading.fields import MEANING, Field, Fields, text
from k8slab.grading.polling import Polling
from k8slab.grading.result import Counterexample, Finding, Status
from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object

ACCEPTED = "accepted"
"""What is told where nothing was said against an object."""

FIELDS: Fields = {
    "manifest": Field((dict,), "the object to create", required=True),
    "refused": text("a regular expression: how the refusal must read; else it must be accepted"),
    **MEANING,
}


def fault(obj: Mapping[str, Any]) -> str:
    """Say what an object lacks that it could be sent anywhere; empty when nothing."""
    metadata = obj.get("metadata")
    named = {**obj, "metadata.name": metadata.get("name") if isinstance(metadata, dict) else None}
    for field in ("apiVersion", "kind", "metadata.name"):
        if not isinstance(named.get(field), str) or not named[field]:
            return f"the object has no {field}"
    return ""


def check(context: Context, spec: dict[str, Any]) -> Finding:
    """Try to create the object, until it goes as wanted or the deadline has come."""
    obj, wish = spec["manifest"], spec.get("refused", "")

    def good(said: str) -> bool:
        return bool(re.search(wish, said)) if wish else not said

    said = Polling(
        look=lambda: refusal(context, obj),
        good=good,
        quiet=lambda _: context.quiet(),
        deadline=context.deadline,
    ).run()
    if good(said):
        return Finding("admitted", Status.PASSED)
    what = f"{obj['kind']} {meta.name_of(obj)}"
    wanted = spec["meaning"] if wish else "to be accepted"
    seen = said or ACCEPTED
    example = Counterexample(
        what,
        wanted,
        seen,
        replay=f"kubectl -n {context.namespace} create -f FILE --dry-run=server",
    )
    return Finding("admitted", Status.FAILED, (f"{what}: {seen}",), example)


def refusal(context: Context, obj: Object) -> str:
    """Return what the API server says against an object; empty when it accepts it."""
    found = context.cluster.resources.of(obj)
    space = meta.namespace_of(obj) or context.namespace
    path = found.path(namespace=space)
    try:
        context.cluster.request("POST", f"{path}?dryRun=All", obj)
    except ApiStatusError as error:
        return str(error.message)
    return ""
