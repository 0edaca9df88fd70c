"""Keep both kinds of policies enforced: compile what changed, hand all to the network.

A change of a pod concerns few policies; each remembers its compiled selectors, and only
those that could match the old or the new form of the pod are compiled again.

This loop also keeps the gate through which a pod comes onto the network: its own isolation
is in the kernel before it has an address (policies name their subjects by UID), and the
rules of its peers know the address before its first container runs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.controllers.cluster_policy_values import RESOURCE as CLUSTER_RESOURCE
from k8slab.embedded.controllers.cluster_policy_values import read_cluster_policy
from k8slab.embedded.controllers.loop import Loop, take_turns
from k8slab.embedded.controllers.policy_values import (
    Estate,
    PodFacts,
    Policy,
    compile_policy,
    pod_facts,
    read_policy,
)
from k8slab.objects.meta import Object, labels_of, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context
    from k8slab.embedded.network.model import PolicyDirection

ALL = "all policies"
RESOURCE = "networkpolicies.networking.k8s.io"
_READERS: dict[str, Callable[[Object], Policy]] = {
    RESOURCE: read_policy,
    CLUSTER_RESOURCE: read_cluster_policy,
}


class Policies:
    """The loop, and its part of the gate (`gate.Gate`)."""

    def __init__(self, context: Context) -> None:
        self._network = context.network
        self._estate = Estate()
        self._policies: dict[str, Policy] = {}
        self._compiled: dict[str, tuple[PolicyDirection, ...]] = {}
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._dirty: set[str] = set()
        self._wanted = 1
        self._enforced = 0
        self.loop = Loop("policies", self._sync)
        api = context.api
        for namespace in api.list("namespaces"):
            self._estate.namespaces[name_of(namespace)] = labels_of(namespace)
        for pod in api.list("pods"):
            if facts := pod_facts(pod):
                self._estate.put(facts)
        for resource, read in _READERS.items():
            for policy in api.list(resource):
                self._put(read(policy))
        self._unsubscribe: list[Callable[[], None]] = [
            api.subscribe("namespaces", self._namespace_event),
            api.subscribe("pods", self._pod_event),
            *(
                api.subscribe(resource, partial(self._policy_event, read))
                for resource, read in _READERS.items()
            ),
        ]
        for resource in (*_READERS, "namespaces", "pods"):
            api.before_answer(resource, self._answer)

    async def start(self) -> None:
        """Return when the policies that are there are enforced."""
        await self.loop.settle(ALL)

    async def settle(self) -> None:
        """Return when everything that was changed before this call is enforced."""
        if self._enforced < self._wanted:
            await self.loop.settle(ALL)

    async def close(self) -> None:
        """Stop following changes; the kernel keeps what it has."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        await self.loop.close()

    # --- the gate

    async def admit(self, pod: Object) -> None:
        """Return when the policies that select `pod` are in the kernel."""
        del pod  # its event came before: what concerns it is compiled or waiting
        await self.settle()

    async def attached(self, pod: Object, addresses: Sequence[str]) -> None:
        """Learn a pod's addresses; return when the rules of its peers know them."""
        namespace, uid = namespace_of(pod), uid_of(pod)
        self._addresses[uid] = tuple(addresses)
        if self._estate.get(namespace, uid) is not None:  # else it was deleted meanwhile
            self._replace(pod_facts(pod, addresses), namespace, uid)
        await self.settle()

    def detached(self, uid: str) -> None:
        """Forget a pod's addresses."""
        self._addresses.pop(uid, None)

    # --- what changes

    def _answer(self, _: Object) -> Awaitable[None] | None:
        return self.settle() if self._enforced < self._wanted else None

    def _policy_event(self, read: Callable[[Object], Policy], event: Event) -> None:
        key = read(event.object).key
        if event.type == "DELETED":
            self._policies.pop(key, None)
            self._compiled.pop(key, None)
            self._dirty.discard(key)
            self._mark()
        elif event.old is None or event.old.get("spec") != event.object.get("spec"):
            self._put(read(event.object))

    def _namespace_event(self, event: Event) -> None:
        name, labels = name_of(event.object), labels_of(event.object)
        if event.type == "DELETED":
            self._estate.namespaces.pop(name, None)
        elif self._estate.namespaces.get(name) == labels:
            return
        else:
            self._estate.namespaces[name] = labels
        for policy in self._policies.values():
            if policy.depends_on_namespaces():
                self._mark(policy.key)

    def _pod_event(self, event: Event) -> None:
        pod = event.object
        facts = None
        if event.type != "DELETED":
            facts = pod_facts(pod, self._addresses.get(uid_of(pod)))
        self._replace(facts, namespace_of(pod), uid_of(pod))

    def _replace(self, new: PodFacts | None, namespace: str, uid: str) -> None:
        old = self._estate.get(namespace, uid)
        if new == old:
            return
        if new is None:
            self._estate.drop(namespace, uid)
        else:
            self._estate.put(new)
        for policy in self._policies.values():
            if any(facts and policy.concerns(facts, self._estate) for facts in (old, new)):
                self._mark(policy.key)

    def _put(self, policy: Policy) -> None:
        self._policies[policy.key] = policy
        self._mark(policy.key)

    def _mark(self, key: str = "") -> None:
        if key:
            self._dirty.add(key)
        self._wanted += 1
        self.loop.add(ALL)

    async def _sync(self, _: str) -> None:
        if self._enforced == self._wanted:
            return
        await take_turns(self._dirty, self._compile)
        goal = self._wanted
        await self._network.sync_policies(
            [direction for compiled in self._compiled.values() for direction in compiled]
        )
        self._enforced = goal

    def _compile(self, key: str) -> None:
        self._compiled[key] = compile_policy(self._policies[key], self._estate)
