"""The file in which a learner hands in answers: small, readable, and never believed.

A zip archive with two members, nothing else:

    manifest.json   the format and its version, and of answers.json the SHA-256 and the size
    answers.json    what differs from the set-up, exercise by exercise; what was typed

``unzip -p answers.zip answers.json`` shows it. The schema of ``answers.json`` is `SCHEMA`,
published as ``book/schemas/answers.schema.json``.

Who reads a bundle trusts nothing in it. Nothing is unpacked to a disk, sizes are bounded
before and while reading, only the two names and two ways to pack are known, the text must be
JSON of this schema, with numbers that can be counted with and characters that can be written.
What `write` writes, `read` accepts.
The checksum tells a damaged file from a whole one; it is no signature, and what a learner
claims in it is only compared with what the replay shows.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.clusters import places
from k8slab.course.typed import LONGEST
from k8slab.errors import EnvironmentLacksError, UsageError
from k8slab.grading.harmless import visible

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "k8slab-answers"
VERSION = 1
SUFFIX = ".zip"

MANIFEST, ANSWERS = "manifest.json", "answers.json"

MAX_FILE = 4 << 20
"""Bytes of a bundle; the answers to all labs together take some tens of kilobytes."""
MAX_ANSWERS = 8 << 20
MAX_MANIFEST = 4096
MAX_OBJECTS = 500
"""Objects that one exercise may add or change."""
MAX_OBJECT = 256 << 10
"""Bytes of one object as JSON; Kubernetes itself takes some 1.5 MiB."""
MAX_POINTS = 1_000_000
MAX_SEED = 2**53
"""Whole numbers up to here are the same in every reader of JSON (RFC 8259, section 6)."""
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
SHOWN = 200
"""Characters of a schema's complaint that an error repeats: the text comes from the bundle."""

_WORD = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
_TEXT = {"type": "string", "maxLength": LONGEST}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 1_000_000}
_POINTS = {"type": "number", "minimum": 0, "maximum": MAX_POINTS}
_MOMENT = {
    "type": "string",
    "maxLength": 40,
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
    "([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$",
}
# What stands in the path of a request: nothing that a URL would read as something else.
_NAME = {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?$"}
_API = {"type": "string", "pattern": "^[a-z0-9.-]{1,100}(/[a-z0-9]{1,60})?$"}
_KIND = {"type": "string", "pattern": "^[A-Za-z0-9]{1,63}$"}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _closed(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": [*required],
    }


_METADATA = _closed(
    {"name": _NAME, "namespace": _WORD, "labels": _TEXTS, "annotations": _TEXTS}, ("name",)
)
_OBJECT: dict[str, Any] = {
    "description": "A manifest: fields that people wrote; no status, no other metadata.",
    "type": "object",
    "properties": {"apiVersion": _API, "kind": _KIND, "metadata": _METADATA, "status": False},
    "required": ["apiVersion", "kind", "metadata"],
}
_OBJECTS = {"type": "array", "maxItems": MAX_OBJECTS, "items": _OBJECT}
_IDENTITY = _closed(
    {"apiVersion": _API, "kind": _KIND, "metadata": _METADATA}, ("apiVersion", "kind", "metadata")
)
_PLACE = {"type": "string", "pattern": "^[a-z]{1,60}/[A-Za-z0-9._:-]{1,253}$"}
_TYPED = _closed(
    {
        "text": _TEXT,
        "stands_for": {
            **_closed({"object": _PLACE, "path": _TEXT, "namespace": _WORD}, ("object", "path")),
            "description": "Where the learner's cluster told this text, when it was one that "
            "differs from cluster to cluster (an address, the name of a node or of a pod).",
        },
    },
    ("text",),
)
_CLAIM = {
    **_closed(
        {
            "status": {"type": "string", "maxLength": 40},
            "points": _POINTS,
            "max_points": _POINTS,
            "checks": _COUNT,
            "hints": _COUNT,
            "saw_solution": {"type": "boolean"},
        },
        ("points", "checks", "hints", "saw_solution"),
    ),
    "description": "What the learner's own journal says. It is compared, and counts against the "
    "learner alone: hints that cost points, and points from before the solution was shown.",
}
_EXERCISE = _closed(
    {
        "setup": {"type": "string", "maxLength": 64, "description": "The mark of the set-up."},
        "claimed": _CLAIM,
        "added": _OBJECTS,
        "changed": _OBJECTS,
        "deleted": {"type": "array", "maxItems": MAX_OBJECTS, "items": _IDENTITY},
        "typed": {"type": "object", "additionalProperties": _TYPED, "maxProperties": 100},
    },
    ("claimed",),
)
_LAB = _closed(
    {
        "exercises": {
            "type": "object",
            "propertyNames": _WORD,
            "additionalProperties": _EXERCISE,
            "maxProperties": 200,
        },
        "predictions": _closed({"made": _COUNT, "of": _COUNT}, ("made", "of")),
    },
    ("exercises",),
)
SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$id": "urn:k8slab:answers:1",
    "title": "answers.json of a k8slab bundle, version 1",
    **_closed(
        {
            "made": {**_MOMENT, "description": "When, RFC 3339 in UTC."},
            "seed": {
                "type": "integer",
                "minimum": 0,
                "maximum": MAX_SEED,
                "description": "Picks names of transfers.",
            },
            "versions": {"type": "object", "additionalProperties": {"type": "string"}},
            "cluster": _closed(
                {
                    "name": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"},
                    "nodes": {"type": "integer", "minimum": 1, "maximum": 10},
                },
                ("name",),
            ),
            "labs": {
                "type": "object",
                "propertyNames": _WORD,
                "additionalProperties": _LAB,
                "maxProperties": 50,
            },
        },
        ("made", "seed", "versions", "cluster", "labs"),
    ),
}


