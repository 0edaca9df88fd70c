"""Read manifests as kubectl does, and say for every object in which file and line it stands.

libyaml composes a node graph; the values are built from it here, because the nodes know
their lines. Three things differ from PyYAML's own constructor, each for a reason:

- YAML 1.1 traps that kubectl's parser does not have are off: ``22:22`` stays text (no
  base-60 numbers) and ``2026-11-20`` stays text (no dates; JSON has none).
- A key that stands twice in one mapping is refused: the last one would win silently.
- Anchors are counted before they are expanded. Ten lines of aliases can stand for a
  billion values ("billion laughs"); the expanded size of each node is computed once and
  a document that grows by more than `MAX_ALIASED` values is refused unexpanded.

JSON goes through ``json`` first, which is some thirty times faster than any YAML parser.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from k8slab.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.objects.meta import Object

MAX_ALIASED = 100_000
"""How many values aliases may add to one document; go-yaml's own limit is of this order."""

MAX_DEPTH = 200
"""How deep values may nest; no Kubernetes type comes near, and recursion stays bounded."""

SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and where it stands, as ``file:line``."""

    object: Object
    place: str


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with the scalars of kubectl's parser."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (a class attribute of PyYAML's)
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_SEXAGESIMAL = re.compile(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$")
_scalars = yaml.constructor.SafeConstructor()


def load_text(text: str | bytes, source: str = "manifest") -> list[Manifest]:
    """Read YAML or JSON with any number of documents; Lists are unpacked.

    `source` names the text in places and messages. Empty documents are skipped.
    Raises `ManifestError` with ``file:line``.
    """
    documents = _documents(text, source)
    return [found for value, lines in documents for found in _objects(value, lines, source)]


def load_values(text: str | bytes, source: str = "file") -> list[Any]:
    """Read YAML or JSON that holds no Kubernetes objects, as strictly; one value a document."""
    return [value for value, _ in _documents(text, source)]


def _documents(text: str | bytes, source: str) -> list[tuple[Any, _Place]]:
    decoded = _decode(text, source)
    documents = _json_documents(decoded, source)
    return list(_yaml_documents(decoded, source)) if documents is None else documents


def load(text: str | bytes, source: str = "manifest") -> list[Object]:
    """Read a text as `load_text` does and return the objects alone."""
    return [manifest.object for manifest in load_text(text, source)]


def load_paths(paths: Iterable[Path | str]) -> list[Manifest]:
    """Read files and directories (their ``.yaml``, ``.yml``, ``.json`` files, sorted)."""
    return [manifest for path in paths for manifest in _load_path(Path(path))]


def _load_path(path: Path) -> list[Manifest]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        return [manifest for file in files for manifest in _load_path(file)]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"cannot read it: {error.strerror}", place=str(path)) from error
    return load_text(content, str(path))


def _decode(text: str | bytes, source: str) -> str:
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise ManifestError(
                "this is not UTF-8 text",
                place=f"{source}:{line}",
                hint="save the file with the encoding UTF-8",
            ) from error
    return text.removeprefix("\ufeff")


class _Place:
    """The lines of one document's nodes: by path of keys and indexes, for the object level."""

    def __init__(self, node: yaml.Node | None) -> None:
        self._node = node

    def line(self, *path: str | int) -> int:
        """Return the line of the value at `path`, or of the nearest value above it."""
        node = self._node
        for step in path:
            child = _child(node, step)
            if child is None:
                break
            node = child
        return node.start_mark.line + 1 if node is not None else 1


def _child(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        found: yaml.Node = node.value[step]
        return found
    return None


def _json_documents(text: str, source: str) -> list[tuple[Any, _Place]] | None:
    """Return the values of a JSON text; ``None`` leaves it to YAML, which words errors better."""
    if not text.lstrip().startswith("{"):
        return None
    decoder = json.JSONDecoder(object_pairs_hook=_unique)
    position, documents = len(text) - len(text.lstrip()), []
    try:
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            documents.append((value, _Place(None)))
            position += len(text[position:]) - len(text[position:].lstrip())
    except RecursionError as error:
        raise ManifestError(f"nested deeper than {MAX_DEPTH} levels", place=source) from error
    except ValueError:
        return None
    return documents


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _yaml_documents(text: str, source: str) -> Iterator[tuple[Any, _Place]]:
    try:
        _check_depth(text, source)
        for node in yaml.compose_all(text, Loader=_Loader):
            builder = _Builder(source)
            builder.measure(node)
            yield builder.build(node), _Place(node)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, source) from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ManifestError(
            f"the character U+{ord(text[error.position]):04X} is not allowed in YAML",
            place=f"{source}:{line}",
        ) from error


_DEEP_BLOCK = re.compile(rf"^ {{{4 * MAX_DEPTH},}}|(?:[-?][ \t]+){{{MAX_DEPTH},}}", re.MULTILINE)
_MANY_BRACKETS = 10_000


