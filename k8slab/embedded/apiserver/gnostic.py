"""Write an OpenAPI v2 document in gnostic's protobuf form, in which kubectl asks for it.

Field numbers: ``OpenAPIv2.proto`` of github.com/google/gnostic-models. Only what our own
documents contain is written. Vendor extensions are YAML text, and JSON is YAML.
"""

from __future__ import annotations

from typing import Any

import orjson


def encode_v2(document: dict[str, Any]) -> bytes:
    """Return the document as an ``openapi.v2.Document``."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    paths = b"".join(
        _message(2, _text(1, path) + _message(2, _path_item(item)))
        for path, item in document["paths"].items()
    )
    definitions = _named_schemas(document["definitions"])
    return (
        _text(1, document["swagger"])
        + _message(2, info)
        + _message(8, paths)
        + _message(9, definitions)
    )


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def _path_item(item: dict[str, Any]) -> bytes:
    return b"".join(_message(_METHODS[name], _operation(op)) for name, op in item.items())


def _operation(operation: dict[str, Any]) -> bytes:
    made = _text(5, operation["operationId"])
    made += b"".join(_text(7, media) for media in operation.get("consumes", ()))
    for parameter in operation["parameters"]:
        query = (
            _text(2, parameter["in"])
            + _text(4, parameter["name"])
            + _text(6, parameter["type"])
            + _flag(20)
        )
        # ParametersItem.parameter.non_body_parameter.query_parameter_sub_schema
        made += _message(8, _message(1, _message(2, _message(3, query))))
    responses = b"".join(
        _message(1, _text(1, code) + _message(2, _message(1, _text(1, body["description"]))))
        for code, body in operation["responses"].items()
    )
    return made + _message(9, responses) + _extensions(13, operation)


def _named_schemas(schemas: dict[str, Any]) -> bytes:
    return b"".join(
        _message(1, _text(1, name) + _message(2, _schema(body))) for name, body in schemas.items()
    )


def _schema(schema: dict[str, Any]) -> bytes:
    made = b""
    for number, key in ((1, "$ref"), (2, "format"), (4, "description")):
        if text := schema.get(key):
            made += _text(number, text)
    made += b"".join(_text(19, name) for name in schema.get("required", ()))
    if (additional := schema.get("additionalProperties")) is not None:
        made += _message(21, _message(1, _schema(additional)))
    if word := schema.get("type"):
        made += _message(22, _text(1, word))
    if (items := schema.get("items")) is not None:
        made += _message(23, _message(1, _schema(items)))
    if properties := schema.get("properties"):
        made += _message(25, _named_schemas(properties))
    return made + _extensions(31, schema)


def _extensions(number: int, holder: dict[str, Any]) -> bytes:
    return b"".join(
        _message(number, _text(1, key) + _message(2, _text(2, orjson.dumps(value).decode())))
        for key, value in holder.items()
        if key.startswith("x-")
    )


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _flag(number: int) -> bytes:
    return _varint(number << 3) + b"\x01"
