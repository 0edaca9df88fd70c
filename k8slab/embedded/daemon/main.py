"""Put the rooms together, say how the start goes, serve until told to stop.

    keys, store  ->  network, runtime, world  ->  controllers, API  ->  names  ->  ready

What does not depend on each other runs side by side. The start is over when every node is
Ready and the cluster's DNS address has answered a question from a node. The end is short:
the API stops answering and the store is closed; everything else (pods, namespaces,
rules) goes with PID 1, which ends when this process does.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import resource
import signal
import socket
import sqlite3
import sys
import time
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from typing import TYPE_CHECKING

from k8slab.embedded import credentials, linux
from k8slab.embedded.apiserver import pki
from k8slab.embedded.apiserver.api import Api
from k8slab.embedded.apiserver.server import Server, serve
from k8slab.embedded.apiserver.store import Store
from k8slab.embedded.apiserver.streaming import HANDLERS
from k8slab.embedded.config import CLUSTER_DOMAIN, INSIDE
from k8slab.embedded.controllers import bootstrap
from k8slab.embedded.controllers.start import Controllers, start
from k8slab.embedded.daemon import collecting
from k8slab.embedded.daemon.lab import Lab
from k8slab.embedded.daemon.names import Lookup, ResolvConf
from k8slab.embedded.daemon.pods import RuntimePods
from k8slab.embedded.network.network import Network
from k8slab.embedded.runtime.images import WORLD
from k8slab.embedded.runtime.rootfs import NODES
from k8slab.embedded.runtime.runtime import Runtime
from k8slab.errors import ClusterError, K8slabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k8slab.embedded.config import ClusterConfig
    from k8slab.embedded.runtime.containers import Container

log = logging.getLogger(__name__)

DNS_SECONDS = 10.0
"""How long cluster DNS may take to answer before the start goes on without it."""
DNS_ATTEMPT_SECONDS = 0.25
WORLD_PAUSE = 1.0
"""Seconds after its end until the world outside is started again."""
API_PORT = 6443


def run(daemon: Daemon, api_sockets: list[socket.socket], stop: int) -> int:
    """Run the daemon until `stop` is closed or SIGTERM comes; return the exit code."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)  # it tells each open and close
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = asyncio.new_event_loop()
    # The loop is not closed afterwards: what still runs on it ends with the process. The store
    # is closed when the loop stands still, so that nothing on it finds it closed.
    code = loop.run_until_complete(daemon.run(api_sockets, stop))
    if daemon.store:
        daemon.store.close()
    return code


def _open_store(path: Path) -> Store:
    try:
        return Store(path)
    except (sqlite3.DatabaseError, ValueError) as error:  # the file; what is in it
        raise ClusterError(
            f"the cluster's objects cannot be read: {path.name}: {error}",
            hint="If the disk is full, make room. Otherwise `k8slab reset` makes a new cluster.",
        ) from error


class Progress:
    """JSON lines about the start."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._began = time.monotonic()

    def tell(self, **line: object) -> None:
        """Write one line; fine when nobody reads any more."""
        with suppress(BrokenPipeError):
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Tell how long the body took."""
        began = time.monotonic()
        yield
        self.tell(step=name, done=True, seconds=round(time.monotonic() - began, 4))

    def ready(self, **more: object) -> None:
        """Say that the cluster is ready, and close."""
        self.tell(ready=True, seconds=round(time.monotonic() - self._began, 4), **more)
        os.close(self._descriptor)


