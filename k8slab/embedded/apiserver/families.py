"""Which IP families a Service has: ``ipFamilyPolicy``, ``ipFamilies`` and ``clusterIPs`` together.

Source: KEP-563 and ``initIPFamilyFields`` of kube-apiserver. Without a policy a Service is
SingleStack and stays what it was; without families it takes the cluster's primary one, or
those of the addresses that it asks for. PreferDualStack takes what the cluster has,
RequireDualStack is refused where that is one family. A headless Service without a selector
may have any families: nothing but its own EndpointSlices would show them.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.apiserver.statuses import FieldError

HEADLESS = "None"
SINGLE, REQUIRE = "SingleStack", "RequireDualStack"
BOTH = ("IPv4", "IPv6")
_POLICY = "spec.ipFamilyPolicy"


def complete_families(spec: dict, before: dict, known: Sequence[str]) -> list[FieldError]:
    """Fill in ``ipFamilies`` and ``ipFamilyPolicy`` in place; return what cannot be.

    `before` is the old spec (empty for a new Service), `known` the cluster's families.
    ``clusterIPs`` loses its second address when a Service becomes SingleStack.
    """
    bare = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
    if not spec.get("ipFamilyPolicy"):
        default = REQUIRE if bare else SINGLE
        spec["ipFamilyPolicy"] = before.get("ipFamilyPolicy") or default
    if not spec.get("ipFamilies") and before.get("ipFamilies"):
        spec["ipFamilies"] = list(before["ipFamilies"])
    errors = _released(spec, before) + _multiple(spec)
    errors += _infer(spec, known)
    if errors:
        return errors
    if not bare:
        errors += _configured(spec, known)
        if errors:
            return errors
    families = list(spec.get("ipFamilies") or known[:1])
    can_have_two = bare or len(known) > 1
    if spec["ipFamilyPolicy"] != SINGLE and len(families) == 1 and can_have_two:
        families += [family for family in BOTH if family not in families]
    spec["ipFamilies"] = families
    return []


def _released(spec: dict, before: dict) -> list[FieldError]:
    """Let SingleStack give up what is second; refuse to give it up without saying so."""
    policy, errors = spec["ipFamilyPolicy"], []
    for field, word in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        was, now = before.get(field) or [], spec.get(field) or []
        if policy == SINGLE and was == now:
            spec[field] = now[:1]
        elif policy != SINGLE and len(was) == 2 and len(now) == 1 and was[0] == now[0]:
            why = f"must be 'SingleStack' to release the secondary {word}"
            errors.append(statuses.invalid(_POLICY, policy, why))
    return errors


def _multiple(spec: dict) -> list[FieldError]:
    if spec["ipFamilyPolicy"] != SINGLE:
        return []
    return [
        statuses.invalid(
            _POLICY,
            SINGLE,
            f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {words} are specified",
        )
        for field, words in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families"))
        if len(spec.get(field) or ()) == 2
    ]


def _infer(spec: dict, known: Sequence[str]) -> list[FieldError]:
    """Add the families of the addresses that are asked for."""
    errors = []
    families = list(spec.get("ipFamilies") or ())
    addresses = spec.get("clusterIPs") or []
    for number, address in enumerate(addresses):
        if address == HEADLESS:
            break
        family = f"IPv{ip_address(address).version}"
        path = f"spec.clusterIPs[{number}]"
        if number < len(families):
            if families[number] != family:
                why = f"expected an {families[number]} value as indicated by `ipFamilies[{number}]`"
                errors.append(statuses.invalid(path, address, why))
        elif family not in known:
            why = f"{family} is not configured on this cluster"
            errors.append(statuses.invalid(path, addresses, why))
        else:
            families.append(family)
    if families:
        spec["ipFamilies"] = families
    return errors


def _configured(spec: dict, known: Sequence[str]) -> list[FieldError]:
    errors = []
    if spec["ipFamilyPolicy"] == REQUIRE and len(known) < 2:
        why = "this cluster is not configured for dual-stack services"
        errors.append(statuses.invalid(_POLICY, REQUIRE, why))
    for number, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in known:
            path = f"spec.ipFamilies[{number}]"
            errors.append(statuses.invalid(path, family, "not configured on this cluster"))
    return errors
