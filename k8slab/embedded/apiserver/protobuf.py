r"""Read a request in the API's protobuf form (``application/vnd.kubernetes.protobuf``).

The envelope is ``k8s\0`` and a ``runtime.Unknown``: type (1), raw object (2). Field numbers come
from ``wire_table.json`` (see `wire_build`), the kinds of values from the schemas. The result is
the object as JSON would give it. Answers are never given in this form.
"""

from __future__ import annotations

import base64
import struct
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver import schema, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.embedded.apiserver.schema import Field, Type
    from k8slab.objects.meta import Object

MAGIC = b"k8s\x00"
MEDIA = "application/vnd.kubernetes.protobuf"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIGN = 1 << 63


class MalformedError(ValueError):
    """The bytes are no protobuf."""


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, list[Any]]]:
    path = Path(__file__).with_name("wire_table.json")
    table: dict[str, dict[str, list[Any]]] = orjson.loads(path.read_bytes())
    return table


def decode(data: bytes) -> Object:
    """Return the object of a request body; 400 when it cannot be read."""
    if not data.startswith(MAGIC):
        raise statuses.bad_request("provided data does not appear to be a protobuf message")
    try:
        return _object(data[len(MAGIC) :])
    except (ValueError, OverflowError, OSError, RecursionError) as error:
        raise statuses.bad_request(f"the protobuf body cannot be read: {error}") from error


def _object(data: bytes) -> Object:
    envelope = dict(_fields(data))
    head = dict(_fields(_as_bytes(envelope.get(1, b""))))
    api_version = _as_bytes(head.get(1, b"")).decode()
    word = _as_bytes(head.get(2, b"")).decode()
    group, _, version = api_version.rpartition("/")
    name = schema.root_name(group, version, word)
    if not name or name not in _table():
        raise MalformedError(f"no kind {word!r} is known in {api_version!r}")
    obj = _structure(_as_bytes(envelope.get(2, b"")), schema.type_of(name), name)
    return {"apiVersion": api_version, "kind": word, **obj}


def _structure(data: bytes, owner: Type, numbers: str) -> Object:
    """Decode a message by the numbers of one type into the fields of `owner`."""
    rows = _table().get(numbers, {})
    made: Object = {}
    for number, value in _fields(data):
        row = rows.get(str(number))
        if row is None:
            continue
        name, pointer, inlined = row
        if inlined:
            made.update(_structure(_as_bytes(value), owner, inlined))
            continue
        field = owner.fields.get(name)
        if field is None:
            continue
        if field.shape == "[":
            made.setdefault(name, []).extend(_items(value, field))
        elif field.shape == "{":
            entry = dict(_fields(_as_bytes(value)))
            key = _as_bytes(entry.get(1, b"")).decode()
            made.setdefault(name, {})[key] = _one(entry.get(2, b""), field)
        else:
            decoded = _one(value, field)
            if decoded is not None and (pointer or decoded not in ("", 0, False)):
                made[name] = decoded
    return made


def _items(value: int | bytes, field: Field) -> list[Any]:
    if field.word == "integer" and isinstance(value, bytes):
        items, place = [], 0
        while place < len(value):
            number, place = _varint(value, place)
            items.append(_signed(number))
        return items
    return [_one(value, field)]


def _one(value: int | bytes, field: Field) -> Any:
    if field.is_type:
        return _structure(_as_bytes(value), schema.type_of(field.word), field.word)
    match field.word:
        case "string":
            return _as_bytes(value).decode()
        case "integer":
            return _signed(_as_number(value))
        case "boolean":
            return bool(_as_number(value))
        case "number":
            return struct.unpack("<d", _as_number(value).to_bytes(8, "little"))[0]
        case "bytes":
            return base64.b64encode(_as_bytes(value)).decode()
        case "time":
            return _time(_as_bytes(value), field)
        case "quantity":
            return _as_bytes(dict(_fields(_as_bytes(value))).get(1, b"")).decode()
        case "intstr":
            parts = dict(_fields(_as_bytes(value)))
            if parts.get(1):
                return _as_bytes(parts.get(3, b"")).decode()
            return _signed(_as_number(parts.get(2, 0)))
        case "[string":
            return [_as_bytes(item).decode() for _, item in _fields(_as_bytes(value))]
    raw = _as_bytes(dict(_fields(_as_bytes(value))).get(1, b""))
    return orjson.loads(raw) if raw else None


def _time(data: bytes, field: Field) -> str | None:
    parts = dict(_fields(data))
    if not parts:
        return None
    moment = datetime.fromtimestamp(_signed(_as_number(parts.get(1, 0))), UTC)
    # MicroTime has six digits, Time none (metav1.RFC3339Micro).
    if field.name in ("renewTime", "acquireTime", "eventTime", "lastObservedTime"):
        micro = _as_number(parts.get(2, 0)) // 1000
        return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{micro:06d}Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- the wire (protobuf encoding: varint, fixed64, length-delimited, fixed32)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, place = _varint(data, place)
        elif kind == _BYTES:
            size, place = _varint(data, place)
            if place + size > len(data):
                raise MalformedError("a field is longer than the message")
            value = data[place : place + size]
            place += size
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
            value = int.from_bytes(data[place : place + size], "little")
            place += size
        else:
            raise MalformedError(f"wire type {kind} is unknown")
        yield number, value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise MalformedError("a number ends too early")
        byte = data[place]
        place += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, place
        shift += 7


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= _SIGN else value


def _as_bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise MalformedError("a number stands where bytes are expected")
    return value


def _as_number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise MalformedError("bytes stand where a number is expected")
    return value