def _check_depth(text: str, source: str) -> None:
    """Refuse deep nesting before PyYAML's composer meets it.

    That composer recurses in C and crashes the process at some 50,000 levels. Walking
    the events is safe but doubles the time, so it is done only for texts that could
    nest that deep: by long indentation, chained dashes, or very many brackets.
    """
    brackets = text.count("[") + text.count("{")
    if brackets <= _MANY_BRACKETS and not _DEEP_BLOCK.search(text):
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ManifestError(f"nested deeper than {MAX_DEPTH} levels", place=source)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _syntax_error(error: yaml.MarkedYAMLError, text: str, source: str) -> ManifestError:
    mark = error.problem_mark or error.context_mark
    number = mark.line + 1 if mark is not None else 1
    lines = text.splitlines()
    line = lines[number - 1] if number <= len(lines) else ""
    hint = ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        hint = "this line is indented with a tab; YAML allows spaces only"
    elif error.problem and "mapping values are not allowed" in error.problem:
        hint = "look at the indentation here and in the line before; quote text that contains ': '"
    elif error.problem and "expected" in error.problem and line.strip():
        hint = f"look at the indentation here and in the line before: {line.strip()[:60]}"
    return ManifestError(str(error.problem), place=f"{source}:{number}", hint=hint)


class _Builder:
    """Turns one document's nodes into plain values."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._sizes: dict[int, int] = {}
        self._nodes = 0

    def measure(self, node: yaml.Node) -> None:
        """Refuse a document whose aliases contain themselves or expand beyond bounds."""
        if self._size(node, 0) - self._nodes > MAX_ALIASED:
            raise ManifestError(
                f"the aliases in this document expand to more than {MAX_ALIASED} values",
                place=self._place(node),
            )

    def _size(self, node: yaml.Node, depth: int) -> int:
        known = self._sizes.get(id(node))
        if known == 0:
            raise ManifestError("an anchor contains itself", place=self._place(node))
        if known is not None:
            return known
        if depth > MAX_DEPTH:
            raise ManifestError(f"nested deeper than {MAX_DEPTH} levels", place=self._place(node))
        self._nodes += 1
        self._sizes[id(node)] = 0
        size = 1
        if isinstance(node, yaml.MappingNode):
            size += sum(self._size(value, depth + 1) for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(self._size(value, depth + 1) for value in node.value)
        self._sizes[id(node)] = size
        return size

    def build(self, node: yaml.Node) -> Any:
        """Return the value of a node."""
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item) for item in node.value]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged.update(self._merge(value_node))
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise ManifestError("a key must be text", place=self._place(key_node))
            key = key_node.value
            if key in result:
                raise ManifestError(
                    f"the key {key!r} stands twice in this mapping",
                    place=self._place(key_node),
                    hint="keep one of them; the other would be lost without a word",
                )
            result[key] = self.build(value_node)
        return {**merged, **result} if merged else result

    def _merge(self, node: yaml.Node) -> dict[str, Any]:
        values = self.build(node)
        merged: dict[str, Any] = {}
        for value in reversed(values) if isinstance(values, list) else [values]:
            if not isinstance(value, dict):
                raise ManifestError("'<<' needs a mapping", place=self._place(node))
            merged.update(value)
        return merged

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        tag = node.tag.rpartition(":")[2]
        if tag in ("int", "float") and _SEXAGESIMAL.match(node.value):
            return node.value
        try:
            match tag:
                case "null":
                    return None
                case "bool":
                    return _scalars.construct_yaml_bool(node)
                case "int":
                    return _scalars.construct_yaml_int(node)
                case "float":
                    return _scalars.construct_yaml_float(node)
        except ValueError as error:
            raise ManifestError(
                f"{node.value!r} is not of type {tag}", place=self._place(node)
            ) from error
        return node.value

    def _place(self, node: yaml.Node) -> str:
        return f"{self._source}:{node.start_mark.line + 1}"


def _objects(value: Any, lines: _Place, source: str) -> Iterator[Manifest]:
    if value is None:
        return
    place = f"{source}:{lines.line()}"
    _check_type(value, place)
    if value["kind"].endswith("List") and isinstance(value.get("items"), list):
        for index, item in enumerate(value["items"]):
            where = f"{source}:{lines.line('items', index)}"
            _check_type(item, where)
            yield Manifest(item, where)
    else:
        yield Manifest(value, place)


def _check_type(value: Any, place: str) -> None:
    if not isinstance(value, dict):
        raise ManifestError(
            f"a Kubernetes object is a mapping, this is {_words(value)}",
            place=place,
            hint="an object starts with apiVersion: and kind:",
        )
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field), str) or not value[field]:
            raise ManifestError(f"the object has no {field}", place=place)
    metadata = value.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise ManifestError(f"metadata must be a mapping, not {_words(metadata)}", place=place)


def _words(value: Any) -> str:
    match value:
        case bool() | int() | float():
            return "a number or a truth value"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"
    return "nothing"
