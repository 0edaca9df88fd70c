"""Answers for people to read: indented, for whoever asks so and for curl and browsers.

Source: apiserver ``endpoints/handlers/negotiation`` and ``responsewriters`` (isPrettyPrint).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver.http import JSON

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k8slab.embedded.apiserver.http import Request, Response

READERS = ("curl", "Wget", "Mozilla/5.0")
"""How the programs name themselves in which people read what comes."""

LONGEST = 1 << 20
"""Bytes; what is longer nobody reads, and indenting it would hold everybody up."""


def is_wanted(request: Request) -> bool:
    """Say whether an answer is to be indented: by ``?pretty=``, or by who asks."""
    if said := request.parameter("pretty"):
        return said in ("1", "t", "T", "true", "TRUE", "True")
    return request.headers.get("user-agent", "").startswith(READERS)


def indented(response: Response) -> Response:
    """Return the answer with its JSON indented; streams and other texts as they are."""
    if response.content_type == JSON and 0 < len(response.body) <= LONGEST:
        response.body = orjson.dumps(orjson.loads(response.body), option=orjson.OPT_INDENT_2)
    return response


async def indented_later(answer: Awaitable[Response]) -> Response:
    """Return an answer indented that is still to come."""
    return indented(await answer)
