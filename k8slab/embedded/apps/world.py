"""The world outside the cluster, in one process: the internet and the corporate network.

It is given the network namespaces (``K8SLAB_FD_INTERNET``, ``K8SLAB_FD_CORP``) and makes its
sockets in them; a socket stays in the namespace where it was made. The router's resolver, the
nodes' upstream, is in ``K8SLAB_FD_ROUTER``, or in the namespace that the process itself is in.
Every server says which source address it saw: behind NAT that is the node's, not the pod's.

    web        HTTP on 80, HTTPS on 443 (with ``--cert`` and ``--key``)
    dns        UDP and TCP on 53
    database   a banner and one line for each line, on 5432
"""

from __future__ import annotations

import json
import socket
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.apps import logs
from k8slab.embedded.apps.conversations import Frames, Lines, serve_tcp
from k8slab.embedded.apps.datagrams import serve_udp
from k8slab.embedded.apps.http import HttpServer
from k8slab.embedded.apps.leaving import leave_when_told
from k8slab.embedded.apps.loop import Loop
from k8slab.embedded.apps.messages import Request, Response, text
from k8slab.embedded.apps.options import parse
from k8slab.embedded.apps.sockets import Address, listen, written
from k8slab.embedded.apps.web import server_context
from k8slab.embedded.apps.world_names import NameServer
from k8slab.embedded.config import WORLD_HOSTS, world_hosts
from k8slab.embedded.linux import in_netns
from k8slab.errors import K8slabError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from k8slab.embedded.config import WorldHost

STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


def main(argv: list[str], environment: dict[str, str]) -> int:
    """Serve until SIGTERM; return 0 then, 1 or 2 when it could not start.

    ``--cert FILE --key FILE`` for HTTPS, ``--resolver ADDRESS`` for each address of the router
    that answers DNS, ``--ip-version 4`` or ``6`` for each version spoken (by default 4).
    """
    leave_when_told()
    try:
        known = dict.fromkeys(("cert", "key", "resolver", "ip-version"), True)
        values, _ = parse(argv, known, program="world")
        certificate = (values.get("cert", [""])[-1], values.get("key", [""])[-1])
        hosts = world_hosts({int(version) for version in values.get("ip-version", ["4"])})
        context = server_context(*certificate) if all(certificate) else None
        world = World(environment, hosts, context)
        world.open(values.get("resolver", []))
        return world.loop.run()
    except K8slabError as error:
        logs.complain(str(error))
        return error.exit_code
    except OSError as error:
        logs.complain(str(error))
        return 1
    except SystemExit:
        return 0


class World:
    """All servers of the table in `config`, on one loop."""

    def __init__(
        self,
        environment: Mapping[str, str],
        hosts: list[WorldHost],
        context: ssl.SSLContext | None,
    ) -> None:
        self.loop = Loop()
        self.hosts = hosts
        self.context = context
        self._namespaces = {
            network: int(number)
            for network in ("internet", "corp", "router")
            if (number := environment.get(f"K8SLAB_FD_{network.upper()}"))
        }
        self._http = HttpServer(self.loop, site_page, logs.log_line)
        self._names = {network: NameServer(network, hosts) for network in ("internet", "corp")}

    def open(self, resolvers: list[str]) -> None:
        """Make all sockets; `resolvers` are the router's own addresses."""
        for host in self.hosts:
            if host.network in self._names:
                with self._inside(host.network):
                    self._serve(host)
        with self._inside("router"):
            for address in resolvers:
                self._serve_dns(address, self._names["internet"])
        logs.say(f"the world outside: {len(self.hosts)} hosts, resolvers {' '.join(resolvers)}")

    def _inside(self, network: str) -> AbstractContextManager[None]:
        number = self._namespaces.get(network)
        return nullcontext() if number is None else in_netns(number)

    def _serve(self, host: WorldHost) -> None:
        if host.role == "web":
            self._http.serve(listen(80, kind=STREAM, host=host.address))
            if self.context is not None:
                self._http.serve(listen(443, kind=STREAM, host=host.address), self.context)
        elif host.role == "dns":
            self._serve_dns(host.address, self._names[host.network])
        elif host.role == "database":
            serve_tcp(
                self.loop,
                listen(5432, kind=STREAM, host=host.address),
                partial(_database, host=host),
            )

    def _serve_dns(self, address: str, names: NameServer) -> None:
        serve_udp(
            self.loop,
            listen(53, kind=DATAGRAM, host=address),
            lambda data, _client: names.answer_bytes(data, udp=True),
        )
        answer = partial(names.answer_bytes, udp=False)
        serve_tcp(self.loop, listen(53, kind=STREAM, host=address), lambda _client: Frames(answer))


_SITES = {host.address: host for host in WORLD_HOSTS if host.role == "web"}


def site_page(request: Request) -> Response:
    """Answer as the web server with the address that was connected to."""
    host = _SITES.get(request.server[0])
    facts = {
        "site": host.names[0] if host else request.server[0],
        "network": host.network if host else "",
        "you are": written(request.client),
        "request": f"{request.method} {request.scheme}://{request.header('host')}{request.target}",
    }
    if "application/json" in request.header("accept"):
        facts["you are"] = request.client[0]
        body = json.dumps({name.replace(" ", "_"): value for name, value in facts.items()})
        return Response(body=body.encode() + b"\n", content_type="application/json")
    return text("".join(f"{name}: {value}\n" for name, value in facts.items()))


def _database(client: Address, *, host: WorldHost) -> Lines:
    """Greet as an old database that trusts source addresses; any line is a query."""
    logs.say(f"{written(client)} {host.names[0]}:5432 connected")
    greeting = f"{host.names[0]} legacy database ready, you are: {written(client)}"
    return Lines(greeting, lambda line: f"OK 1 row: {line!r} asked by {client[0]}")
