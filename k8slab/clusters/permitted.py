"""What a learner may not see on a cluster of others: where it matters, and where it does not.

Whoever has rights in some namespaces alone is answered 403 Forbidden (RBAC, "Referring to
resources") for the rest. Where a reader can do with less, it asks by `permitted` and is told
``None``; every other error, and every 403 that nobody foresaw, goes on as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from collections.abc import Callable

FORBIDDEN = 403
T = TypeVar("T")


def permitted(ask: Callable[[], T]) -> T | None:
    """Return what the cluster answers; ``None`` where whoever asks may not be told."""
    try:
        return ask()
    except ApiStatusError as error:
        if error.code != FORBIDDEN:
            raise
        return None
