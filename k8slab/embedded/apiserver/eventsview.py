"""One store of Events, two API groups: ``v1`` and ``events.k8s.io/v1``.

Source: ``pkg/apis/events/v1/conversion.go``: the same record under other names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

_NAMES = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("source", "deprecatedSource"),
    ("reportingComponent", "reportingController"),
)
_NEW = dict(_NAMES)
_OLD = {new: old for old, new in _NAMES}


def from_core(event: Object) -> Object:
    """Return a core/v1 Event as ``events.k8s.io/v1``."""
    made = {_NEW.get(key, key): value for key, value in event.items()}
    made["apiVersion"] = "events.k8s.io/v1"
    made.setdefault("eventTime", None)
    return made


def to_core(event: Object) -> Object:
    """Return an ``events.k8s.io/v1`` Event as core/v1."""
    made = {_OLD.get(key, key): value for key, value in event.items()}
    made["apiVersion"] = "v1"
    made.setdefault("involvedObject", {})
    return made