class BundleError(UsageError):
    """A bundle cannot be read or may not be replayed; the message names the file."""


@dataclass(frozen=True)
class Bundle:
    """One bundle that was read: the file's name, and the value of ``answers.json``."""

    source: str
    answers: dict[str, Any]


def write(file: Path, answers: dict[str, Any]) -> None:
    """Write a bundle, whole or not at all; the same answers give the same bytes.

    Raises `UsageError` that names the place in the answers which `read` would refuse: who hands
    in should hear of it, and not who grades.
    """
    if complaint := fault(answers) or _too_large(answers):
        raise UsageError(
            f"nothing was written, since no grader would take it: {complaint}",
            hint="mend or remove that, or hand in the others alone: k8slab submit LAB/EXERCISE ...",
        )
    content = (json.dumps(answers, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    if len(content) > MAX_ANSWERS:
        raise UsageError(
            f"the answers take {len(content) >> 20} MiB; a bundle may hold {MAX_ANSWERS >> 20}",
            hint="hand in fewer labs at once: k8slab submit LAB",
        )
    described = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest = {"format": FORMAT, "version": VERSION, "files": {ANSWERS: described}}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
        _add(archive, ANSWERS, content)
    if len(packed.getvalue()) > MAX_FILE:
        raise UsageError(
            f"the bundle would be larger than {MAX_FILE >> 20} MiB, and no grader would take it",
            hint="hand in fewer exercises at once: k8slab submit LAB/EXERCISE",
        )
    try:
        places.write(places.replaceable(file), packed.getvalue())
    except OSError as error:
        raise EnvironmentLacksError(
            f"{file} cannot be written: {error.strerror}", hint="-o FILE names another place"
        ) from error


def _too_large(answers: dict[str, Any]) -> str:
    """Name an object of the answers that is larger than a replay makes; empty without any."""
    for lab, entry in answers["labs"].items():
        for exercise, given in entry["exercises"].items():
            for obj in (*given.get("added", ()), *given.get("changed", ())):
                if object_size(obj) > MAX_OBJECT:
                    name = f"{obj['kind']} {obj['metadata']['name']}"
                    return f"{lab}/{exercise}: {name} is larger than {MAX_OBJECT >> 10} KiB"
    return ""


def object_size(obj: dict[str, Any]) -> int:
    """Return the bytes of an object as JSON."""
    return len(json.dumps(obj, ensure_ascii=False).encode())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name)  # without a time, so that equal answers are equal files
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    archive.writestr(member, content)


_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, struct.error)
"""What `zipfile` raises for an archive that is none."""


