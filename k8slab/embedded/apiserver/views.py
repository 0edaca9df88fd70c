"""How objects are shown: as they are, as a Table, as metadata only, or in another API group.

The ``Accept`` header chooses. The stored JSON is sent as it is wherever that is what was asked
for; everything else is made from the object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver import eventsview, printers
from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.embedded.apiserver.store import Entry
    from k8slab.objects.meta import Object

META = "meta.k8s.io/v1"

JSON_MEDIA = ("application/json", "*/*", "application/*")
YAML_MEDIA = ("application/yaml",)


@dataclass(frozen=True, slots=True)
class View:
    """One way to show objects of one kind; `form` is ``""``, ``Table`` or ``Partial``."""

    kind: Kind
    form: str = ""
    include: str = "Metadata"
    """What a Table's rows carry: ``None``, ``Metadata`` or ``Object``."""

    @property
    def is_plain(self) -> bool:
        """Say whether the stored bytes are what is wanted."""
        custom = self.kind.custom
        return not (self.form or self.kind.stored_as or (custom and not custom.is_only))

    def one(self, entry: Entry) -> bytes:
        """Return one object."""
        if self.is_plain:
            return entry.raw
        if self.form == "Table":
            return orjson.dumps(self._table([entry.object], entry.object["metadata"]))
        return orjson.dumps(self._shown(entry.object))

    def many(self, entries: list[Entry], metadata: Object) -> bytes:
        """Return a list with its own metadata (resourceVersion, continue)."""
        if self.form == "Table":
            return orjson.dumps(self._table([entry.object for entry in entries], metadata))
        head = {
            "kind": "PartialObjectMetadataList" if self.form else f"{self.kind.kind}List",
            "apiVersion": META if self.form else self.kind.api_version,
            "metadata": metadata,
        }
        start, end = orjson.dumps(head)[:-1] + b',"items":[', b"]}"
        if not entries:
            return start + end
        # One join makes the whole answer: a list of megabytes is copied once.
        if self.is_plain and not self.kind.custom:
            rest = len(self._head)
            items = [memoryview(entry.raw)[rest:] for entry in entries]
            return b"".join((start, b"{", b",{".join(items), end))
        shown = [self._item(entry) for entry in entries]
        return b"".join((start, b",".join(shown), end))

    @property
    def _head(self) -> bytes:
        """How stored bytes of a kind begin: what the items of a list say once, for all of them.

        Custom objects say it each: a real server decodes them without a type.
        """
        version, kind = self.kind.api_version, self.kind.kind
        return b'{"apiVersion":"%b","kind":"%b",' % (version.encode(), kind.encode())

    def _item(self, entry: Entry) -> bytes:
        if self.form or self.kind.custom:
            return self.one(entry)
        shown = self._shown(entry.object)
        return orjson.dumps({key: shown[key] for key in shown if key not in ("apiVersion", "kind")})

    def event(self, kind: str, obj: Object, raw: bytes) -> bytes:
        """Return one line of a watch."""
        if self.is_plain:
            shown = raw
        elif self.form == "Table":
            shown = orjson.dumps(self._table([obj], {"resourceVersion": _version(obj)}))
        else:
            shown = orjson.dumps(self._shown(obj))
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), shown)

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        """Return the line that tells how far a watch has come."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        head = {"kind": self.kind.kind, "apiVersion": self.kind.api_version}
        if self.form == "Partial":
            head = {"kind": "PartialObjectMetadata", "apiVersion": META}
        obj: Object = {**head, "metadata": metadata}
        if self.form == "Table":
            partial = {"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": metadata}
            obj = {
                "kind": "Table",
                "apiVersion": META,
                "metadata": metadata,
                "columnDefinitions": [],
                "rows": [{"cells": [], "object": partial}],
            }
        return orjson.dumps({"type": "BOOKMARK", "object": obj}) + b"\n"

    def _shown(self, obj: Object) -> Object:
        if self.form == "Partial":
            return _partial(obj)
        return as_seen(self.kind, obj)

    def _table(self, objects: list[Object], metadata: Object) -> Object:
        kept = {
            key: metadata[key]
            for key in ("resourceVersion", "continue", "remainingItemCount")
            if key in metadata
        }
        rows = []
        for obj in objects:
            row: dict[str, Any] = {"cells": printers.cells(self.kind, obj)}
            if self.include != "None":
                row["object"] = (
                    _partial(obj) if self.include == "Metadata" else as_seen(self.kind, obj)
                )
            rows.append(row)
        return {
            "kind": "Table",
            "apiVersion": META,
            "metadata": kept,
            "columnDefinitions": printers.columns(self.kind),
            "rows": rows,
        }


def as_seen(kind: Kind, obj: Object) -> Object:
    """Return a stored object as this kind shows it: in its own group and version."""
    if kind.stored_as:
        return eventsview.from_core(obj)
    return kind.custom.seen(obj, kind.api_version) if kind.custom else obj


def _version(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


def _partial(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": obj["metadata"]}


def accepted(request: Request) -> list[tuple[str, dict[str, str]]]:
    """Return what a client accepts, in its order: media types with their parameters."""
    found = []
    for part in (request.headers.get("accept") or "*/*").split(","):
        media, *rest = (word.strip() for word in part.split(";"))
        parameters = dict(word.split("=", 1) for word in rest if "=" in word)
        found.append((media.lower(), parameters))
    return found


def view_of(request: Request, kind: Kind, *, stream: bool = False) -> View:
    """Choose the view; 406 for a client that takes only what we do not speak."""
    spoken = JSON_MEDIA if stream else JSON_MEDIA + YAML_MEDIA
    for media, parameters in accepted(request):
        if media not in spoken:
            continue
        form = parameters.get("as", "")
        if form and (parameters.get("g"), parameters.get("v")) not in (
            ("meta.k8s.io", "v1"),
            ("meta.k8s.io", "v1beta1"),
        ):
            continue
        if not form:
            return View(kind)
        if form == "Table":
            return View(kind, "Table", request.parameter("includeObject") or "Metadata")
        if form in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return View(kind, "Partial")
    raise not_acceptable(*() if stream else YAML_MEDIA)


def not_acceptable(*more: str) -> ApiStatusError:
    """Return 406, as a real server says it; JSON and `more` are spoken."""
    spoken = ", ".join((JSON_MEDIA[0], *more))
    return ApiStatusError(
        f"only the following media types are accepted: {spoken}",
        code=406,
        reason="NotAcceptable",
    )
