"""Answers in YAML, for whoever asks so: ``Accept: application/yaml``.

What is made is always JSON; its YAML is made from it, beside the event loop. There is no YAML of a
watch, as with a real server: its serializer cannot stream.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver.http import JSON, Response
from k8slab.embedded.apiserver.views import JSON_MEDIA, YAML_MEDIA, accepted

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k8slab.embedded.apiserver.http import Request


def is_wanted(request: Request) -> bool:
    """Say whether a client prefers YAML, where the API has it: not of its own documents."""
    if "yaml" not in request.headers.get("accept", "").lower():
        return False
    if not request.path.startswith("/api"):
        return False
    media = (media for media, _ in accepted(request))
    return next((one in YAML_MEDIA for one in media if one in JSON_MEDIA + YAML_MEDIA), False)


async def translated(answer: Response | Awaitable[Response]) -> Response:
    """Return an answer whose JSON has become YAML; streams and other texts as they are."""
    response = answer if isinstance(answer, Response) else await answer
    media, _, parameters = response.content_type.partition(";")
    if media == JSON and response.body:
        from k8slab.objects import yamlwriting  # noqa: PLC0415  rarely needed

        response.body = await asyncio.to_thread(yamlwriting.dump, orjson.loads(response.body))
        response.content_type = ";".join(filter(None, ("application/yaml", parameters)))
    return response
