"""Read JSON documents, and find later where the elements of a List stand.

``json`` of the standard library is ten times as fast as any YAML parser, but tells no
positions. They are asked for only when something has to be said about an object: then the
text is walked once more, element by element, by the same decoder.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from k8slab.errors import ManifestError
from k8slab.objects.yamltext import MAX_DEPTH, Document, Span, json_number

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\r\n]*")
_HALF_OF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_SMALL = 18
"""Characters of a whole number that fits into 64 bits in any case."""
_LONGEST = 400
"""Characters of a whole number that may still be one: floating point ends at 309 digits."""


def read(text: str, source: str) -> list[Document] | None:
    """Return the documents of a JSON text; ``None`` leaves it to YAML, which words errors better.

    Several values may follow each other (JSON lines). A key that stands twice is left to
    YAML too. Half a surrogate pair becomes U+FFFD, as Go's decoder does it.
    """
    position = _skip(text, 0)
    if not text.startswith("{", position):
        return None
    line, counted = 0, 0
    found = []
    decode = json.JSONDecoder(
        object_pairs_hook=_unique,
        parse_constant=_no_json,
        parse_int=_whole,
        parse_float=_fraction,
    ).raw_decode
    try:
        while position < len(text):
            value, end = decode(text, position)
            line, counted = line + text.count("\n", counted, position), position
            found.append((value, Span(position, end, line)))
            position = _skip(text, end)
    except RecursionError as error:
        raise ManifestError(f"nested deeper than {MAX_DEPTH} levels", place=source) from error
    except OverflowError as error:
        raise ManifestError(f"a number that is too large {error}", place=source) from error
    except ValueError:
        return None
    broken = "\\u" in text and _HALF_OF_A_PAIR.search(text) is not None
    return [Document(_mended(value) if broken else value, span) for value, span in found]


def _whole(digits: str) -> Any:
    if len(digits) <= _SMALL:
        return int(digits)
    return json_number(int(digits) if len(digits) <= _LONGEST else math.inf)


def _fraction(digits: str) -> Any:
    return json_number(float(digits))


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    assert found is not None
    return found.end()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _no_json(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _mended(value: Any) -> Any:
    """Put U+FFFD where a text has half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value


def item_spans(text: str, document: Span) -> Iterator[Span]:
    """Yield the span of each element of ``items`` in the JSON object that starts here."""
    decode = json.JSONDecoder().raw_decode
    position = _skip(text, document.start + 1)
    while text[position] != "}":
        key, position = decode(text, position)
        position = _skip(text, _skip(text, position) + 1)  # over the colon
        if key == "items" and text[position] == "[":
            yield from _elements(text, position, decode)
            return
        _, position = decode(text, position)
        position = _skip(text, position)
        if text[position] == ",":
            position = _skip(text, position + 1)


def _elements(text: str, opening: int, decode: Any) -> Iterator[Span]:
    line, counted = text.count("\n", 0, opening), opening
    position = _skip(text, opening + 1)
    while text[position] != "]":
        line, counted = line + text.count("\n", counted, position), position
        _, end = decode(text, position)
        yield Span(position, end, line)
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
