"""Which policies are wanted, which of them concern which node, and what changed.

Everything here runs on the kernel thread. A node has the chains of the policies that
select one of its pods, and no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from k8slab.embedded.network.model import Direction
from k8slab.embedded.network.ruleset_policy import pod_fragment, policy_fragment
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.embedded.network.model import PolicyDirection
    from k8slab.embedded.network.node import Node, Pod
    from k8slab.embedded.network.ruleset import Family, Fragment, Key, Table

_DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
Subject = tuple[str, Direction]


class Policies:
    """The policies that the nodes enforce."""

    def __init__(self) -> None:
        self._wanted: dict[Key, PolicyDirection] = {}
        self._by_subject: dict[Subject, dict[Key, None]] = {}
        self._rendered: dict[tuple[Key, Family], Fragment] = {}
        self._doubtful: set[Key] = set()
        """What the last sync changed, if it failed: some nodes may have it, some not."""

    def sync(self, wanted: Iterable[PolicyDirection], nodes: Iterable[Node]) -> None:
        """Make `nodes` enforce exactly `wanted`; return when the kernel does."""
        new = {_key(policy): policy for policy in wanted}
        old = self._wanted
        changed = [key for key, policy in new.items() if _differ(old.get(key), policy)]
        changed += [key for key in old if key not in new]
        subjects = {subject for key in changed for subject in _moved(old.get(key), new.get(key))}
        self._take_over(new, changed)
        repair = bool(self._doubtful)
        self._doubtful.update(changed)
        failure: KernelError | None = None
        for node in nodes:
            here = [subject for subject in subjects if subject[0] in node.pods]
            if repair:
                here = [(uid, direction) for uid in node.pods for direction in _DIRECTIONS]
            try:
                self._write(node, sorted(self._doubtful), here)
            except KernelError as error:
                failure = failure or error
        if failure:
            raise failure
        self._doubtful = set()

    def before_attach(self, node: Node, pod: Pod) -> None:
        """Put the policies of `pod` in force; it is in ``node.pods`` but not connected yet."""
        subjects: list[Subject] = [(pod.uid, direction) for direction in _DIRECTIONS]
        self._write(node, self._of(subjects), subjects)

    def after_detach(self, node: Node, pod: Pod) -> None:
        """Remove what only `pod` needed; it is no longer in ``node.pods``."""
        subjects: list[Subject] = [(pod.uid, direction) for direction in _DIRECTIONS]
        self._write(node, self._of(subjects), subjects)

    def _of(self, subjects: Iterable[Subject]) -> list[Key]:
        return [key for subject in subjects for key in self._by_subject.get(subject, ())]

    def _take_over(self, new: dict[Key, PolicyDirection], changed: Iterable[Key]) -> None:
        for key in changed:
            if old := self._wanted.get(key):
                for uid in old.subjects:
                    del self._by_subject[uid, old.direction][key]
                    if not self._by_subject[uid, old.direction]:
                        del self._by_subject[uid, old.direction]
            if policy := new.get(key):
                for uid in policy.subjects:
                    self._by_subject.setdefault((uid, policy.direction), {})[key] = None
            for family in ("ip", "ip6"):
                self._rendered.pop((key, family), None)
        self._wanted = new

    def _write(self, node: Node, keys: Iterable[Key], subjects: Iterable[Subject]) -> None:
        """Change a node's table, in an order that is safe if it takes several transactions.

        Policies come before the pods that need them, and go after the pods that needed them.
        """
        for family, tables in node.tables.items():
            policies, unused = self._policies(node, family, tables.policy, keys)
            pods = self._pods(node, tables.policy, subjects)
            node.change(tables.policy, {**policies, **pods, **unused})

    def _policies(
        self, node: Node, family: Family, table: Table, keys: Iterable[Key]
    ) -> tuple[dict[Key, Fragment | None], dict[Key, Fragment | None]]:
        """Return the policies that the node needs, and those that it needs no more."""
        needed: dict[Key, Fragment | None] = {}
        unused: dict[Key, Fragment | None] = {}
        for key in keys:
            policy = self._wanted.get(key)
            if policy and not policy.subjects.isdisjoint(node.pods):
                needed[key] = self._render(key, policy, family)
            elif key in table:
                unused[key] = None
        return needed, unused

    def _pods(
        self, node: Node, table: Table, subjects: Iterable[Subject]
    ) -> dict[Key, Fragment | None]:
        changes: dict[Key, Fragment | None] = {}
        for uid, direction in subjects:
            place: Key = ("pod", uid, direction)
            selecting = self._by_subject.get((uid, direction), ())
            if selecting and uid in node.pods:
                policies = sorted((self._wanted[key] for key in selecting), key=_rank)
                interface = node.pods[uid].interface
                changes[place] = pod_fragment(interface, direction, policies)
            elif place in table:
                changes[place] = None
        return changes

    def _render(self, key: Key, policy: PolicyDirection, family: Family) -> Fragment:
        if (key, family) not in self._rendered:
            self._rendered[key, family] = policy_fragment(policy, family)
        return self._rendered[key, family]


def _key(policy: PolicyDirection) -> Key:
    return ("policy", policy.tier, policy.policy, policy.direction)


def _differ(old: PolicyDirection | None, new: PolicyDirection) -> bool:
    # Nearly all are the same object as the last time: not to be compared field by field.
    return old is not new and old != new


def _moved(old: PolicyDirection | None, new: PolicyDirection | None) -> list[Subject]:
    """Return the pods that a policy began or ceased to select, or all when its rank changed."""
    policy = new or old
    if policy is None:
        return []
    before = old.subjects if old else frozenset()
    after = new.subjects if new else frozenset()
    moved = before | after if old and new and old.priority != new.priority else before ^ after
    return [(uid, policy.direction) for uid in moved]


def _rank(policy: PolicyDirection) -> tuple[int, str]:
    return (policy.priority, policy.policy)
