"""Read manifests: YAML or JSON, several documents, Lists opened.

JSON is YAML enough for one reader. Every document must be an object with `apiVersion`,
`kind` and a name; an error says in which file and on which line. Numbers and dates stay
as YAML 1.1 reads them, as with kubectl, except that a timestamp stays text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from k8slab.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.objects.meta import Object

# libyaml is ten times as fast; a Python without it (WebAssembly) reads the same.
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc]  # chosen at run time
    """The safe loader without timestamps: JSON has none, and the API wants text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in _BASE.yaml_implicit_resolvers.items()
}


def load(text: str, *, place: str = "manifest") -> list[Object]:
    """Return the objects of a manifest in their order; `place` names it in errors."""
    return [
        obj
        for document, line in _documents(text, place)
        for obj in _opened(document, f"{place}:{line}")
    ]


def dump(*objects: Object) -> str:
    """Write objects as YAML documents, keys in their order."""
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump_all(objects, Dumper=dumper, sort_keys=False, default_flow_style=False)


def _documents(text: str, place: str) -> Iterator[tuple[Any, int]]:
    loader = _Loader(text.removeprefix("\ufeff"))
    try:
        while loader.check_node():
            node = loader.get_node()
            value = loader.construct_document(node)
            if value is not None:
                yield value, node.start_mark.line + 1
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{place}:{mark.line + 1}" if mark else place
        raise ManifestError(
            f"not valid YAML: {error.problem or error.context}",
            place=where,
            hint="YAML is indented with spaces only, and a colon is followed by a space",
        ) from error
    except yaml.YAMLError as error:
        raise ManifestError(f"not valid YAML: {error}", place=place) from error
    except RecursionError as error:
        raise ManifestError("nested too deeply", place=place) from error
    finally:
        loader.dispose()


def _opened(document: Any, place: str) -> list[Object]:
    if not isinstance(document, dict):
        raise ManifestError(
            f"a document is an object with apiVersion and kind, not {_kind_of_value(document)}",
            place=place,
        )
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str):
            raise ManifestError(f"the document has no {field}", place=place)
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        return [obj for item in document["items"] for obj in _opened(item, place)]
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        raise ManifestError(f"this {document['kind']} has no metadata.name", place=place)
    return [document]


def _kind_of_value(value: object) -> str:
    names = {list: "a list", str: "text", int: "a number", float: "a number", bool: "a truth value"}
    return names.get(type(value), type(value).__name__)
