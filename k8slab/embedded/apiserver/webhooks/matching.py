"""Does a webhook want to see this object: its selectors, and its conditions in CEL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.custom import rules
from k8slab.objects.meta import labels_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.store import Store
    from k8slab.embedded.apiserver.webhooks.configured import Concerned
    from k8slab.embedded.apiserver.webhooks.reviews import Subject
    from k8slab.objects.meta import Object


def wants(store: Store, one: Concerned, subject: Subject, new: Object | None) -> bool:
    """Say whether a webhook whose rules name a request has to be asked about it.

    Raises 403 where a condition cannot be evaluated and the webhook's failures are not ignored.
    """
    webhook = one.webhook
    if webhook.namespaces.requirements and not _in_namespace(store, one, subject, new):
        return False
    if webhook.objects.requirements:
        labels = [labels_of(obj) for obj in (new, subject.old) if obj and "metadata" in obj]
        if not any(webhook.objects.matches(those) for those in labels):
            return False
    return not webhook.spec.get("matchConditions") or _fulfilled(one, subject, new)


def _in_namespace(store: Store, one: Concerned, subject: Subject, new: Object | None) -> bool:
    """Match the namespace; one that is being written has the labels that it is to get.

    What belongs to no namespace cannot be left out by one.
    """
    name = subject.namespace
    if subject.kind.resource == "namespaces":
        if new is not None and not subject.subresource:
            return one.webhook.namespaces.matches(labels_of(new))
        name = subject.name
    if not name:
        return True
    found = store.get("namespaces", "", name)
    return found is not None and one.webhook.namespaces.matches(labels_of(found))


def _fulfilled(one: Concerned, subject: Subject, new: Object | None) -> bool:
    """Evaluate all conditions; one that is false decides, whatever is wrong with others."""
    variables = {
        "object": subject.seen(new, one.kind),
        "oldObject": subject.seen(subject.old, one.kind),
        "request": subject.described(one.kind),
    }
    failed = ""
    for condition in one.webhook.spec["matchConditions"]:
        try:
            if not rules.evaluate(condition["expression"], variables):
                return False
        except ValueError as error:
            failed = failed or f"match condition {condition['name']!r}: {error}".replace("'", '"')
    if failed and not one.webhook.ignores_failures:
        raise statuses.forbidden_request(subject.kind.resource, subject.name, failed)
    return not failed
