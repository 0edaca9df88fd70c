"""Who holds which rules: bindings by subject, rules by role, both kept right by the store.

A decision looks at the bindings of the caller's own name and groups only, in the cluster and in
the request's namespace, however many bindings there are.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import rbac, statuses
from k8slab.embedded.apiserver.rbac import Action, Rule
from k8slab.objects.meta import name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.embedded.apiserver.auth import User
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.embedded.apiserver.store import Event, Store
    from k8slab.objects.meta import Object

    RoleKey = tuple[str, str, str]
    """Kind, namespace ("" for a ClusterRole), name."""

    Place = tuple[str, str, str]
    """Namespace of the binding ("" for a ClusterRoleBinding), ``User`` or ``Group``, name."""

ROLES = (f"roles.{rbac.GROUP}", f"clusterroles.{rbac.GROUP}")
REMEMBERED = 4096
"""Decisions kept until the next change of a role or binding."""

BINDINGS = (f"rolebindings.{rbac.GROUP}", f"clusterrolebindings.{rbac.GROUP}")


def account_user(namespace: str, name: str) -> str:
    """Return the user name of a service account."""
    return f"system:serviceaccount:{namespace}:{name}"


class Roles:
    """The roles and bindings of a store, indexed for decisions."""

    def __init__(self, store: Store) -> None:
        self._rules: dict[RoleKey, tuple[Rule, ...]] = {}
        self._bound: defaultdict[Place, dict[str, RoleKey]] = defaultdict(dict)
        self._decided: dict[tuple[str, tuple[str, ...], Action], tuple[bool, str]] = {}
        for resource in ROLES:
            for role in store.list(resource):
                self._rules[_role_key(role)] = rbac.rules_of(role)
            store.subscribe(resource, self._role_changed)
        for resource in BINDINGS:
            for binding in store.list(resource):
                self._bind(binding)
            store.subscribe(resource, self._binding_changed)

    # --- questions

    def decide(self, user: User, action: Action) -> tuple[bool, str]:
        """Say whether a caller may do something, and why not if something is broken."""
        if user.is_master:
            return True, ""
        key = (user.name, user.groups, action)
        decision = self._decided.get(key)
        if decision is None:
            if len(self._decided) >= REMEMBERED:
                self._decided.clear()
            decision = self._decided[key] = self._decide(user, action)
        return decision

    def _decide(self, user: User, action: Action) -> tuple[bool, str]:
        broken: list[str] = []
        for key in self._roles_of(user, action.namespace):
            rules = self._rules.get(key)
            if rules is None:
                kind, _, name = key
                broken.append(f'{kind.lower()}.{rbac.GROUP} "{name}" not found')
            elif any(rule.allows(action) for rule in rules):
                return True, ""
        if not broken:
            return False, ""
        broken = list(dict.fromkeys(broken))
        listed = broken[0] if len(broken) == 1 else "[" + ", ".join(broken) + "]"
        return False, f"RBAC: {listed}"

    def allows(self, user: User, action: Action) -> bool:
        """Say whether a caller may do something."""
        return self.decide(user, action)[0]

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """Return every rule that a caller holds in a namespace ("" in the whole cluster)."""
        held = [
            rule for key in self._roles_of(user, namespace) for rule in self._rules.get(key, ())
        ]
        if user.is_master:
            held += rbac.FULL_AUTHORITY
        return list(dict.fromkeys(held))

    def _roles_of(self, user: User, namespace: str) -> Iterator[RoleKey]:
        for place in ("", namespace) if namespace else ("",):
            yield from self._bound.get((place, "User", user.name), {}).values()
            for group in user.groups:
                yield from self._bound.get((place, "Group", group), {}).values()

    # --- nobody grants more than they hold

    def check_grant(self, user: User, kind: Kind, new: Object, old: Object | None) -> None:
        """Refuse with 403 a role or binding that gives away rules its writer does not hold.

        The verbs ``escalate`` (on the role) and ``bind`` (on the role that is bound) lift this.
        Source: ``pkg/registry/rbac`` (policybased storage).
        """
        if kind.resource in ROLES:
            self._check_role(user, kind, new, old)
        elif kind.resource in BINDINGS:
            self._check_binding(user, kind, new, old)

    def _check_role(self, user: User, kind: Kind, new: Object, old: Object | None) -> None:
        fields = ("rules", "aggregationRule")
        if old is not None and all((new.get(f) or None) == (old.get(f) or None) for f in fields):
            return
        name, namespace = name_of(new), namespace_of(new)
        action = Action("escalate", rbac.GROUP, kind.plural, namespace=namespace, name=name)
        if self.allows(user, action):
            return
        held = self.rules(user, namespace)
        if new.get("aggregationRule") and rbac.uncovered(held, rbac.FULL_AUTHORITY):
            why = "must have cluster-admin privileges to use the aggregationRule"
            raise statuses.forbidden_request(kind.resource, name, why)
        _check_held(user, kind, name, rbac.uncovered(held, rbac.rules_of(new)))

    def _check_binding(self, user: User, kind: Kind, new: Object, old: Object | None) -> None:
        fields = ("subjects", "roleRef")
        if old is not None and all(new.get(f) == old.get(f) for f in fields):
            return
        namespace, key = namespace_of(new), _bound_role(new)
        plural = key[0].lower() + "s"
        if self.allows(user, Action("bind", rbac.GROUP, plural, namespace=namespace, name=key[2])):
            return
        rules = self._rules.get(key)
        if rules is None:
            raise statuses.not_found(f"{plural}.{rbac.GROUP}", key[2])
        missing = rbac.uncovered(self.rules(user, namespace), rules)
        _check_held(user, kind, name_of(new), missing)

    # --- following the store

    def _role_changed(self, event: Event) -> None:
        self._decided.clear()
        if event.type == "DELETED":
            self._rules.pop(_role_key(event.object), None)
        else:
            self._rules[_role_key(event.object)] = rbac.rules_of(event.object)

    def _binding_changed(self, event: Event) -> None:
        self._decided.clear()
        if event.old is not None:
            for place in _places(event.old):
                self._bound[place].pop(name_of(event.old), None)
                if not self._bound[place]:
                    del self._bound[place]
        if event.type != "DELETED":
            self._bind(event.object)

    def _bind(self, binding: Object) -> None:
        role = _bound_role(binding)
        for place in _places(binding):
            self._bound[place][name_of(binding)] = role


def _check_held(user: User, kind: Kind, name: str, missing: list[Rule]) -> None:
    if not missing:
        return
    listed = "\n".join(sorted(str(rule) for rule in missing))
    why = (
        f'user "{user.name}" (groups={rbac.quoted(user.groups)}) is attempting to grant RBAC '
        f"permissions not currently held:\n{listed}"
    )
    raise statuses.forbidden_request(kind.resource, name, why)


def _role_key(role: Object) -> RoleKey:
    namespace = namespace_of(role)
    return ("Role" if namespace else "ClusterRole", namespace, name_of(role))


def _bound_role(binding: Object) -> RoleKey:
    reference = binding["roleRef"]
    kind = reference["kind"]
    return kind, namespace_of(binding) if kind == "Role" else "", reference["name"]


def _places(binding: Object) -> set[Place]:
    namespace = namespace_of(binding)
    found = set()
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind", ""), subject.get("name", "")
        if kind == "ServiceAccount":
            kind, name = "User", account_user(subject.get("namespace") or namespace, name)
        found.add((namespace, kind, name))
    return found
