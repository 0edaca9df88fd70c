"""The app that runs for ``k8slab/app``, and in place of the usual test images.

`settings` says whose options and answers are meant. The process is PID 1 of its
container, so that it handles SIGTERM itself: who is connected is answered, and it ends. Each
request is one line on stdout.
"""

from __future__ import annotations

import signal
import socket
import ssl
from typing import TYPE_CHECKING

from k8slab.embedded.apps.conversations import Lines, serve_tcp
from k8slab.embedded.apps.datagrams import Answer, describe, serve_udp
from k8slab.embedded.apps.http import HttpServer
from k8slab.embedded.apps.identity import Identity
from k8slab.embedded.apps.leaving import leave_when_told
from k8slab.embedded.apps.logs import complain, say
from k8slab.embedded.apps.loop import Loop
from k8slab.embedded.apps.settings import Settings, read_settings
from k8slab.embedded.apps.sockets import Address, listen, written
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def main(argv: list[str], environment: dict[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; return 0 then, 1 or 2 when it could not start."""
    leave_when_told()
    try:
        settings = read_settings(argv, environment)
        if settings is None:
            say("pausing until SIGTERM")
            while True:
                signal.pause()
        return run(settings, environment)
    except UsageError as error:
        complain(str(error))
        return 2
    except (OSError, ssl.SSLError) as error:
        complain(str(error))
        return 1
    except SystemExit:
        return 0


def run(settings: Settings, environment: Mapping[str, str]) -> int:
    """Open the sockets and serve; return the exit code that a request asked for."""
    loop = Loop()
    server = HttpServer(loop, settings.handler, settings.log)
    for port in settings.http_ports:
        server.serve(listen(port, kind=socket.SOCK_STREAM))
    if settings.tls_ports:
        context = server_context(*settings.certificate)
        for port in settings.tls_ports:
            server.serve(listen(port, kind=socket.SOCK_STREAM), context)
    pod = Identity.of(environment).pod
    for port in settings.udp_ports:
        serve_udp(loop, listen(port, kind=socket.SOCK_DGRAM), _udp_answer(port, pod))
    for port in settings.tcp_ports:
        listener = listen(port, kind=socket.SOCK_STREAM)
        serve_tcp(loop, listener, _tcp_conversation(port, pod))
    leave_when_told(loop.leave)
    say(_summary(settings))
    try:
        return loop.run()
    except SystemExit:
        return server.finish()


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return a TLS server context from two PEM files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _udp_answer(port: int, pod: str) -> Answer:
    def answer(data: bytes, client: Address) -> bytes:
        say(f"{written(client)} udp/{port} {len(data)} bytes")
        return describe(data, client, pod=pod)

    return answer


def _tcp_conversation(port: int, pod: str) -> Callable[[Address], Lines]:
    def start(client: Address) -> Lines:
        say(f"{written(client)} tcp/{port} connected")
        greeting = f"pod: {pod} you are: {written(client)}"
        return Lines(greeting, lambda line: f"tcp/{port} got: {line}")

    return start


def _summary(settings: Settings) -> str:
    groups = {
        "http": settings.http_ports,
        "https": settings.tls_ports,
        "udp": settings.udp_ports,
        "tcp": settings.tcp_ports,
    }
    return "listening on " + ", ".join(
        f"{name} {' '.join(map(str, ports))}" for name, ports in groups.items() if ports
    )
