"""Read a request's body: JSON or YAML into an object of the expected kind.

``fieldValidation`` decides what happens to unknown and repeated fields: Strict refuses, Warn (the
default) tells in ``Warning`` headers, Ignore drops them (KEP-2885).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver import protobuf, schema, statuses
from k8slab.errors import ApiStatusError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

    Refusal = Callable[[str], ApiStatusError]
    """Makes the error of what does not fit a schema, from words that say what that is."""

JSON_TYPES = ("application/json", "")
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
DEPTH_LIMIT = 200
"""How deep a body may be nested; orjson itself stops at 1,024."""


@dataclass(slots=True)
class Body:
    """What was read: the value, and the strict decoder's complaints."""

    value: Any
    complaints: list[str] = field(default_factory=list)


class _Repeating(dict):
    """A JSON object in which a key stood twice."""

    repeated: tuple[str, ...] = ()


def content_type(request: Request) -> str:
    """Return the body's media type without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parse(request: Request, media: str) -> Body:
    """Parse a body of JSON or YAML; 415 for anything else, 400 for what cannot be read.

    What it returns is nested no deeper than `DEPTH_LIMIT`.
    """
    if request.too_large:
        raise too_large()
    if media in JSON_TYPES or media.endswith("+json"):
        return parse_json(request.body)
    if media in YAML_TYPES or media.endswith("+yaml"):
        return parse_yaml(request.body)
    if media == protobuf.MEDIA:
        value = protobuf.decode(request.body)
        check_depth(value)
        return Body(value)
    raise unsupported(media)


def too_large() -> ApiStatusError:
    """Return 413, as a real server says it."""
    error = statuses.bad_request("Request entity too large: limit is 3145728")
    error.code, error.reason = 413, "RequestEntityTooLarge"
    return error


def unsupported(media: str) -> ApiStatusError:
    """Return 415: bodies are JSON, YAML or the API's protobuf."""
    error = statuses.bad_request(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf "
        f"(it was {media or 'not named'})"
    )
    error.code, error.reason = 415, "UnsupportedMediaType"
    return error