class Daemon:
    """The rooms of one running cluster."""

    def __init__(
        self,
        config: ClusterConfig,
        zygote: socket.socket,
        progress: Progress,
        *,
        inside: Path = INSIDE,
        keys_maker: int = 0,
    ) -> None:
        self.config = config
        self.progress = progress
        self.inside = inside
        self._keys_maker = keys_maker
        self.network = Network(config, node_files=NODES)
        self.runtime = Runtime(zygote, inside)
        self.server: Server | None = None
        self.store: Store | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def run(self, api_sockets: list[socket.socket], stop: int) -> int:
        """Start, wait for the end, stop."""
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        loop.add_reader(stop, ending.set)
        starting = asyncio.create_task(self.start(api_sockets))
        waiting = asyncio.create_task(ending.wait())
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and (error := starting.exception()):
            log.error("the cluster did not start", exc_info=error)
            self.progress.tell(error=str(error) if isinstance(error, K8slabError) else repr(error))
            return 1
        await waiting
        loop.remove_reader(stop)
        starting.cancel()
        if self.server:
            await self.server.close()
        return 0

    async def start(self, api_sockets: list[socket.socket]) -> None:
        """Bring everything up and say that it is ready."""
        step = self.progress.step
        # Signing is needed with the first pod; meanwhile the kernel has much to do.
        signing = asyncio.create_task(asyncio.to_thread(importlib.import_module, pki.SIGNING))
        keys = self.inside / "pki"
        await asyncio.to_thread(self._ensure_keys, keys)
        self._write_kubeconfig(keys)
        with step("store"):
            self.store = _open_store(self.inside / "store.sqlite")
            api = Api(self.store, self.config)
        with step("network"):
            await asyncio.gather(self.network.start(), self.runtime.start())
        world = asyncio.create_task(self._start_world())
        lab = Lab(api, self.network, self.runtime, self.config)
        self.network.on_denial = lab.denied
        control_plane = self.config.node_names[0]
        pods = RuntimePods(self.runtime, lambda: self.network.node_netns(control_plane))

        async def listen() -> None:
            with step("api"):
                self.server = await serve(
                    api,
                    config=self.config,
                    pki_directory=keys,
                    sockets=[*api_sockets, self._inner_socket()],
                    pods=pods,
                    lab=lab,
                )

        with step("controllers"):
            controllers = await start(
                api,
                self.network,
                self.runtime,
                self.config,
                inside=self.inside,
                node_dns=self._routers(),
                before_pods=listen,
            )
        lab.kubelets = pods.kubelets = controllers.kubelets
        lab.controllers = controllers
        with step("world"):
            self._keeping = asyncio.create_task(self._keep_world(await world))
        with step("dns"):
            answered = await self._names_resolve(controllers, lab)
        await signing
        self.progress.ready(nodes=self.config.node_names, dns=answered)
        await asyncio.to_thread(importlib.import_module, HANDLERS)
        collecting.begin()
        self._collecting = asyncio.create_task(collecting.collect_when_idle())

    def _ensure_keys(self, directory: Path) -> None:
        """Wait for who makes the keys of a new cluster, and make good what is damaged."""
        if self._keys_maker:
            os.waitpid(self._keys_maker, 0)
        if pki.ensure_pki(directory, self.config):
            message = "its keys were damaged: new ones were made"
            self.progress.tell(step="keys", message=message)
            log.warning("%s", message)

    def _write_kubeconfig(self, keys: Path) -> None:
        server = f"https://127.0.0.1:{self.config.api_port}"
        text = pki.kubeconfig_text(keys, f"k8slab-{self.config.name}", server)
        linux.set_aside(self.inside / "kubeconfig")  # a privileged pod's, perhaps
        credentials.write(self.inside / "kubeconfig", text)

    def _routers(self) -> list[str]:
        """Return the router's addresses: it is the nodes' name server."""
        return [str(ip_network(cidr)[1]) for cidr in self.config.node_cidrs]

    def _inner_socket(self) -> socket.socket:
        """Listen on the control plane, where the Service default/kubernetes leads to."""
        with linux.in_netns(self.network.node_netns(self.config.node_names[0])):
            return socket.create_server(
                ("::", API_PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
            )

    async def _keep_world(self, world: Container) -> None:
        """Start the world again when it ends: a machine short of memory ends what pods run first.

        Nobody else does that: the world belongs to no pod.
        """
        while True:
            await world.finished.wait()
            log.error("the world outside has ended; it is started again")
            await asyncio.sleep(WORLD_PAUSE)
            try:
                world = await self._start_world()
            except (K8slabError, OSError):
                log.exception("the world outside cannot be started; will be retried")

    async def _start_world(self) -> Container:
        """Start the internet and the corporate network; pods trust its certificates."""
        from k8slab.embedded.apps import world_certificates as certificates  # noqa: PLC0415

        files = await asyncio.to_thread(certificates.make_world_certificates, self.inside / "world")
        self.runtime.trust_certificates(files[certificates.CA])
        places = {"--cert": certificates.CERTIFICATE, "--key": certificates.KEY}
        argv = [word for option, name in places.items() for word in (option, f"/etc/world/{name}")]
        argv += [word for router in self._routers() for word in ("--resolver", router)]
        argv += [f"--ip-version={version}" for version in self.config.ip_versions]
        router = linux.open_netns()
        try:
            return await self.runtime.start_app(
                WORLD,
                argv,
                netns={**self.network.world, "router": router},
                files={f"/etc/world/{name}": files[name] for name in places.values()},
            )
        finally:
            os.close(router)

    async def _names_resolve(self, controllers: Controllers, lab: Lab) -> bool:
        """Return once cluster DNS answers a node; False when it does not in time."""
        netns = self.network.node_netns(self.config.node_names[0])
        servers = tuple(bootstrap.dns_addresses(self.config))
        name = f"kubernetes.default.svc.{CLUSTER_DOMAIN}."
        lookup = Lookup(netns, "daemon", ResolvConf(servers), name)
        end = time.monotonic() + DNS_SECONDS
        if not await controllers.pods_ready(
            "kube-system", bootstrap.DNS_LABELS, deadline=DNS_SECONDS
        ):
            return False
        while time.monotonic() < end:
            [answer] = await lab.resolve([lookup], DNS_ATTEMPT_SECONDS)
            if answer.addresses:
                return True
        return False
