"""What the query of a list, watch or delete says: numbers, versions, pages, delete options.

Source: the conversions of url.Values in apimachinery, ``metainternalversion/validation``
(ValidateListOptions) and ``metav1/validation`` (ValidateDeleteOptions).
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver import bodies, statuses
from k8slab.embedded.apiserver.options import dry_run_errors
from k8slab.embedded.apiserver.scalars import INT64
from k8slab.embedded.apiserver.watching import WatchOptions
from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.statuses import FieldError
    from k8slab.objects.meta import Object

PROPAGATION = ("Foreground", "Background", "Orphan")
MATCHES = ("Exact", "NotOlderThan", "")
LONGEST_WATCH = 1e9
"""Seconds, some thirty years: what is more ends no sooner."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}\Z")
_VERSION = re.compile(r"[0-9]{1,18}\Z")


def integer(text: str) -> int:
    """Return a whole number of 64 bits; 400 with the words of ``strconv.ParseInt``."""
    why = "invalid syntax"
    if _INTEGER.match(text):
        number = int(text)
        if -INT64 <= number < INT64:
            return number
        why = "value out of range"
    raise statuses.bad_request(f'strconv.ParseInt: parsing "{text}": {why}')


def number(request: Request, name: str) -> int:
    """Return a parameter that is a whole number, 0 when it is not given."""
    text = request.parameter(name)
    return integer(text) if text else 0


def revision(request: Request) -> int | None:
    """Return the parameter ``resourceVersion``, ``None`` when it is not given."""
    text = request.parameter("resourceVersion")
    if not text:
        return None
    if not _VERSION.match(text):
        why = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise statuses.bad_request(f"resourceVersion: {why}")
    return int(text)


# --- lists


def continue_token(at: int, after: str) -> str:
    """Return the token of the page after the object at this place, of a list at a revision."""
    token = {"v": "meta.k8s.io/v1", "rv": at, "start": after}
    return base64.urlsafe_b64encode(orjson.dumps(token)).rstrip(b"=").decode()


def position(request: Request, current: int) -> tuple[int, str]:
    """Return at which revision to list, and after which object."""
    _check_list(request)
    if text := request.parameter("continue"):
        if revision(request):
            why = "specifying resource version is not allowed when using continue"
            raise statuses.bad_request(why)
        return _continued(text)
    version = reached(request, current)
    if request.parameter("resourceVersionMatch") == "Exact":
        return version, ""
    return current, ""


def page_size(request: Request) -> int:
    """Return how many objects a page may have, 0 for all.

    Whoever takes any version (``0``) is answered from memory on a real server: as a whole.
    """
    if request.parameter("resourceVersion") == "0" and not request.parameter("continue"):
        return 0
    return max(number(request, "limit"), 0)


def reached(request: Request, current: int) -> int:
    """Return the version that a read asks for, 0 for any; 504 for one that is still to come."""
    version = revision(request) or 0
    if version > current:
        raise ApiStatusError(
            f"Too large resource version: {version}, current: {current}",
            code=504,
            reason="Timeout",
            details={
                "causes": [
                    {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
                ],
                "retryAfterSeconds": 1,
            },
        )
    return version


def _continued(text: str) -> tuple[int, str]:
    why = "it was not made by this server"
    try:
        token = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        at, start = token["rv"], token["start"]
        if isinstance(at, int) and 0 < at < INT64 and isinstance(start, str):
            return at, start
    except (ValueError, KeyError, TypeError) as error:
        why = str(error)
    raise statuses.bad_request(f"continue key is not valid: {why}")


def _check_list(request: Request) -> None:
    match, version = request.parameter("resourceVersionMatch"), request.parameter("resourceVersion")
    path, errors = "resourceVersionMatch", []
    if match and not version:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        errors.append(statuses.forbidden(path, why))
    if match and request.parameter("continue"):
        why = "resourceVersionMatch is forbidden when continue is provided"
        errors.append(statuses.forbidden(path, why))
    if match not in MATCHES:
        errors.append(statuses.not_supported(path, match, MATCHES))
    if match == "Exact" and version == "0":
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        errors.append(statuses.forbidden(path, why))
    if request.parameter("sendInitialEvents"):
        why = "sendInitialEvents is forbidden for list"
        errors.append(statuses.forbidden("sendInitialEvents", why))
    _refuse(errors)


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise statuses.invalid_object("ListOptions", "meta.k8s.io", "", errors)


# --- watches


def watch_options(request: Request) -> WatchOptions:
    """Return what a watch request asks for."""
    initial, match = (request.parameter(f) for f in ("sendInitialEvents", "resourceVersionMatch"))
    path, errors = "resourceVersionMatch", []
    if initial and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        errors.append(statuses.forbidden(path, why))
    if match and not initial:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        errors.append(statuses.forbidden(path, why))
    _refuse(errors)
    return WatchOptions(
        revision(request),
        request.flag("sendInitialEvents") if initial else None,
        bookmarks=request.flag("allowWatchBookmarks"),
        timeout=min(max(number(request, "timeoutSeconds"), 0), LONGEST_WATCH),
    )


# --- deletes


def delete_options(request: Request) -> Object:
    """Return the ``DeleteOptions`` of a request: of its body, or else of its query.

    Source: endpoints ``handlers/delete.go``: where there is a body, the query says nothing.
    """
    if request.body or request.too_large:
        body = bodies.parse(request, bodies.content_type(request))
        gvk = ("", "v1", "DeleteOptions")
        if isinstance(body.value, dict) and body.value.get("kind") in (None, "", "DeleteOptions"):
            # kubectl and others send it under the group of what they delete.
            body.value["apiVersion"] = "v1"
        options = bodies.read_object(body, gvk, validation="Ignore")[0]
    else:
        options = _options_of_query(request)
    _check_delete(options)
    if options.get("gracePeriodSeconds", 0) < 0:
        options["gracePeriodSeconds"] = 1
    return options


def _options_of_query(request: Request) -> Object:
    """Return what a query says of a deletion, which counts where there is no body."""
    options: Object = {}
    if text := request.parameter("gracePeriodSeconds"):
        options["gracePeriodSeconds"] = integer(text)
    if text := request.parameter("propagationPolicy"):
        options["propagationPolicy"] = text
    if "orphanDependents" in request.query:
        options["orphanDependents"] = request.flag("orphanDependents")
    if request.query.get("dryRun"):
        options["dryRun"] = request.query["dryRun"]
    return options


def _check_delete(options: Object) -> None:
    errors = dry_run_errors(options.get("dryRun") or [])
    policy = options.get("propagationPolicy")
    if policy and "orphanDependents" in options:
        why = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(statuses.invalid("propagationPolicy", policy, why))
    if policy not in (None, *PROPAGATION):
        allowed = (*PROPAGATION, "nil")
        errors.append(statuses.not_supported("propagationPolicy", policy, allowed))
    if errors:
        raise statuses.invalid_object("DeleteOptions", "meta.k8s.io", "", errors)
