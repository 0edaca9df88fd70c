"""What every answer must be, whatever was asked.

Never a 5xx, and an error is a ``Status`` that says what is wrong; a 422 names fields. What a real
server answers outside of this is listed here, with its place:

- An answer to what is not HTTP (400, 431) is plain text: net/http writes it, not the API.
- 500 for exec into a container that does not run (kubelet), and for scale of a custom object
  without replicas (apiextensions).
- 503 for the proxy of a Service without endpoints, or of a pod that does not answer.
- 504 with the cause ``ResourceVersionTooLarge`` for a version of the future (KEP-2340).
- 505 for a watch or a log over HTTP/1.0 is ours: see ``book/differences.md``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.malformed.wire import Answer

REASONS = {
    400: {"BadRequest"},
    401: {"Unauthorized"},
    403: {"Forbidden"},
    404: {"NotFound"},
    405: {"MethodNotAllowed"},
    406: {"NotAcceptable"},
    409: {"Conflict", "AlreadyExists"},
    410: {"Expired", "Gone"},
    413: {"RequestEntityTooLarge"},
    415: {"UnsupportedMediaType"},
    422: {"Invalid"},
}

_EXPECTED_503 = ("no endpoints available for service", "error trying to reach service")
_EXPECTED_500 = (
    "container not found",
    "cannot exec in a stopped container",
    "the spec replicas field",
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def complaint(answer: Answer | None, method: str = "GET") -> str:
    """Return what is wrong with an answer of the API; empty when nothing is."""
    if answer is None:
        return "closed without an answer"
    for name, value in answer.headers.items():
        if _CONTROL.search(name + value) or name.startswith("x-injected"):
            return f"the header {name!r}: {value[:80]!r} was not ours to send"
    if answer.status < 400 or (method == "HEAD" and answer.status < 500):
        return ""
    if answer.status in (400, 431) and answer.headers.get("content-type", "").startswith(
        "text/plain"
    ):
        return "" if answer.body else "an error without a word"
    status = _status_of(answer)
    if status is None:
        return f"{answer.status} without a Status: {answer.body[:200]!r}"
    if answer.status >= 500:
        return _server_error(answer.status, status)
    return _client_error(answer.status, status)


def _status_of(answer: Answer) -> dict[str, Any] | None:
    try:
        status = json.loads(answer.body)
    except ValueError:
        return None
    right = isinstance(status, dict) and status.get("kind") == "Status"
    return status if right and status.get("code") == answer.status else None


def _server_error(code: int, status: dict[str, Any]) -> str:
    message = str(status.get("message"))
    if code == 503 and message.startswith(_EXPECTED_503):
        return ""
    if code == 500 and any(words in message for words in _EXPECTED_500):
        return ""
    causes = (status.get("details") or {}).get("causes") or [{}]
    if code == 504 and causes[0].get("reason") == "ResourceVersionTooLarge":
        return ""
    return f"{code}: {message}"


def _client_error(code: int, status: dict[str, Any]) -> str:
    if not status.get("message") or status.get("reason") not in REASONS.get(code, ()):
        return f"{code} with reason {status.get('reason')!r}, message {status.get('message')!r}"
    causes = (status.get("details") or {}).get("causes") or []
    if code == 422 and not (causes and all(cause.get("field") for cause in causes)):
        named = "server rejected our request due to an error" in status["message"]
        return "" if named else f"422 names no field: {status}"
    return ""


def shown(raw: bytes) -> str:
    """Return a request as a failing test prints it."""
    text = repr(raw)
    return text if len(text) < 3000 else f"{text[:2000]} ... {text[-500:]} ({len(raw)} bytes)"
