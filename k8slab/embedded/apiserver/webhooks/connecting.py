"""CONNECT: exec, attach, port-forward and proxy, which webhooks may refuse like a write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.api import Writer

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.routes import Target
    from k8slab.objects.meta import Object

_FLAGS = ("stdin", "stdout", "stderr", "tty")


def check_connection(api: Api, request: Request, target: Target) -> None:
    """Raise what webhooks say against a connection, or that they have to be asked."""
    if not api.webhooks.are_there or target.subresource == "log":
        return
    known = target.kind.subresource(target.subresource)
    assert known is not None
    named = {"metadata": {"name": target.name, "namespace": target.namespace}}
    writer = Writer(user=request.user, ledger=request.ledger)
    review = api.webhooks.about(
        "CONNECT",
        target.kind,
        named,
        writer,
        subresource=target.subresource,
        body=("", "v1", known.kind),
    )
    if review:
        review.validated(review.mutated(_options(request, target, known.kind), None))


def _options(request: Request, target: Target, kind: str) -> Object:
    """Return the query of a connection as the object that it stands for (PodExecOptions, ...)."""
    made: Object = {"kind": kind, "apiVersion": "v1"}
    if target.subresource in ("exec", "attach"):
        made |= {flag: True for flag in _FLAGS if request.flag(flag)}
        made |= {"container": name} if (name := request.parameter("container")) else {}
        made |= {"command": argv} if (argv := request.query.get("command")) else {}
    elif target.subresource == "portforward":
        ports = ",".join(request.query.get("ports") or ()).split(",")
        made["ports"] = [int(port) for port in ports if port.isdecimal()]
    else:
        made["path"] = request.path.partition("/proxy")[2] or "/"
    return made
