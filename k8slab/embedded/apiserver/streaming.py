"""Hand over what leaves plain request and answer: streams of pods, and the lab's group.

The streams' own modules take 35 ms to import and nobody needs them while a cluster starts:
they come with the first stream, or before it, when somebody imports `HANDLERS`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.http import Response
from k8slab.embedded.apiserver.lab import LabGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.backends import LabBackend, PodBackend
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.routes import Target
    from k8slab.objects.meta import Object

STREAMS = frozenset({"exec", "attach", "portforward", "log"})
HANDLERS = "k8slab.embedded.apiserver.streams.handlers"
PROXYING = "k8slab.embedded.apiserver.streams.proxying"


class Streaming:
    """The door to `streams` and to the lab's API group."""

    def __init__(self, pods: PodBackend, lab: LabBackend) -> None:
        self._pods = pods
        self._lab = LabGroup(lab)

    def serves(self, target: Target) -> bool:
        """Say whether a target is a stream."""
        return target.kind.resource == "pods" and target.subresource in STREAMS

    async def answer(self, request: Request, pod: Object, target: Target) -> Response:
        """Serve one stream; after a take-over the answer says so."""
        if target.subresource == "log":
            return await self._log(request, pod)
        handler = getattr(_handlers(), f"handle_{target.subresource}")
        await handler(request, pod, self._pods)
        return Response()  # not written: the handler has taken the connection over

    async def proxy(self, request: Request, target: Target, api: Api) -> Response:
        """Pass a request on to a pod, or to one of a Service's."""
        answer: Response = await importlib.import_module(PROXYING).proxy(
            request, target, api, self._pods
        )
        return answer

    async def _log(self, request: Request, pod: Object) -> Response:
        container, options = _handlers().log_request(request, pod)
        pieces = await self._pods.logs(pod, container, options)
        return Response(content_type="text/plain", pieces=pieces)

    def lab(self, request: Request) -> Response | Awaitable[Response]:
        """Serve the API group ``lab.k8slab.dev``."""
        return self._lab.answer(request)


def _handlers() -> Any:
    return importlib.import_module(HANDLERS)
