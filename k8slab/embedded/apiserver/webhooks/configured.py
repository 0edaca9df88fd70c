"""The webhooks there are, in the order in which they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.webhooks.gate import GROUP, MUTATING, VALIDATING
from k8slab.objects import selectors
from k8slab.objects.meta import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k8slab.embedded.apiserver.kinds import Kind, KindTable
    from k8slab.embedded.apiserver.store import Event, Store
    from k8slab.objects.meta import Object
    from k8slab.objects.selectors import Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One webhook of a configuration (MutatingWebhook, ValidatingWebhook)."""

    name: str
    configuration: str
    spec: Object
    namespaces: Selector
    objects: Selector

    @property
    def ignores_failures(self) -> bool:
        """Say whether a request goes on when this webhook cannot be asked."""
        return bool(self.spec.get("failurePolicy") == "Ignore")

    @property
    def seconds(self) -> int:
        """Return how long an answer may take."""
        return int(self.spec.get("timeoutSeconds") or 10)


@dataclass(frozen=True, slots=True)
class Concerned:
    """A webhook whose rules name a request, and the kind in whose version it wants the object."""

    webhook: Webhook
    kind: Kind


class Configured:
    """Follows the configurations, and knows for each sort of request whom it concerns."""

    def __init__(self, store: Store, kinds: KindTable) -> None:
        self._store, self._kinds = store, kinds
        self._webhooks: dict[str, tuple[Webhook, ...]] = {}
        self._concerned: dict[tuple, tuple[Concerned, ...]] = {}
        self._version = kinds.changes
        self.changes = 0
        """How often there were other webhooks: answers of before may not be theirs."""
        for resource in (MUTATING, VALIDATING):
            self._read(resource)
            store.subscribe(resource, self._listener(resource))

    def concerned(
        self, resource: str, operation: str, kind: Kind, subresource: str
    ) -> tuple[Concerned, ...]:
        """Return the webhooks of `MUTATING` or `VALIDATING` whose rules name such requests."""
        if kind.group == GROUP:
            return ()  # nobody could mend what forbids its own repair
        if self._version != self._kinds.changes:
            self._concerned.clear()
            self._version = self._kinds.changes
        key = (resource, operation, kind.api_version, kind.plural, subresource)
        found = self._concerned.get(key)
        if found is None:
            webhooks = self._webhooks.get(resource, ())
            found = tuple(self._naming(webhooks, operation, kind, subresource))
            self._concerned[key] = found
        return found

    def _naming(
        self, webhooks: tuple[Webhook, ...], operation: str, kind: Kind, subresource: str
    ) -> Iterator[Concerned]:
        # The same objects in the other versions of their group (matchPolicy Equivalent).
        others = [
            other
            for other in self._kinds.rows.values()
            if (other.group, other.plural) == (kind.group, kind.plural) and other is not kind
        ]
        for webhook in webhooks:
            rules = webhook.spec.get("rules") or ()
            alike = others if webhook.spec.get("matchPolicy") == "Equivalent" else []
            for known in (kind, *alike):
                if any(names(rule, operation, known, subresource) for rule in rules):
                    yield Concerned(webhook, known)
                    break

    def _listener(self, resource: str) -> Callable[[Event], None]:
        def changed(_event: Event) -> None:
            self._read(resource)

        return changed

    def _read(self, resource: str) -> None:
        configurations = sorted(self._store.list(resource), key=name_of)
        webhooks = tuple(
            _webhook(name_of(one), spec)
            for one in configurations
            for spec in one.get("webhooks") or ()
        )
        self._webhooks.pop(resource, None)
        if webhooks:
            self._webhooks[resource] = webhooks
        self._concerned.clear()
        self.changes += 1


def _webhook(configuration: str, spec: Object) -> Webhook:
    namespaces = selectors.from_object(spec.get("namespaceSelector") or {})
    objects = selectors.from_object(spec.get("objectSelector") or {})
    assert namespaces is not None
    assert objects is not None
    return Webhook(
        name=spec["name"],
        configuration=configuration,
        spec=spec,
        namespaces=namespaces,
        objects=objects,
    )


def names(rule: Object, operation: str, kind: Kind, subresource: str) -> bool:
    """Say whether a RuleWithOperations names such requests (``predicates/rules``)."""
    scope = rule.get("scope") or "*"
    # A namespace is an object of the whole cluster, though requests about it name it.
    if scope != "*" and (scope == "Namespaced") != kind.namespaced:
        return False
    return (
        _has(rule.get("operations"), operation)
        and _has(rule.get("apiGroups"), kind.group)
        and _has(rule.get("apiVersions"), kind.version)
        and any(_names(word, kind.plural, subresource) for word in rule.get("resources") or ())
    )


def _has(words: list[str] | None, wanted: str) -> bool:
    return words is not None and ("*" in words or wanted in words)


def _names(word: str, plural: str, subresource: str) -> bool:
    resource, _, sub = word.partition("/")
    return resource in ("*", plural) and sub in ("*", subresource)
