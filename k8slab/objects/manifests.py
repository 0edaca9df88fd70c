"""Read manifests as kubectl does, and say for every object in which file and line it stands.

A text is JSON or YAML (`jsontext`, `yamltext`), with any number of documents; Lists are
unpacked. Reading keeps of each object only the part of the text that it came from. The line
of a single field is found when somebody asks for it, by parsing that part again: findings are
few, fields are many.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from k8slab.errors import ManifestError
from k8slab.objects import jsontext, yamltext
from k8slab.objects.yamltext import MAX_ALIASED, MAX_DEPTH, Document, Loader, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.objects.meta import Object

__all__ = [
    "MAX_ALIASED",
    "MAX_DEPTH",
    "Manifest",
    "Text",
    "load",
    "load_paths",
    "load_text",
    "load_values",
]

MAX_BYTES = 1 << 30
"""Bytes in a file: what a dump of 100,000 pods takes, and a device without end does not."""

SUFFIXES = (".yaml", ".yml", ".json")
KUSTOMIZE_FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""What ``kubectl kustomize`` reads: instructions, not objects."""


@dataclass(frozen=True, eq=False)
class Text:
    """One document of a named text, with what is needed to find lines in it."""

    source: str
    text: str
    document: Document

    @cached_property
    def items(self) -> tuple[Span, ...]:
        """The spans of the elements of ``items``."""
        if self.document.items or not self.text.startswith("{", self.document.span.start):
            return self.document.items
        return tuple(jsontext.item_spans(self.text, self.document.span))


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and where it came from; `item` is its index when it was part of a List."""

    object: Object
    origin: Text = field(repr=False)
    item: int | None = None

    @property
    def place(self) -> str:
        """Return ``file:line`` of the object's first line."""
        return self.place_of()

    @property
    def file(self) -> str:
        """Return the name of the text that the object stands in."""
        return self.origin.source

    def place_of(self, *path: str | int) -> str:
        """Return ``file:line`` of the field at `path`, a walk of keys and indexes."""
        return f"{self.origin.source}:{self.line(*path)}"

    def line(self, *path: str | int) -> int:
        """Return the line, from 1, of the field at `path`, or of the nearest one above it."""
        span = self._span()
        found = span.line
        if path:
            node = _compose(self.origin.text, span)
            for step in path:
                node, line = _child(node, step)
                if node is None:
                    break
                found = span.line + line
        return found + 1

    def _span(self) -> Span:
        items = self.origin.items if self.item is not None else ()
        return items[self.item] if self.item is not None and items else self.origin.document.span


def _compose(text: str, span: Span) -> yaml.Node | None:
    """Parse the part of a text again, as nodes that know their lines."""
    part = " " * span.column + text[span.start : span.end]
    try:
        return yaml.compose(part, Loader=Loader)
    except yaml.YAMLError:
        return None  # it uses an anchor of another part: the object's own line has to do


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node | None, int]:
    """Return the node one step below, and the line of its key (or of itself, in a list)."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value, key.start_mark.line
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark.line
    return None, 0


def load_text(text: str | bytes, source: str = "manifest") -> list[Manifest]:
    """Read YAML or JSON with any number of documents; Lists are unpacked.

    `source` names the text in places and messages. Empty documents are skipped.
    Raises `ManifestError` with ``file:line``.
    """
    decoded = _decode(text, source)
    found: list[Manifest] = []
    with _uncollected():
        for document in _documents(decoded, source):
            found += _objects(Text(source, decoded, document))
    return found


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let the collector of cycles rest while values are made that all stay and have no cycle.

    It would start again and again because there are more and more of them, and go through all
    that are there: for a large dump that takes as long as reading it.
    """
    resting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if resting:
            gc.enable()


def load_values(text: str | bytes, source: str = "file") -> list[Any]:
    """Read YAML or JSON that holds no Kubernetes objects, as strictly; one value a document."""
    return [document.value for document in _documents(_decode(text, source), source)]


def load(text: str | bytes, source: str = "manifest") -> list[Object]:
    """Read a text as `load_text` does and return the objects alone."""
    return [manifest.object for manifest in load_text(text, source)]


def load_paths(paths: Iterable[Path | str], *, recursive: bool = False) -> list[Manifest]:
    """Read files and directories (their ``.yaml``, ``.yml``, ``.json`` files, sorted).

    With `recursive` also the directories in them, except hidden ones and links, which could lead
    round in a circle. Instructions for kustomize are passed over in directories: read what it
    builds from them.
    """
    return [
        manifest
        for path in paths
        for file in _files(Path(path), recursive=recursive)
        for manifest in load_text(_content(file), str(file))
    ]


def _files(path: Path, *, recursive: bool) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise _unreadable(path, error) from error
    for entry in entries:
        if entry.is_dir():
            if recursive and not entry.name.startswith(".") and not entry.is_symlink():
                yield from _files(entry, recursive=True)
        elif entry.suffix in SUFFIXES and entry.name not in KUSTOMIZE_FILES and entry.is_file():
            yield entry


def _unreadable(path: Path, error: OSError) -> ManifestError:
    return ManifestError(f"cannot read it: {error.strerror}", place=str(path))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > MAX_BYTES:
        raise ManifestError(f"larger than {MAX_BYTES >> 20} MiB", place=str(path))
    return content


def _documents(text: str, source: str) -> Iterable[Document]:
    documents = jsontext.read(text, source)
    return yamltext.read(text, source) if documents is None else documents


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
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a pair, as Python keeps it: no text has one
        line = text[: error.start].count("\n") + 1
        raise ManifestError("this is not Unicode text", place=f"{source}:{line}") from error
    return text.removeprefix("\ufeff")


def _objects(origin: Text) -> Iterator[Manifest]:
    value = origin.document.value
    if value is None:
        return
    whole = Manifest(value, origin)
    _check_type(whole)
    kind, items = value["kind"], value.get("items", ())
    if not kind.endswith("List") or not isinstance(items, list | tuple | None):
        yield whole
        return
    # The elements of a PodList, as the API answers, do not repeat their kind.
    implied = {} if kind == "List" else {"apiVersion": value["apiVersion"], "kind": kind[:-4]}
    for index, item in enumerate(items or ()):
        element = {**implied, **item} if implied and isinstance(item, dict) else item
        manifest = Manifest(element, origin, index)
        _check_type(manifest)
        yield manifest


def _check_type(manifest: Manifest) -> None:
    value = manifest.object
    if not isinstance(value, dict):
        raise ManifestError(
            f"a Kubernetes object is a mapping, this is {_words(value)}",
            place=manifest.place,
            hint="an object starts with apiVersion: and kind:",
        )
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise ManifestError(f"the object has no {name}", place=manifest.place)
    metadata = value.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise ManifestError(
            f"metadata must be a mapping, not {_words(metadata)}",
            place=manifest.place_of("metadata"),
        )
    for name in ("name", "namespace"):
        given = (metadata or {}).get(name)
        if given is not None and not isinstance(given, str):
            raise ManifestError(
                f"metadata.{name} must be text, not {_words(given)}",
                place=manifest.place_of("metadata", name),
                hint=f'write it in quotes: {name}: "{given}"' if isinstance(given, int) else "",
            )


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
