"""Mappings that know in which line of their file each of their keys stands.

For files that people write and that are judged after reading (`exercises.yaml`): a message
then names the line. The values are read by `yamltext` as always; this walks once more over
the same text, as nodes, beside them. What an alias or a merge brought in has the line of the
place it was written at, or none.
"""

from __future__ import annotations

from typing import Any

import yaml

from k8slab.objects.yamltext import Loader


class Lined(dict[str, Any]):
    """A mapping with `line`, where it begins, and `lines`, where each key stands (from 1)."""

    line: int = 0
    lines: dict[str, int]


def with_lines(value: Any, text: str) -> Any:
    """Return the value of a text's first document with every mapping as `Lined`.

    The text has been read before: it is YAML, and not deeper than `yamltext` allows.
    """
    node = next(iter(yaml.compose_all(text, Loader=Loader)), None)
    return _beside(value, node) if node is not None else value


def line_of(value: Any, key: str) -> int:
    """Return the line of a key, or of its mapping where the key is not there; 0: not known."""
    return value.lines.get(key, value.line) if isinstance(value, Lined) else 0


def keep(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping that was made of another one with that one's lines."""
    if not isinstance(old, Lined):
        return new
    found = Lined(new)
    found.line, found.lines = old.line, old.lines
    return found


def _beside(value: Any, node: yaml.Node) -> Any:
    if isinstance(value, dict) and isinstance(node, yaml.MappingNode):
        pairs = {key.value: (key, inner) for key, inner in node.value}
        found = Lined(
            (key, _beside(inner, pairs[key][1]) if key in pairs else inner)
            for key, inner in value.items()
        )
        found.line = node.start_mark.line + 1
        found.lines = {name: key.start_mark.line + 1 for name, (key, _) in pairs.items()}
        return found
    if isinstance(value, list) and isinstance(node, yaml.SequenceNode):
        return [_beside(inner, one) for inner, one in zip(value, node.value, strict=True)]
    return value