def read(file: Path) -> Bundle:
    """Read a bundle; raises `BundleError` that says what is wrong with it."""
    try:
        manifest, content = _members(file)
    except OSError as error:
        raise BundleError(f"{file}: cannot read it: {error.strerror}") from error
    except _DAMAGED as error:
        raise _unreadable(file, f"it is damaged or no zip archive ({error})") from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted; packed in an odd way
        raise _unreadable(file, str(error)) from error
    _compare(file, manifest, content)
    answers = _json(file, ANSWERS, content)
    if complaint := fault(answers):
        raise BundleError(f"{file}: {ANSWERS}: {complaint}", hint="make it with k8slab submit")
    return Bundle(str(file), answers)


def fault(answers: Any) -> str:
    """Say what in ``answers.json`` the schema does not allow; empty when nothing."""
    # Not jsonschema: with what JupyterLab adds to it, it takes 3 s to import.
    import fastjsonschema  # noqa: PLC0415

    try:
        fastjsonschema.compile(SCHEMA)(answers)
    except fastjsonschema.JsonSchemaValueException as error:
        where = "/".join(str(step)[:60] for step in error.path[1:])
        return visible(f"{where or 'the whole'}: {error.message[:SHOWN]}")
    return ""


def _members(file: Path) -> tuple[bytes, bytes]:
    if not file.is_file():
        raise BundleError(f"{file}: there is no such file")
    if file.stat().st_size > MAX_FILE:
        raise _unreadable(file, f"it is larger than {MAX_FILE >> 20} MiB")
    with zipfile.ZipFile(file) as archive:
        names = sorted(member.filename for member in archive.infolist())
        if names != sorted((MANIFEST, ANSWERS)):
            strange = [repr(name[:60]) for name in names if name not in (MANIFEST, ANSWERS)]
            told = f"it holds {', '.join(strange[:3])}" if strange else "a member is missing"
            raise _unreadable(file, told)
        if any(member.compress_type not in PACKED for member in archive.infolist()):
            raise _unreadable(file, "it is packed in a way that no bundle is")
        return (
            _bounded(file, archive, MANIFEST, MAX_MANIFEST),
            _bounded(file, archive, ANSWERS, MAX_ANSWERS),
        )


def _bounded(file: Path, archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Read a member, and never more of it than allowed, whatever its header says."""
    with archive.open(name) as member:
        content = member.read(most + 1)
    if len(content) > most:
        raise _unreadable(file, f"{name} in it is larger than {most} bytes")
    return content


def _compare(file: Path, manifest: bytes, content: bytes) -> None:
    described = _json(file, MANIFEST, manifest)
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise _unreadable(file, f"its format is not {FORMAT}")
    if described.get("version") != VERSION:
        told = visible(str(described.get("version"))[:20])
        raise BundleError(
            f"{file}: a bundle of version {told}; this k8slab reads version {VERSION}",
            hint="install the newest k8slab and try again",
        )
    files = described.get("files")
    wanted = files.get(ANSWERS) if isinstance(files, dict) else None
    digest = hashlib.sha256(content).hexdigest()
    if not isinstance(wanted, dict) or wanted.get("sha256") != digest:
        raise _unreadable(file, f"{ANSWERS} is not what its checksum says")


def _json(file: Path, name: str, content: bytes) -> Any:
    try:
        found = json.loads(content, parse_constant=_no_number, parse_float=_number)
        json.dumps(found, ensure_ascii=False).encode()  # half a character, such as \ud800, is none
    except (ValueError, RecursionError) as error:
        raise _unreadable(file, f"{name} is no JSON that can be read ({error})") from error
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _number(text: str) -> float:
    """Return a number; one without a fraction is a whole number, as JSON Schema counts (6.3)."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no number that can be counted with")
    return int(value) if value.is_integer() and abs(value) <= MAX_SEED else value


def _unreadable(file: Path, why: str) -> BundleError:
    return BundleError(f"{file}: no bundle of answers: {why}", hint="make it with k8slab submit")
