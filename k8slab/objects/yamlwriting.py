"""Write YAML for people: a text of several lines as a block, as its author did."""

from __future__ import annotations

from typing import Any

import yaml

UNBROKEN = 1 << 30
"""The width of a line that is never folded."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes mappings that know their lines (`objects.lines`), too."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    made: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
    return made


_Dumper.add_representer(str, _text)
_Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)


def dump(value: Any, *, sort_keys: bool = True, width: int = UNBROKEN) -> bytes:
    """Return the document of a value that JSON could say, in UTF-8."""
    made: bytes = yaml.dump(
        value,
        Dumper=_Dumper,
        encoding="utf-8",
        allow_unicode=True,
        sort_keys=sort_keys,
        width=width,
    )
    return made