def parse_json(data: bytes) -> Body:
    """Parse JSON and look for repeated keys."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise statuses.bad_request(
            f"couldn't get version/kind; json parse error: {error}"
        ) from error
    if data.count(b"{") + data.count(b"[") > DEPTH_LIMIT:  # else it cannot be that deep
        check_depth(value)
    return Body(value, _repeated(data) if _may_repeat(data, value) else [])


def _may_repeat(data: bytes, value: Any) -> bool:
    """Say whether a key may stand twice in `data`, of which `value` was made.

    Each key has one colon. A parser that drops a repeated key drops its colon too, so that the
    text made of what it kept has fewer. Colons inside strings are in both texts alike, unless
    one is escaped: then the answer is "may be", and the slow parser looks.
    """
    if b"\\u003a" in data or b"\\u003A" in data:
        return True
    return data.count(b":") != orjson.dumps(value).count(b":")


def _repeated(data: bytes) -> list[str]:
    """Return a complaint for each repeated key, read by a parser that shows them all."""
    found = False

    def collect(pairs: list[tuple[str, Any]]) -> dict:
        nonlocal found
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        found = True
        keys = [key for key, _ in pairs]
        repeating = _Repeating(made)
        repeating.repeated = tuple(dict.fromkeys(key for key in keys if keys.count(key) > 1))
        return repeating

    try:
        value = json.loads(data, object_pairs_hook=collect)
    except (RecursionError, ValueError) as error:
        raise statuses.bad_request(f"json parse error: {error}") from error
    return [f'duplicate field "{path}"' for path in _paths(value, "")] if found else []


def _paths(value: Any, path: str) -> list[str]:
    found = []
    if isinstance(value, _Repeating):
        found += [f"{path}.{key}" if path else key for key in value.repeated]
    if isinstance(value, dict):
        for key, item in value.items():
            found += _paths(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += _paths(item, f"{path}[{number}]")
    return found


def parse_yaml(data: bytes) -> Body:
    """Parse YAML, of several documents the first; JSON, which is YAML too, the fast way.

    The reader bounds what anchors may add and how deep values nest (`objects.yamltext`).
    """
    if data.lstrip()[:1] == b"{":  # what kubectl applies on the server's side
        with suppress(ApiStatusError):
            return parse_json(data)
    from k8slab.objects import yamltext  # noqa: PLC0415  rarely needed

    try:
        text = data.decode("utf-8-sig")
        document = next(yamltext.read(text, "the body"), None)
        # A copy: values behind one anchor are one value, and objects are changed in place.
        return Body(orjson.loads(orjson.dumps(document.value if document else None)))
    except (UnicodeDecodeError, ManifestError, TypeError) as error:
        raise statuses.bad_request(f"error converting YAML to JSON: {error}") from error


def check_depth(value: Any, depth: int = 0) -> None:
    """Refuse values nested so deep that recursion would end."""
    if depth > DEPTH_LIMIT:
        raise statuses.bad_request(f"exceeded max depth: {DEPTH_LIMIT}")
    if isinstance(value, dict):
        for item in value.values():
            if isinstance(item, dict | list):
                check_depth(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list):
                check_depth(item, depth + 1)


def read_object(
    body: Body,
    kind: Kind | tuple[str, str, str],
    *,
    validation: str,
    complete: bool = True,
    refused: Refusal | None = None,
) -> tuple[Object, list[str]]:
    """Return the object of a body and the warnings that go with the answer.

    `kind` is the kind, or (group, version, kind) of a subresource's body. `validation` is the
    ``fieldValidation`` parameter. `complete` is not for what states only some fields (apply).
    `refused` makes the error of what does not fit the schema (`decode_object`).
    """
    group, version, word = _gvk(kind)
    obj = body.value
    if not isinstance(obj, dict):
        raise statuses.bad_request(
            "couldn't get version/kind; json parse error: json: cannot unmarshal "
            "into Go value of type struct: the body is no object"
        )
    api_version = f"{group}/{version}" if group else version
    _check_head(obj, api_version, word)
    return obj, decode_object(
        body, obj, kind, validation=validation, complete=complete, refused=refused
    )


def _gvk(kind: Kind | tuple[str, str, str]) -> tuple[str, str, str]:
    return kind if isinstance(kind, tuple) else (kind.group, kind.version, kind.kind)


def decode_object(
    body: Body,
    obj: Object,
    kind: Kind | tuple[str, str, str],
    *,
    validation: str,
    complete: bool = True,
    refused: Refusal | None = None,
) -> list[str]:
    """Clean `obj` by its schema; returns warnings, raises for Strict.

    `refused` makes the error from what is wrong; without it 400 says so as for a whole object.
    """
    group, version, word = _gvk(kind)
    custom = None if isinstance(kind, tuple) else kind.custom
    name = schema.root_name(group, version, word)
    if not (name or custom):
        return []
    try:
        unknown = (
            custom.decode(obj)
            if custom
            else schema.decode(obj, schema.type_of(name), complete=complete)
        )
    except schema.WrongTypeError as error:
        raise (refused(str(error)) if refused else _not_handled(word, version, error)) from error
    complaints = [*body.complaints, *(f'unknown field "{path}"' for path in unknown)]
    if not complaints or validation == "Ignore":
        return []
    if validation == "Strict":
        why = f"strict decoding error: {', '.join(complaints)}"
        raise refused(why) if refused else _not_handled(word, version, why)
    return complaints


def _not_handled(word: str, version: str, why: object) -> ApiStatusError:
    head = f'{word} in version "{version}" cannot be handled as a {word}'
    return statuses.bad_request(f"{head}: {why}")


def _check_head(obj: Object, api_version: str, word: str) -> None:
    sent_kind, sent_version = obj.get("kind"), obj.get("apiVersion")
    if sent_kind and sent_kind != word:
        raise statuses.bad_request(
            f"the kind in the data ({sent_kind}) does not match the expected kind ({word})"
        )
    if sent_version and sent_version != api_version:
        raise statuses.bad_request(
            f"the API version in the data ({sent_version}) does not match the expected "
            f"API version ({api_version})"
        )
    obj["kind"], obj["apiVersion"] = word, api_version
    if not isinstance(obj.get("metadata", {}), dict | type(None)):
        raise statuses.bad_request(
            f'{word} in version "{api_version.rpartition("/")[2]}" cannot be handled as a {word}: '
            "json: cannot unmarshal into Go struct field "
            f"{word}.metadata of type v1.ObjectMeta"
        )
