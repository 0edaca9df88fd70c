"""Build the errors of the API, with the reasons and messages of a real server.

Source: apimachinery ``api/errors`` (NewNotFound, NewConflict, ...) and ``field.Error``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

T = TypeVar("T")

MOST_ERRORS = 500
"""Of very many errors the first are told: a megabyte of wrong items would be answered by a hundred
megabytes. Whoever goes through items stops looking then (`each`), since nobody else is answered
meanwhile."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: `reason` is the cause's reason, `text` what follows the path."""

    path: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def each(items: Iterable[T] | None, errors: Sequence[FieldError]) -> Iterator[tuple[int, T]]:
    """Yield items with their places, until `errors` are more than anybody is told of."""
    for place, item in enumerate(items or ()):
        if len(errors) > MOST_ERRORS:
            return
        yield place, item


def shown(value: Any) -> str:
    """Write a value as Go's field errors do: quoted text, numbers bare, structures as JSON."""
    return orjson.dumps(value).decode()


def invalid(path: str, value: Any, why: str) -> FieldError:
    """Say that the value is not possible."""
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {shown(value)}: {why}")


def required(path: str, why: str = "") -> FieldError:
    """Say that the field must be there."""
    return FieldError(
        path, "FieldValueRequired", f"Required value: {why}" if why else "Required value"
    )


def duplicate(path: str, value: Any) -> FieldError:
    """Say that the value is there twice."""
    return FieldError(path, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def forbidden(path: str, why: str) -> FieldError:
    """Say that the field may not be set, or not be changed."""
    return FieldError(path, "FieldValueForbidden", f"Forbidden: {why}")


def not_supported(path: str, value: Any, supported: Sequence[str]) -> FieldError:
    """Say that the value is none of a closed set, in whose order the words are told."""
    known = ", ".join(shown(word) for word in supported)
    return FieldError(
        path,
        "FieldValueNotSupported",
        f"Unsupported value: {shown(value)}: supported values: {known}",
    )


def missing(path: str, value: Any) -> FieldError:
    """Say that the field refers to something that is not there."""
    return FieldError(path, "FieldValueNotFound", f"Not found: {shown(value)}")


def too_long(path: str, limit: int) -> FieldError:
    """Say that the value is longer than `limit` bytes."""
    return FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(path: str, count: int, limit: int) -> FieldError:
    """Say that a list has more than `limit` items."""
    text = f"Too many: {count}: must have at most {limit} items"
    return FieldError(path, "FieldValueTooMany", text)


def _qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(resource: str, name: str) -> ApiStatusError:
    """Return 404: no object has this name; `resource` is ``plural`` or ``plural.group``."""
    return ApiStatusError(
        f'{resource} "{name}" not found',
        code=404,
        reason="NotFound",
        details=_details(resource, name),
    )


def already_exists(resource: str, name: str) -> ApiStatusError:
    """Return 409: an object of this name is there already."""
    return ApiStatusError(
        f'{resource} "{name}" already exists',
        code=409,
        reason="AlreadyExists",
        details=_details(resource, name),
    )


def conflict(resource: str, name: str, why: str = "") -> ApiStatusError:
    """Return 409: the caller's resourceVersion, or precondition, does not hold."""
    why = why or (
        "the object has been modified; "
        "please apply your changes to the latest version and try again"
    )
    return ApiStatusError(
        f'Operation cannot be fulfilled on {resource} "{name}": {why}',
        code=409,
        reason="Conflict",
        details=_details(resource, name),
    )


def forbidden_request(resource: str, name: str, why: str) -> ApiStatusError:
    """Return 403: the request is understood and refused."""
    what = f'{resource} "{name}"' if name else resource
    return ApiStatusError(
        f"{what} is forbidden: {why}",
        code=403,
        reason="Forbidden",
        details=_details(resource, name),
    )


def invalid_object(
    kind: str, group: str, name: str, errors: Sequence[FieldError]
) -> ApiStatusError:
    """Return 422: the object breaks rules; several errors, `MOST_ERRORS` at most, in brackets."""
    more, errors = errors[MOST_ERRORS:], errors[:MOST_ERRORS]
    texts = list(dict.fromkeys(str(error) for error in errors))
    if more:
        texts.append("and more errors")
    listed = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    causes = [
        {"reason": error.reason, "message": error.text, "field": error.path} for error in errors
    ]
    told = {"name": name, "group": group, "kind": kind, "causes": causes}
    details = {field: value for field, value in told.items() if value}
    return ApiStatusError(
        f'{_qualified(kind, group)} "{name}" is invalid: {listed}',
        code=422,
        reason="Invalid",
        details=details,
    )


def bad_request(why: str) -> ApiStatusError:
    """Return 400: the request cannot be read."""
    return ApiStatusError(why, code=400, reason="BadRequest")


def expired(why: str) -> ApiStatusError:
    """Return 410: a resourceVersion or continue token is older than what is kept."""
    return ApiStatusError(why, code=410, reason="Expired")


def method_not_supported(resource: str, verb: str) -> ApiStatusError:
    """Return 405: the resource has no such verb."""
    return ApiStatusError(
        f"{verb} is not supported on resources of kind {resource!r}".replace("'", '"'),
        code=405,
        reason="MethodNotAllowed",
        details=_details(resource, ""),
    )


def internal_error(why: str) -> ApiStatusError:
    """Return 500: the server itself failed."""
    return ApiStatusError(
        f"Internal error occurred: {why}",
        code=500,
        reason="InternalError",
        details={"causes": [{"message": why}]},
    )


def _details(resource: str, name: str) -> dict:
    plural, _, group = resource.partition(".")
    details = {"name": name} if name else {}
    if group:
        details["group"] = group
    details["kind"] = plural
    return details


def status_object(error: ApiStatusError) -> dict:
    """Return the ``metav1.Status`` that tells this error to a client."""
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
    }
    if error.details:
        status["details"] = error.details
    status["code"] = error.code
    return status
