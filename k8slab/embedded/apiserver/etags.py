"""Answers that a client need not get twice: the documents that tell what is served.

Sources: RFC 9110, sections 8.8.3 and 13.1.2; apiserver ``endpoints/discovery/aggregated``
(etag.go).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.http import Response

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.http import Request


def tagged(request: Request, response: Response) -> Response:
    """Return an answer with its ETag, or 304 to a client that has this very answer."""
    tag = _tag(response.body)
    response.headers += [("ETag", tag), ("Vary", "Accept")]
    if request.headers.get("if-none-match") == tag:
        return Response(304, b"", response.content_type, response.headers)
    return response


@lru_cache(maxsize=16)
def _tag(body: bytes) -> str:
    """Return the ETag of a document; those of OpenAPI have megabytes and are asked for often."""
    return f'"{hashlib.sha512(body).hexdigest().upper()}"'
