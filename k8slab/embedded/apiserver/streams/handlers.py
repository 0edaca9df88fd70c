"""The doors of exec, attach, port-forward and log, behind authorisation.

A handler gets the request and the pod. What is wrong with the request is raised
as `ApiStatusError` before the connection is taken over, so that it becomes an ordinary
answer; what goes wrong later is told inside the protocol. Messages are those of the API
server (``registry/core/pod/strategy.go``) and the kubelet.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import queries, scalars, statuses
from k8slab.embedded.apiserver.backends import LogOptions
from k8slab.embedded.apiserver.streams import portforward, websocket
from k8slab.embedded.apiserver.streams.hangup import peer_closed
from k8slab.embedded.apiserver.streams.remotecommand import (
    SpdyPeer,
    Streams,
    WebSocketPeer,
    converse,
)
from k8slab.embedded.apiserver.streams.session import RawCarrier, SpdySession, TunnelCarrier
from k8slab.objects.meta import name_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from k8slab.embedded.apiserver.backends import PodBackend, Process
    from k8slab.embedded.apiserver.http import Request
    from k8slab.objects.meta import Object

_PORT = re.compile(r"[0-9]{1,5}\Z")
_OPENING_SECONDS = 30.0
"""How long a client may take to open its SPDY streams (kubelet ``streamCreationTimeout``)."""


def _upgrade(request: Request) -> str:
    """Return the protocol that the client asks for instead of HTTP, in lower case."""
    return request.headers.get("upgrade", "").lower()


def container_names(pod: Object) -> list[str]:
    """Return the names of all containers, the ordinary ones first."""
    spec = pod["spec"]
    lists = ("containers", "initContainers", "ephemeralContainers")
    return [container["name"] for key in lists for container in spec.get(key) or []]


def choose_container(pod: Object, asked: str) -> str:
    """Return the container that is meant; raise as the API server does."""
    if asked:
        if asked not in container_names(pod):
            raise statuses.bad_request(f"container {asked} is not valid for pod {name_of(pod)}")
        return asked
    names = [container["name"] for container in pod["spec"]["containers"]]
    if len(names) == 1:
        return str(names[0])
    message = (
        f"a container name must be specified for pod {name_of(pod)}, "
        f"choose one of: [{' '.join(names)}]"
    )
    if init := pod["spec"].get("initContainers"):
        names = [container["name"] for container in init]
        message += f" or one of the init containers: [{' '.join(names)}]"
    raise statuses.bad_request(message)


def _check_running(pod: Object, container: str, *, ended: bool = False) -> None:
    """Refuse what the kubelet would refuse: there is no such container at work.

    With `ended` one that has run will do.
    """
    if not pod["spec"].get("nodeName"):
        raise statuses.bad_request(f"pod {name_of(pod)} does not have a host assigned")
    status = pod.get("status") or {}
    lists = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    for entry in (entry for key in lists for entry in status.get(key) or []):
        if entry["name"] == container and "running" in (entry.get("state") or {}):
            return
        if ended and entry["name"] == container and entry.get("containerID"):
            return
    if status.get("phase") in ("Succeeded", "Failed"):
        raise statuses.internal_error(
            f"error executing command in container: cannot exec in a stopped container: "
            f"pod {name_of(pod)} has ended ({status['phase']})"
        )
    raise statuses.internal_error(
        f'unable to upgrade connection: container not found ("{container}")'
    )


async def handle_exec(request: Request, pod: Object, pods: PodBackend) -> None:
    """Serve ``pods/NAME/exec``."""
    container = choose_container(pod, request.parameter("container"))
    argv = request.query.get("command") or []
    if not argv:
        raise statuses.bad_request("you must specify at least one command for the container")
    streams = _streams(request)
    _check_running(pod, container)
    await _run_command(
        request,
        streams,
        lambda: pods.exec(pod, container, argv, tty=streams.tty, stdin=streams.stdin),
        report_exit=True,
    )


async def handle_attach(request: Request, pod: Object, pods: PodBackend) -> None:
    """Serve ``pods/NAME/attach``."""
    container = choose_container(pod, request.parameter("container"))
    streams = _streams(request)
    _check_running(pod, container, ended=True)
    await _run_command(
        request,
        streams,
        lambda: pods.attach(pod, container, tty=streams.tty, stdin=streams.stdin),
        report_exit=False,
    )


def _streams(request: Request) -> Streams:
    tty = request.flag("tty")
    streams = Streams(
        stdin=request.flag("stdin"),
        stdout=request.flag("stdout"),
        stderr=request.flag("stderr") and not tty,
        tty=tty,
    )
    if not (streams.stdin or streams.stdout or streams.stderr):
        raise statuses.bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return streams


async def _run_command(
    request: Request,
    streams: Streams,
    start: Callable[[], Awaitable[Process]],
    *,
    report_exit: bool,
) -> None:
    if _upgrade(request) == "websocket":
        key, protocol = _websocket_offer(request, WebSocketPeer.PROTOCOLS)
        reader, writer = request.take_over()
        writer.write(websocket.handshake(key, protocol))
        peer = WebSocketPeer(websocket.WebSocket(reader, writer), protocol)
        with suppress(ConnectionError):
            await peer.start(streams)
            await converse(
                peer, start, partial(peer_closed, writer), streams=streams, report_exit=report_exit
            )
        writer.close()
        return
    protocol = _spdy_protocol(request, SpdyPeer.PROTOCOLS)
    reader, writer = request.take_over()
    writer.write(_spdy_handshake(protocol))
    session = SpdySession(RawCarrier(reader, writer))
    serving = asyncio.create_task(session.serve())
    try:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_OPENING_SECONDS):
                spdy_peer = await SpdyPeer.accept(session, streams)
            if spdy_peer is not None:
                await converse(
                    spdy_peer,
                    start,
                    partial(peer_closed, writer),
                    streams=streams,
                    report_exit=report_exit,
                )
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        writer.close()


async def handle_portforward(request: Request, pod: Object, pods: PodBackend) -> None:
    """Serve ``pods/NAME/portforward``."""
    if not pod["spec"].get("nodeName"):
        raise statuses.bad_request(f"pod {name_of(pod)} does not have a host assigned")
    forwarder = portforward.Forwarder(pods, pod)
    if _upgrade(request) != "websocket":
        _spdy_protocol(request, (portforward.PROTOCOL,))
        reader, writer = request.take_over()
        writer.write(_spdy_handshake(portforward.PROTOCOL))
        await _forward_spdy(SpdySession(RawCarrier(reader, writer)), forwarder)
        return
    offer = (portforward.TUNNEL_PROTOCOL, portforward.CHANNEL_PROTOCOL)
    key, protocol = _websocket_offer(request, offer)
    ports = _ports(request) if protocol == portforward.CHANNEL_PROTOCOL else []
    reader, writer = request.take_over()
    writer.write(websocket.handshake(key, protocol))
    socket = websocket.WebSocket(reader, writer)
    if protocol == portforward.TUNNEL_PROTOCOL:
        await _forward_spdy(SpdySession(TunnelCarrier(socket)), forwarder)
        return
    with suppress(ConnectionError):
        await portforward.serve_channels(socket, forwarder, ports)
    writer.close()


async def _forward_spdy(session: SpdySession, forwarder: portforward.Forwarder) -> None:
    try:
        await portforward.serve_spdy(session, forwarder)
    finally:
        await session.close()


def _ports(request: Request) -> list[int]:
    """Read ``ports=80,81`` or ``ports=80&ports=81``."""
    words = [word for text in request.query.get("ports") or [] for word in text.split(",")]
    if not words:
        raise statuses.bad_request('query parameter "ports" is required')
    ports = [int(word) if _PORT.match(word) else 0 for word in words]
    if not all(0 < port < 65536 for port in ports):
        raise statuses.bad_request(f'unable to parse "{",".join(words)}" as ports')
    return ports


def _websocket_offer(request: Request, supported: tuple[str, ...]) -> tuple[str, str]:
    """Return the key and the subprotocol to use."""
    offered = request.headers.get("sec-websocket-protocol", "")
    protocol = websocket.choose_subprotocol(offered, supported)
    key = request.headers.get("sec-websocket-key", "")
    if protocol is None or not key:
        raise statuses.bad_request(
            f"unable to upgrade: none of the WebSocket protocols [{offered}] is supported, "
            f"only {', '.join(supported)}"
        )
    return key, protocol


def _spdy_protocol(request: Request, supported: tuple[str, ...]) -> str:
    if _upgrade(request) != "spdy/3.1":
        raise statuses.bad_request(
            'Upgrade request required: send "Connection: Upgrade" with "Upgrade: websocket" '
            'or "Upgrade: SPDY/3.1"'
        )
    offered = request.headers.get("x-stream-protocol-version", "")
    protocol = websocket.choose_subprotocol(offered, supported)
    if protocol is None:
        raise statuses.forbidden_request(
            "pods", "", f"none of the stream protocols [{offered}] is supported"
        )
    return protocol


def _spdy_handshake(protocol: str) -> bytes:
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        f"X-Stream-Protocol-Version: {protocol}\r\n\r\n"
    ).encode()


def log_request(request: Request, pod: Object) -> tuple[str, LogOptions]:
    """Return container and options of ``pods/NAME/log``; raise what is wrong with them."""
    text = request.parameter
    errors: list[statuses.FieldError] = []

    def number(name: str, least: int) -> int | None:
        if not text(name):
            return None
        value = queries.integer(text(name))
        if value < least:
            errors.append(
                statuses.invalid(name, value, f"must be greater than or equal to {least}")
            )
        return value

    tail, limit = number("tailLines", 0), number("limitBytes", 1)
    seconds, since = number("sinceSeconds", 1), _since_time(text("sinceTime"))
    if seconds is not None and since is not None:
        errors.append(
            statuses.forbidden(
                "sinceSeconds", "at most one of `sinceTime` or `sinceSeconds` may be specified"
            )
        )
    if errors:
        raise statuses.invalid_object("PodLogOptions", "", name_of(pod), errors)
    options = LogOptions(
        follow=request.flag("follow"),
        previous=request.flag("previous"),
        since=max(time.time() - seconds, 0.0) if seconds is not None else since,
        tail=tail,
        limit=limit,
        timestamps=request.flag("timestamps"),
    )
    return choose_container(pod, text("container")), options


def _since_time(text: str) -> float | None:
    if not text:
        return None
    try:
        moment = scalars.time(text, "sinceTime")
    except scalars.ScalarError as error:
        raise statuses.bad_request(str(error)) from error
    return datetime.fromisoformat(moment).timestamp() if moment else None
