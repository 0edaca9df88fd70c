"""Read YAML as kubectl does, in one walk over libyaml's events.

Values are built while the text is parsed: no tree of nodes comes between, which takes half
the time, and everything that a hostile text could do is stopped at the event where it happens:

- depth is counted, so that nothing recurses deeper than `MAX_DEPTH`;
- an alias costs as many values as its anchor stands for, and a long text counts as several.
  Ten lines can stand for a billion values ("billion laughs"); a document to which aliases add
  more than `MAX_ALIASED` values is refused, and until then the values behind one anchor are one
  value in memory;
- an anchor that is still open cannot be meant: it would contain itself.

Two traps of YAML 1.1 that kubectl's parser does not have are off: ``22:22`` stays text (no
base-60 numbers) and ``2026-11-20`` stays text (no dates; JSON has none). A key that stands
twice in one mapping is refused: the last one would win silently.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from k8slab.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_ALIASED = 100_000
"""How many values aliases may add to one document; go-yaml's own limit is of this order."""

LONG_TEXT = 100
"""So many characters of an aliased text count as one value."""

MAX_TEXT = 64 << 20
"""Characters in a text; reading one of this length takes a minute or two."""

MAX_DEPTH = 200
"""How deep values may nest; no Kubernetes type comes near, and recursion stays bounded."""

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text: where it starts and ends, and the line (from 0) and column it starts in."""

    start: int
    end: int
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """One document's value, its span, and the spans of the elements of its ``items``."""

    value: Any
    span: Span
    items: tuple[Span, ...] = ()


def read(text: str, source: str) -> Iterator[Document]:
    """Yield the documents of a text, empty ones too; `ManifestError` names ``source:line``."""
    if len(text) > MAX_TEXT:
        raise ManifestError(
            f"this is not JSON, and YAML of {len(text) >> 20} MiB is not read",
            place=f"{source}:1",
            hint=f"split it into files of at most {MAX_TEXT >> 20} MiB, or write it as JSON",
        )
    try:
        yield from _Reader(text, source).documents()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, source) from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ManifestError(
            f"the character U+{_code(error.character):04X} is not allowed in YAML",
            place=f"{source}:{line}",
        ) from error


def _code(character: Any) -> int:
    return character if isinstance(character, int) else ord(character)


def _syntax_error(error: yaml.MarkedYAMLError, text: str, source: str) -> ManifestError:
    mark = error.problem_mark or error.context_mark
    number = mark.line + 1 if mark is not None else 1
    lines = text.splitlines()
    line = lines[number - 1] if number <= len(lines) else ""
    hint = ""
    if "{{" in line:
        hint = TEMPLATE_HINT
    elif "\t" in line[: len(line) - len(line.lstrip())]:
        hint = "this line is indented with a tab; YAML allows spaces only"
    elif error.problem and "mapping values are not allowed" in error.problem:
        hint = "look at the indentation here and in the line before; quote text that contains ': '"
    elif error.problem and "expected" in error.problem and line.strip():
        hint = f"look at the indentation here and in the line before: {line.strip()[:60]}"
    return ManifestError(str(error.problem), place=f"{source}:{number}", hint=hint)


TEMPLATE_HINT = "this looks like a template: read what `helm template` makes of it"

_OPEN = object()
"""Stands for the value of an anchor whose collection has not ended."""


