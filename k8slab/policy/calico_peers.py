"""Who a Calico rule means: selectors, namespaces, service accounts and nets, joined by and.

Source: Calico's reference ("Network policy", EntityRule) and how its rules are turned into
selectors before they are enforced: in a namespaced policy any selector, ``notSelector``
included, is limited to the policy's namespace unless ``namespaceSelector`` says otherwise; a
selector chooses endpoints only, so that addresses outside never match it, while
``notSelector`` alone in a GlobalNetworkPolicy matches them.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.policy.addresses import EVERYWHERE, PRIVATE, AddressSet, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.policy.expressions import Expression
    from k8slab.policy.model import Index, Mode, Pod, Side

NAMESPACE = "projectcalico.org/namespace"
NAMESPACE_NAME = "projectcalico.org/name"
ACCOUNT = "projectcalico.org/serviceaccount"
ORCHESTRATOR = "projectcalico.org/orchestrator"

ANYWHERE = EVERYWHERE[4] | EVERYWHERE[6]


def labels_of(pod: Pod) -> Mapping[str, str]:
    """Return the labels that Calico's selectors see: the pod's own and three of Calico's."""
    own = {NAMESPACE: pod.namespace, ACCOUNT: pod.account, ORCHESTRATOR: "k8s"}
    return ChainMap(own, dict(pod.labels))


def space_labels(pod: Pod) -> Mapping[str, str]:
    """Return the labels of the pod's namespace with the one that Calico adds."""
    return ChainMap({NAMESPACE_NAME: pod.namespace}, dict(pod.namespace_labels))


@dataclass(frozen=True, slots=True)
class Entity:
    """``source`` or ``destination`` of a rule, or the subject of a policy."""

    namespace: str = ""
    """The policy's own; empty in a GlobalNetworkPolicy."""
    spaces: Expression | None = None
    selector: Expression | None = None
    not_selector: Expression | None = None
    accounts: tuple[str, ...] = ()
    account_selector: Expression | None = None
    nets: AddressSet | None = None
    """What nets, notNets and ipVersion leave; ``None`` without them."""
    text: str = "everyone"

    @property
    def pods_only(self) -> bool:
        """Say whether only endpoints can match."""
        chosen = (self.spaces, self.selector, self.account_selector)
        limited = bool(self.namespace) and self.not_selector is not None
        return bool(self.accounts) or limited or any(each is not None for each in chosen)

    def mismatch(self, side: Side) -> str:
        """Say why the side is not meant; empty when it is."""
        if self.pods_only:
            if side.pod is None:
                return f"{side.name} is no pod that a selector can choose"
            if why := self._pod_mismatch(side.pod):
                return why
        excluded, pod = self.not_selector, side.pod
        if excluded is not None and pod is not None and excluded.matches(labels_of(pod)):
            return f"pod {side.name} is left out by notSelector"
        return self._address_mismatch(side)

    def _pod_mismatch(self, pod: Pod) -> str:
        if self.spaces is not None:
            if why := self.spaces.mismatch(space_labels(pod)):
                return f"namespace {pod.namespace}: {why}"
        elif self.namespace and pod.namespace != self.namespace:
            return (
                f"namespace {pod.namespace} is not {self.namespace} "
                "(without namespaceSelector a policy means its own namespace)"
            )
        if self.accounts and pod.account not in self.accounts:
            return f"service account {pod.account} is not {' or '.join(self.accounts)}"
        if self.account_selector and (why := self.account_selector.mismatch(pod.account_labels)):
            return f"service account {pod.account}: {why}"
        if self.selector is not None and (why := self.selector.mismatch(labels_of(pod))):
            return f"pod {pod.key}: {why}"
        return ""

    def _address_mismatch(self, side: Side) -> str:
        if self.nets is None or (side.unknown and self.nets.covers(PRIVATE)):
            return ""
        if not side.addresses:
            return f"{side.name} has no address yet, so no net matches"
        if any(address in self.nets for address in side.addresses):
            return ""
        return f"address {text_of(side.addresses[0])} is not in {self.nets}"

    def members(self, index: Index, mode: Mode) -> int:
        """Return all sides that are meant."""
        found = self._pods(index) if self.pods_only else index.everything
        if self.not_selector is not None:
            found &= ~self.not_selector.bits(index.calico)
        if self.nets is not None:
            found &= index.inside(self.nets, mode, pods_too=True)
        return found

    def _pods(self, index: Index) -> int:
        found = index.calico.everything
        if self.spaces is not None:
            found &= self.spaces.bits(index.spaces)
        elif self.namespace:
            found &= index.namespace(self.namespace)
        if self.accounts:
            names = index.calico.values(ACCOUNT)
            found &= sum(names.get(name, 0) for name in set(self.accounts))
        if self.account_selector is not None:
            found &= self.account_selector.bits(index.accounts)
        if self.selector is not None:
            found &= self.selector.bits(index.calico)
        return found

    def __str__(self) -> str:
        return self.text
