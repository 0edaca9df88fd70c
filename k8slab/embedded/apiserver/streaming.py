"""Hand over what leaves plain request and answer: exec, attach, port-forward, log; the lab group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.http import Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from k8slab.embedded.apiserver.backends import LabBackend, PodBackend
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.routes import Target
    from k8slab.objects.meta import Object

STREAMS = frozenset({"exec", "attach", "portforward", "log"})


class Streaming:
    """The door to `streams` and to the lab's API group."""

    def __init__(self, pods: PodBackend, lab: LabBackend) -> None:
        self._pods = pods
        self._lab = lab

    def serves(self, target: Target) -> bool:
        """Say whether a target is a stream."""
        return target.kind.resource == "pods" and target.subresource in STREAMS

    async def answer(self, request: Request, pod: Object, target: Target) -> Response:
        """Serve one stream; after a take-over the answer says so."""
        from k8slab.embedded.apiserver.streams import handlers

        if target.subresource == "log":
            return await self._log(request, pod)
        handler = {
            "exec": handlers.handle_exec,
            "attach": handlers.handle_attach,
            "portforward": handlers.handle_portforward,
        }[target.subresource]
        upgrade = handlers.UpgradeRequest(request.headers, request.query, request.take_over)
        await handler(upgrade, pod, self._pods)
        # Written only if the handler came back without taking the connection over.
        raise statuses.bad_request("Upgrade request required")

    async def _log(self, request: Request, pod: Object) -> Response:
        from k8slab.embedded.apiserver.streams import handlers

        container, options = handlers.log_request(request.query, pod)
        pieces = self._pods.logs(pod, container, options)
        # The first piece decides between an error and an answer.
        first = await anext(pieces, b"")
        return Response(content_type="text/plain", pieces=_again(first, pieces))

    def lab(self, request: Request) -> Response | Awaitable[Response]:
        """Serve the API group ``lab.k8slab.dev``."""
        raise statuses.not_found("lab.k8slab.dev", request.path)


async def _again(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
