"""Checks that several kinds share: ports, selectors, addresses, quantities.

Source: apimachinery ``util/validation`` and ``metav1/validation``.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.scalars import QUANTITY, QUANTITY_MESSAGE
from k8slab.embedded.apiserver.statuses import (
    FieldError,
    duplicate,
    each,
    forbidden,
    invalid,
    not_supported,
    required,
    too_many,
)
from k8slab.embedded.apiserver.validation import names

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized

    from k8slab.objects.meta import Object

PROTOCOLS = ("SCTP", "TCP", "UDP")
IMMUTABLE = "field is immutable"
_PERCENT = re.compile(r"\d+%\Z")


def one_of(value: Any, supported: Sequence[str], path: str) -> list[FieldError]:
    """Check a word of a closed set; an empty one is required."""
    if not value:
        return [required(path)]
    return [] if value in supported else [not_supported(path, value, supported)]


def port_number_errors(value: Any, path: str) -> list[FieldError]:
    """Check a port number."""
    if isinstance(value, int) and 1 <= value <= 65535:
        return []
    return [invalid(path, value, "must be between 1 and 65535, inclusive")]


def port_or_name_errors(value: Any, path: str) -> list[FieldError]:
    """Check a port that may be given by its name."""
    if isinstance(value, str):
        return [invalid(path, value, why) for why in names.port_name(value)]
    return port_number_errors(value, path)


def at_least_zero(value: Any, path: str) -> list[FieldError]:
    """Check a count."""
    if isinstance(value, int) and value < 0:
        return [invalid(path, value, "must be greater than or equal to 0")]
    return []


def address_errors(value: str, path: str) -> list[FieldError]:
    """Check an IP address."""
    try:
        ip_address(value)
    except ValueError:
        why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        return [invalid(path, value, why)]
    return []


def reachable_errors(ip: str, path: str) -> list[FieldError]:
    """Check an address that traffic is to reach (ValidateNonSpecialIP)."""
    if errors := address_errors(ip, path):
        return errors
    address = ip_address(ip)
    for found, words in (
        (address.is_unspecified, f"may not be unspecified ({ip})"),
        (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (address.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
    ):
        if found:
            return [invalid(path, ip, words)]
    return []


def cidr_errors(value: str, path: str) -> list[FieldError]:
    """Check an address range."""
    try:
        ip_network(value, strict=False)
    except ValueError:
        return [_no_cidr(value, path)]
    return [] if "/" in value else [_no_cidr(value, path)]


def _no_cidr(value: str, path: str) -> FieldError:
    return invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")


def at_most(items: Sized, limit: int, path: str) -> list[FieldError]:
    """Check that a list, or a map, has no more than `limit` items."""
    return [too_many(path, len(items), limit)] if len(items) > limit else []


def quantity_errors(value: Any, path: str) -> list[FieldError]:
    """Check a resource quantity."""
    if not isinstance(value, str) or not QUANTITY.match(value):
        return [invalid(path, value, QUANTITY_MESSAGE)]
    if value.startswith("-"):
        return [invalid(path, value, "must be greater than or equal to 0")]
    return []


def count_or_percent_errors(value: Any, path: str) -> list[FieldError]:
    """Check an int-or-percent such as ``maxSurge``."""
    if isinstance(value, str) and not _PERCENT.match(value):
        why = (
            "a valid percent string must be a numeric string followed by an ending '%' "
            "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
        )
        return [invalid(path, value, why)]
    return at_least_zero(value, path)


def selector_errors(selector: Object | None, path: str) -> list[FieldError]:
    """Check a ``metav1.LabelSelector``."""
    if not selector:
        return []
    errors = []
    for key, value in (selector.get("matchLabels") or {}).items():
        where = f"{path}.matchLabels"
        errors += [invalid(where, key, why) for why in names.qualified_name(key)]
        errors += [invalid(where, value, why) for why in names.label_value(value)]
    for number, expression in each(selector.get("matchExpressions"), errors):
        errors += _expression_errors(expression, f"{path}.matchExpressions[{number}]")
    return errors


def _expression_errors(expression: Object, path: str) -> list[FieldError]:
    errors = []
    operator, values = expression.get("operator"), expression.get("values") or []
    if operator in ("In", "NotIn"):
        if not values:
            why = "must be specified when `operator` is 'In' or 'NotIn'"
            errors.append(required(f"{path}.values", why))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(f"{path}.values", why))
    else:
        why = "not a valid selector operator"
        errors.append(invalid(f"{path}.operator", operator or "", why))
    key = expression.get("key") or ""
    errors += [invalid(f"{path}.key", key, why) for why in names.qualified_name(key)]
    for number, value in each(values, errors):
        where = f"{path}.values[{number}]"
        errors += [invalid(where, value, why) for why in names.label_value(value)]
    return errors


def unique_name_errors(item: Object, path: str, taken: set[str]) -> list[FieldError]:
    """Return what is wrong with the name of an item of a list, a DNS label; put it into `taken`."""
    errors: list[FieldError] = []
    name = item.get("name") or ""
    if not name:
        errors.append(required(f"{path}.name"))
    elif wrong := names.dns_label(name):
        errors += [invalid(f"{path}.name", name, why) for why in wrong]
    elif name in taken:
        errors.append(duplicate(f"{path}.name", name))
    taken.add(name)
    return errors
