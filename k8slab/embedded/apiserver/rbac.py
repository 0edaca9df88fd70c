"""The rules of RBAC: what one rule allows, what covers what, and how a rule is written; pure.

Source: ``pkg/apis/rbac/v1`` (evaluation helpers) and
``component-helpers/auth/rbac/validation`` (Covers, CompactRules) of Kubernetes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.objects import selectors
from k8slab.objects.meta import labels_of, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.objects.meta import Object

GROUP = "rbac.authorization.k8s.io"
ALL = "*"


@dataclass(frozen=True, slots=True)
class Action:
    """What a caller wants to do; `path` for requests that name no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """Return ``resource`` or ``resource/subresource``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``PolicyRule``; empty `names` are all names."""

    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    def allows(self, action: Action) -> bool:
        """Say whether this rule lets the action pass."""
        if not _has(self.verbs, action.verb):
            return False
        if not action.resource:
            return _url_matches(self.urls, action.path)
        return (
            _has(self.groups, action.group)
            and _resource_matches(self.resources, action.full_resource, action.subresource)
            and (not self.names or action.name in self.names)
        )

    def covers(self, part: Rule) -> bool:
        """Say whether this rule alone grants all that `part` grants."""
        if not _has_all(self.verbs, part.verbs):
            return False
        if part.urls:
            return all(_url_matches(self.urls, url) for url in part.urls)
        return (
            _has_all(self.groups, part.groups)
            and all(
                _resource_matches(self.resources, resource, resource.partition("/")[2])
                for resource in part.resources
            )
            and (not self.names or (bool(part.names) and set(part.names) <= set(self.names)))
        )

    def parts(self) -> Iterable[Rule]:
        """Split into rules of one verb, group, resource and name each."""
        for verb in self.verbs:
            yield from (Rule((verb,), urls=(url,)) for url in self.urls)
            for group in self.groups:
                for resource in self.resources:
                    for name in self.names or ("",):
                        yield Rule((verb,), (group,), (resource,), (name,) if name else ())

    def __str__(self) -> str:
        fields = (
            ("APIGroups", self.groups),
            ("Resources", self.resources),
            ("NonResourceURLs", self.urls),
            ("ResourceNames", self.names),
            ("Verbs", self.verbs),
        )
        return "{" + ", ".join(f"{name}:{quoted(words)}" for name, words in fields if words) + "}"


FULL_AUTHORITY = (Rule((ALL,), (ALL,), (ALL,)), Rule((ALL,), urls=(ALL,)))


def quoted(words: Iterable[str]) -> str:
    """Write a list as Go's ``%q`` does."""
    return "[" + " ".join(f'"{word}"' for word in words) + "]"


def rule_of(obj: Object) -> Rule:
    """Return the rule of a ``PolicyRule`` object."""
    return Rule(
        tuple(obj.get("verbs") or ()),
        tuple(obj.get("apiGroups") or ()),
        tuple(obj.get("resources") or ()),
        tuple(obj.get("resourceNames") or ()),
        tuple(obj.get("nonResourceURLs") or ()),
    )


def rules_of(role: Object) -> tuple[Rule, ...]:
    """Return the rules of a Role or ClusterRole."""
    return tuple(rule_of(rule) for rule in role.get("rules") or ())


def uncovered(held: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """Return what of `wanted` the rules `held` do not grant, verbs of the same thing together."""
    missing: dict[Rule, list[str]] = {}
    for rule in wanted:
        for part in rule.parts():
            if not any(own.covers(part) for own in held):
                thing = Rule((), part.groups, part.resources, part.names, part.urls)
                verbs = missing.setdefault(thing, [])
                if part.verbs[0] not in verbs:
                    verbs.append(part.verbs[0])
    return [
        Rule(tuple(verbs), thing.groups, thing.resources, thing.names, thing.urls)
        for thing, verbs in missing.items()
    ]


def aggregated(role: Object, cluster_roles: Iterable[Object]) -> list[Object]:
    """Return the rules that a role's ``aggregationRule`` gathers, each once."""
    wanted = [
        selector
        for term in role["aggregationRule"].get("clusterRoleSelectors") or ()
        if (selector := selectors.from_object(term)) is not None
    ]
    rules: list[Object] = []
    for one in sorted(cluster_roles, key=name_of):
        if name_of(one) != name_of(role) and any(s.matches(labels_of(one)) for s in wanted):
            rules += [rule for rule in one.get("rules") or () if rule not in rules]
    return rules


def _has(words: tuple[str, ...], word: str) -> bool:
    return word in words or ALL in words


def _has_all(words: tuple[str, ...], wanted: Iterable[str]) -> bool:
    return ALL in words or all(word in words for word in wanted)


def _resource_matches(resources: tuple[str, ...], full: str, subresource: str) -> bool:
    if full in resources or ALL in resources:
        return True
    return bool(subresource) and f"*/{subresource}" in resources


def _url_matches(urls: tuple[str, ...], path: str) -> bool:
    return any(
        url in (ALL, path) or (url.endswith("*") and path.startswith(url.rstrip("*")))
        for url in urls
    )
