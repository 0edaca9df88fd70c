"""JSON Schema of what is printed with ``--json``."""

from __future__ import annotations

from typing import Any


def described(properties: dict[str, Any], later: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe an object whose properties are all there; `later` ones earlier versions have not."""
    found = {**properties, **(later or {})}
    return {"type": "object", "properties": found, "required": [*properties]}
