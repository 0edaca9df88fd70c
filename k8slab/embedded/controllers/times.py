"""Points in time as the API writes them (RFC 3339, UTC).

``metav1.Time`` has whole seconds, ``metav1.MicroTime`` six decimals.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from k8slab.embedded import clock


def text(seconds: float | None = None) -> str:
    """Return the ``metav1.Time`` of `seconds` since the epoch; now, if ``None``."""
    moment = clock.now() if seconds is None else seconds
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def micro(seconds: float | None = None) -> str:
    """Return the ``metav1.MicroTime`` of `seconds` since the epoch; now, if ``None``."""
    moment = clock.now() if seconds is None else seconds
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(moment: str | None) -> float:
    """Return the seconds since the epoch that `moment` names; 0.0 for an absent one."""
    if not moment:
        return 0.0
    return datetime.fromisoformat(moment).timestamp()