class _Reader:
    """Turns the events of one text into values."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self._next = Loader(text).get_event
        self._end: Any = None  # the event with which the last mapping ended
        self._plain: dict[str, Any] = {}
        self._keys: dict[str, str] = {}
        self._begin_document()

    def _begin_document(self) -> None:
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._size = 0
        self._aliased = 0
        self._items: list[Span] = []

    def documents(self) -> Iterator[Document]:
        while type(event := self._next()) is not StreamEndEvent:
            if type(event) is DocumentStartEvent:
                self._begin_document()
                first = self._next()
                value = self._value(first, 1)
                end = self._next()
                mark = first.start_mark
                span = Span(mark.index, end.start_mark.index, mark.line, mark.column)
                yield Document(value, span, tuple(self._items))

    def _value(self, event: Any, depth: int) -> Any:
        kind = type(event)
        if kind is ScalarEvent:
            value = self._scalar(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1 + len(event.value) // LONG_TEXT)
            return value
        if kind is AliasEvent:
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", event)
        before = self._size
        if event.anchor is not None:
            self._anchors[event.anchor] = (_OPEN, 0)
        read = self._mapping if kind is MappingStartEvent else self._sequence
        value = read(depth)
        self._size += len(value)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._size - before)
        return value

    def _sequence(self, depth: int) -> list[Any]:
        found = []
        while type(event := self._next()) is not SequenceEndEvent:
            found.append(self._value(event, depth + 1))
        return found

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while type(event := self._next()) is not MappingEndEvent:
            key = self._key(event)
            if key in found:
                raise self._error(
                    f"the key {key!r} stands twice in this mapping",
                    event,
                    hint="keep one of them; the other would be lost without a word",
                )
            following = self._next()
            if key == "<<" and event.implicit[0]:
                merged.update(self._merge(following, depth))
            elif key == "items" and depth == 1 and type(following) is SequenceStartEvent:
                found[key] = self._list_items()
            else:
                found[key] = self._value(following, depth + 1)
        self._end = event
        return {**merged, **found} if merged else found

    def _list_items(self) -> list[Any]:
        """Read what the elements of a Kubernetes List are, and remember where each stands."""
        found = []
        while type(event := self._next()) is not SequenceEndEvent:
            self._end = event
            found.append(self._value(event, 3))
            mark, end = event.start_mark, self._end.end_mark
            self._items.append(Span(mark.index, end.index, mark.line, mark.column))
        self._size += len(found)
        return found

    def _key(self, event: Any) -> str:
        key: Any = None
        if type(event) is ScalarEvent:
            key = event.value
            if event.anchor is not None:
                self._anchors[event.anchor] = (key, 1 + len(key) // LONG_TEXT)
        elif type(event) is AliasEvent:
            key = self._alias(event)
        if not isinstance(key, str):
            start = event.start_mark.index
            template = self._text.startswith("{", start) and self._text[start - 1 : start] == "{"
            raise self._error("a key must be text", event, hint=TEMPLATE_HINT if template else "")
        return self._keys.setdefault(key, key)  # the same words again and again: kept once

    def _merge(self, event: Any, depth: int) -> dict[str, Any]:
        values = self._value(event, depth + 1)
        merged: dict[str, Any] = {}
        for value in reversed(values) if isinstance(values, list) else [values]:
            if not isinstance(value, dict):
                raise self._error("'<<' needs a mapping", event)
            merged.update(value)
        return merged

    def _alias(self, event: Any) -> Any:
        value, size = self._anchors.get(event.anchor, (None, -1))
        if size < 0:
            raise self._error(f"there is no anchor &{event.anchor} before this alias", event)
        if value is _OPEN:
            raise self._error("an anchor contains itself", event)
        self._size += size
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            raise self._error(
                f"the aliases in this document expand to more than {MAX_ALIASED} values", event
            )
        return value

    def _scalar(self, event: Any) -> Any:
        text = event.value
        if event.implicit[0]:
            if text in self._plain:
                return self._plain[text]
            value = self._plain[text] = self._convert(_implicit_tag(text), text, event)
            return value
        if event.tag in (None, "!"):
            return text
        return self._convert(event.tag.rpartition(":")[2], text, event)

    def _convert(self, tag: str, text: str, event: Any) -> Any:
        if tag not in _CONVERTERS:
            return text
        try:
            return json_number(_CONVERTERS[tag](yaml.ScalarNode(tag, text)))
        except (ValueError, KeyError, IndexError, OverflowError) as error:
            why = str(error) if isinstance(error, OverflowError) else f"is not of type {tag}"
            raise self._error(f"{text[:60]!r} {why}", event) from error

    def _error(self, message: str, event: Any, *, hint: str = "") -> ManifestError:
        place = f"{self._source}:{event.start_mark.line + 1}"
        return ManifestError(message, place=place, hint=hint)


def json_number(value: Any) -> Any:
    """Return a number as kubectl sends it: what 64 bits do not hold becomes a fraction.

    Raises `OverflowError` for what JSON has not: infinity, and what is no number.
    """
    if type(value) is int and not -(1 << 63) <= value < 1 << 64:
        value = float(value) if value.bit_length() < 1024 else math.inf
    if type(value) is float and not math.isfinite(value):
        raise OverflowError("cannot be written as JSON")
    return value


_SEXAGESIMAL = re.compile(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$")
_construct = yaml.constructor.SafeConstructor()
_CONVERTERS: dict[str, Callable[[yaml.ScalarNode], Any]] = {
    "null": lambda _node: None,
    "bool": _construct.construct_yaml_bool,
    "int": _construct.construct_yaml_int,
    "float": _construct.construct_yaml_float,
}


def _implicit_tag(text: str) -> str:
    """Return the type of a plain scalar by YAML 1.1's patterns, which PyYAML keeps by letter."""
    for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            name: str = tag.rpartition(":")[2]
            return "str" if name in ("int", "float") and _SEXAGESIMAL.match(text) else name
    return "str"
