"""Read the parts that every Kubernetes object has.

An object is the plain value that JSON gives: a ``dict``. Whoever gets one must
not change it; make a changed copy instead.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def name_of(obj: Object) -> str:
    """Return ``metadata.name``, or an empty string."""
    return (obj.get("metadata") or {}).get("name") or ""


def namespace_of(obj: Object) -> str:
    """Return ``metadata.namespace``, or an empty string for cluster-scoped objects."""
    return (obj.get("metadata") or {}).get("namespace") or ""


def uid_of(obj: Object) -> str:
    """Return ``metadata.uid``, or an empty string."""
    return (obj.get("metadata") or {}).get("uid") or ""


def labels_of(obj: Object) -> dict[str, str]:
    """Return ``metadata.labels``, an empty dict where there are none."""
    return (obj.get("metadata") or {}).get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    """Return ``metadata.annotations``, an empty dict where there are none."""
    return (obj.get("metadata") or {}).get("annotations") or {}


def key_of(obj: Object) -> str:
    """Return ``namespace/name``, or the name alone for cluster-scoped objects."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def is_deleting(obj: Object) -> bool:
    """Say whether deletion was requested (``metadata.deletionTimestamp`` is set)."""
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference with ``controller: true``, if there is one."""
    owners: list[Object] = (obj.get("metadata") or {}).get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)
