"""JSON Schema of what is printed with ``--json``."""

from __future__ import annotations

from typing import Any


def described(properties: dict[str, Any]) -> dict[str, Any]:
    """Describe an object whose properties are all there; later versions may add some."""
    return {"type": "object", "properties": properties, "required": [*properties]}
