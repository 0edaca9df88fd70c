"""What the project's own `web` app answers: who it is, whom it saw, and what was asked for.

A table of paths; a path that is not in it is answered like ``/``, so that an Ingress
with any prefix finds something. Answers are text for people, JSON with
``Accept: application/json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING

from k8slab.embedded.apps.messages import Request, Response, text
from k8slab.embedded.apps.sockets import written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from k8slab.embedded.apps.identity import Identity

Page = Callable[["WebPages", Request, str], Response]
"""Answers a request; the text is the rest of the path."""

MAX_BYTES = 1 << 30
"""The longest answer of ``/bytes/N``."""
MAX_DELAY = 3600.0
"""The longest answer of ``/delay/MS``, in seconds."""


class WebPages:
    """The handler of one `web` process; readiness and health are its only state."""

    def __init__(
        self, identity: Identity, environment: Mapping[str, str], hosts: Sequence[str] = ()
    ) -> None:
        """With `hosts` only requests for one of these names are answered, as by a virtual host."""
        self.hosts = hosts
        self.identity = identity
        self.environment = environment
        self.up = {"ready": True, "health": True}

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        host = request.header("host").partition(":")[0]
        if self.hosts and host not in self.hosts:
            return text(f"{host or 'no name'} is no site of this server", 404)
        first, _, rest = request.path.lstrip("/").partition("/")
        page = _PAGES.get(first)
        return page(self, request, rest) if page else self.home(request)

    def home(self, request: Request) -> Response:
        """Say who answers, to whom, and what was asked."""
        if "application/json" in request.header("accept"):
            return _json(self.describe(request))
        facts = [
            ("pod", self.identity.pod),
            ("namespace", self.identity.namespace),
            ("node", self.identity.node),
            ("ip", self.identity.address or request.server[0]),
            ("port", str(request.server[1])),
            ("you are", written(request.client)),
            ("request", f"{request.method} {request.target}"),
            ("host", request.header("host")),
        ]
        return text("".join(f"{name}: {value}\n" for name, value in facts if value))

    def describe(self, request: Request) -> dict[str, object]:
        """Return what `home` says, and the headers, as a JSON value."""
        return {
            "pod": self.identity.pod,
            "namespace": self.identity.namespace,
            "node": self.identity.node,
            "ip": self.identity.address or request.server[0],
            "port": request.server[1],
            "client": {"ip": request.client[0], "port": request.client[1]},
            "scheme": request.scheme,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": dict(request.headers),
        }


def _probe(what: str) -> Page:
    def page(web: WebPages, _request: Request, _rest: str) -> Response:
        return text("ok") if web.up[what] else text(f"{what} is switched off", 503)

    return page


def _switch(what: str) -> Page:
    def page(web: WebPages, _request: Request, rest: str) -> Response:
        if rest not in ("on", "off", ""):
            return text(f"use /{what}/on or /{what}/off", 404)
        if rest:
            web.up[what] = rest == "on"
        # Asked alone it is a probe; the answer to the switch itself is that it was done.
        code = 200 if rest or web.up[what] else 503
        return text(f"{what}: {'on' if web.up[what] else 'off'}", code)

    return page


def _headers(_web: WebPages, request: Request, _rest: str) -> Response:
    if "application/json" in request.header("accept"):
        return _json(dict(request.headers))
    return text("".join(f"{name}: {value}\n" for name, value in request.headers))


def _delay(web: WebPages, request: Request, rest: str) -> Response:
    if not rest.isdecimal() or int(rest) > MAX_DELAY * 1000:
        return text(f"use /delay/MILLISECONDS, at most {MAX_DELAY * 1000:.0f}", 400)
    return replace(web.home(request), delay=int(rest) / 1000)


def _env(web: WebPages, _request: Request, _rest: str) -> Response:
    return text("".join(f"{key}={web.environment[key]}\n" for key in sorted(web.environment)))


def _json(value: object) -> Response:
    return Response(
        body=json.dumps(value, indent=2).encode() + b"\n", content_type="application/json"
    )


def _echo(_web: WebPages, request: Request, _rest: str) -> Response:
    if "msg" in request.query:
        return text(request.query["msg"])
    kind = request.header("content-type", "text/plain; charset=utf-8")
    return Response(body=request.body, content_type=kind)


def _status(_web: WebPages, _request: Request, rest: str) -> Response:
    if not rest.isdecimal() or not 200 <= int(rest) <= 599:
        return text("use /status/CODE, 200 to 599", 400)
    # 204 and 304 have no body (RFC 9110, 15.3.5 and 15.4.5).
    return (
        Response(status=int(rest)) if rest in ("204", "304") else text(f"status {rest}", int(rest))
    )


def _exit(_web: WebPages, request: Request, rest: str) -> Response:
    code = rest or request.query.get("code", "0")
    if not code.isdecimal() or int(code) > 255:
        return text("use /exit/CODE, 0 to 255", 400)
    return Response(body=f"exit {code}\n".encode(), exit_code=int(code))


def _bytes(_web: WebPages, _request: Request, rest: str) -> Response:
    if not rest.isdecimal() or int(rest) > MAX_BYTES:
        return text(f"use /bytes/COUNT, at most {MAX_BYTES}", 400)
    count = int(rest)
    return Response(
        content_type="application/octet-stream", stream=_pieces(count), stream_length=count
    )


def _pieces(count: int) -> Iterator[bytes]:
    piece = b"k8slab.\n" * 8192
    yield from repeat(piece, count // len(piece))
    if left := count % len(piece):
        yield piece[:left]


_PAGES: dict[str, Page] = {
    "healthz": _probe("health"),
    "livez": _probe("health"),
    "readyz": _probe("ready"),
    "ready": _switch("ready"),
    "health": _switch("health"),
    "hostname": lambda web, _request, _rest: text(web.identity.pod),
    "clientip": lambda _web, request, _rest: text(written(request.client)),
    "headers": _headers,
    "header": lambda _web, request, _rest: text(request.header(request.query.get("key", ""))),
    "echo": _echo,
    "delay": _delay,
    "status": _status,
    "exit": _exit,
    "bytes": _bytes,
    "env": _env,
    "json": lambda web, request, _rest: _json(web.describe(request)),
}
"""By the first part of the path. One table for all pods: built before they are forked."""
