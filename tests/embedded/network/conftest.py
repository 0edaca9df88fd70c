"""Tests of the kernel part run in a child with its own user and network namespace.

So they need no root, see nothing of this machine's network and leave nothing in it.
Mark such a test with ``@pytest.mark.kernel``; it may be a coroutine function.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import socket
import struct
import sys
import traceback
import warnings
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from k8slab.embedded import linux
from k8slab.embedded.config import ClusterConfig
from k8slab.embedded.network.network import Network

_SECONDS = 120

sys.path.insert(0, str(Path(__file__).parent))  # for `ranges_kit`


def pytest_configure(config):
    config.addinivalue_line("markers", "kernel: runs in user and network namespaces of its own")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not pyfuncitem.get_closest_marker("kernel"):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    failure = in_child(pyfuncitem.obj, {name: pyfuncitem.funcargs[name] for name in names})
    if failure:
        pytest.fail(failure, pytrace=False)
    return True


def in_child(function, arguments) -> str:
    """Run `function` in a forked child; return its traceback, or nothing."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside xdist's thread
        pid = os.fork()
    if pid == 0:
        _child(function, arguments, reader, writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return text or (f"the child ended with {os.waitstatus_to_exitcode(status)}" if status else "")


def _child(function, arguments, reader, writer):
    code = 1
    try:
        os.close(reader)
        signal.alarm(_SECONDS)
        enter_namespaces()
        result = function(**arguments)
        if inspect.iscoroutine(result):
            asyncio.run(result)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it was, the parent shows it
        with suppress(OSError):
            os.write(writer, traceback.format_exc().encode()[:60_000])
    finally:
        sys.stdout.flush()
        os._exit(code)


def enter_namespaces():
    uid, gid = os.getuid(), os.getgid()
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNET)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {uid} 1"),
        ("gid_map", f"0 {gid} 1"),
    ):
        Path("/proc/self", name).write_text(text)


def retransmissions_of(sock):
    """Return how many segments the kernel sent again: a first packet that is lost costs one.

    It takes no look at any clock, so a busy machine does not matter. Source: ``tcpi_total_retrans``
    in ``linux/tcp.h``.
    """
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return struct.unpack_from("=I", info, 100)[0]


@pytest.fixture
def retransmissions():
    return retransmissions_of


class Fabric:
    """A network with pods that answer, and with clients: what tests of packets need."""

    def __init__(self, config):
        self.config = config
        self.network = Network(config)
        self.nodes = config.node_names
        self.netns = {}
        self.address = {}
        self.denials = []
        self.retransmitted = 0
        self.network.on_denial = self._on_denial
        self._news = asyncio.Event()
        self._servers = []

    def _on_denial(self, denial):
        self.denials.append(denial)
        self._news.set()

    async def pod(self, name, node=1, *, serve=(8080,), udp=(), **more):
        """Attach a pod on the n-th node; it answers with its name and the client's address."""
        netns = self.netns[name] = linux.new_netns()
        answer = await self.network.attach_pod(node=self.nodes[node], uid=name, netns=netns, **more)
        self.address[name] = answer[0]
        for port in serve:
            await self.serve(netns, name, port)
        for port in udp:
            await self.serve_udp(netns, name, port)
        return answer[0]

    async def serve(self, netns, name, port):
        async def answer(reader, writer):
            client = writer.get_extra_info("peername")[0].removeprefix("::ffff:")
            writer.write(f"{name} {client}".encode())
            writer.write_eof()
            await reader.read()
            writer.close()

        with linux.in_netns(netns):
            if any(":" in cidr for cidr in self.config.pod_cidrs):
                family = socket.AF_INET6
                sock = socket.create_server(("::", port), family=family, dualstack_ipv6=True)
            else:
                sock = socket.create_server(("0.0.0.0", port))
        self._servers.append(await asyncio.start_server(answer, sock=sock))

    async def serve_udp(self, netns, name, port):
        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, _data, address):
                self.transport.sendto(f"{name} {address[0]}".encode(), address)

        with linux.in_netns(netns):
            sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", port))
        loop = asyncio.get_running_loop()
        self._servers.append((await loop.create_datagram_endpoint(Echo, sock=sock))[0])

    def place(self, source):
        """Return the namespace of a pod, a node or a part of the world, by its name."""
        if source in self.netns:
            return self.netns[source]
        if source in self.network.world:
            return self.network.world[source]
        return self.network.node_netns(source)

    async def ask(self, source, destination, port=8080, *, patience=30.0):
        """Connect and return what was answered, or ``refused``, ``silent``, ``unreachable``."""
        loop = asyncio.get_running_loop()
        destination = self.address.get(destination, destination)
        with linux.in_netns(self.place(source)):
            sock = socket.socket(socket.AF_INET6 if ":" in destination else socket.AF_INET)
        sock.setblocking(False)
        with sock:
            try:
                async with asyncio.timeout(patience):
                    await loop.sock_connect(sock, (destination, port))
                    self.retransmitted += retransmissions_of(sock)
                    sock.shutdown(socket.SHUT_WR)
                    return (await loop.sock_recv(sock, 100)).decode()
            except TimeoutError:
                return "silent"
            except ConnectionRefusedError:
                return "refused"
            except OSError:
                return "unreachable"

    async def blocked(self, source, destination, port=8080):
        """Tell whether a connection stays without any answer for a while."""
        return await self.ask(source, destination, port, patience=0.2) == "silent"

    async def passes(self, source, destination, port=8080):
        """Tell whether a connection is answered, however long a busy machine takes for it."""
        answer = await self.ask(source, destination, port)
        return answer not in ("silent", "refused", "unreachable")

    async def ask_udp(self, source, destination, port, *, from_port=0, patience=30.0):
        loop = asyncio.get_running_loop()
        with linux.in_netns(self.place(source)):
            sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.setblocking(False)
        with sock:
            sock.bind(("0.0.0.0", from_port))
            try:
                async with asyncio.timeout(patience):
                    await loop.sock_connect(sock, (destination, port))
                    await loop.sock_sendall(sock, b"?")
                    return (await loop.sock_recv(sock, 100)).decode()
            except TimeoutError:
                return "silent"
            except ConnectionRefusedError:
                return "refused"

    async def denial(self, **wanted):
        """Return the next denial with these fields, waiting for it."""
        async with asyncio.timeout(30):
            while True:
                for denial in self.denials:
                    if all(getattr(denial, k) == v for k, v in wanted.items()):
                        return denial
                self._news.clear()
                await self._news.wait()

    def rules(self, node, table):
        """Return what the kernel of a node says it has."""
        return self.network._nodes[node].rules.nft.run(f"list table ip {table}")

    async def close(self):
        for server in self._servers:
            server.close()
        await self.network.close()
        for netns in self.netns.values():
            os.close(netns)


@pytest.fixture
def fabric():
    """Return a context manager that starts a network with nodes."""

    @asynccontextmanager
    async def start(**config):
        fabric = Fabric(ClusterConfig(**config))
        await fabric.network.start()
        for name in fabric.nodes:
            await fabric.network.add_node(name)
        try:
            yield fabric
        finally:
            await fabric.close()

    return start
