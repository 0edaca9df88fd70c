"""A small API server that lists and watches, and DNS servers as processes on loopback ports."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
from itertools import count

import dns.message
import dns.query
import pytest

from k8slab.embedded.apps import world_authority, world_certificates
from k8slab.embedded.config import WorldHost
from tests.embedded.processes import LoggedProcess, free_port

PATHS = {
    "/api/v1/services": "services",
    "/apis/discovery.k8s.io/v1/endpointslices": "endpointslices",
    "/api/v1/namespaces": "namespaces",
    "/api/v1/pods": "pods",
}
RUN = (
    "import os, sys; from k8slab.embedded.dns.server import main; "
    "sys.exit(main(sys.argv[1:], dict(os.environ)))"
)


class FakeApi:
    """Lists and watches over TLS, in a thread of its own; `requests` tells what was asked."""

    def __init__(self, directory):
        files = world_certificates.make_world_certificates(directory)
        (directory / "ca.crt").write_bytes(files["world-ca.crt"])
        (directory / "token").write_text("the-token")
        self.directory = directory
        self.port = 0
        self.requests = []
        self.objects = {resource: {} for resource in PATHS.values()}
        self.history = []
        self.revision = 100
        self.oldest = 0
        self.connections = 0
        self._turn = 0
        self._writers = set()
        self._changed = None
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._up.wait(30)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self):
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self):
        self._changed = asyncio.Condition()
        self._stopped = asyncio.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "world.crt", self.directory / "world.key")
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._stopped.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _client(self, reader, writer):
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                await self._answer(head, writer)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, head, writer):
        path, _, query = head.split(" ")[1].partition("?")
        self.requests.append((path, query))
        assert "Authorization: Bearer the-token" in head
        values = dict(pair.split("=") for pair in query.split("&") if pair)
        if "watch" in values:
            await self._watch(PATHS[path], int(values["resourceVersion"]), writer)
            return
        body = json.dumps(
            {
                "metadata": {"resourceVersion": str(self.revision)},
                "items": list(self.objects[PATHS[path]].values()),
            }
        ).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def _watch(self, resource, since, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        if since < self.oldest:
            gone = {"kind": "Status", "code": 410, "message": "too old resource version"}
            await self._event(writer, {"type": "ERROR", "object": gone})
            writer.write(b"0\r\n\r\n")
            return
        turn = self._turn
        while True:
            async with self._changed:
                if turn != self._turn:
                    writer.write(b"0\r\n\r\n")
                    return
                new = [each for each in self.history if each[0] > since and each[1] == resource]
                if not new:
                    await self._changed.wait()
                    continue
            for revision, _, event in new:
                since = revision
                await self._event(writer, event)

    async def _event(self, writer, event):
        line = json.dumps(event).encode() + b"\n"
        # Two chunks for one line: a reader must not take a chunk for an event.
        for part in (line[:5], line[5:]):
            writer.write(b"%x\r\n" % len(part) + part + b"\r\n")
        await writer.drain()

    def _call(self, coroutine):
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def put(self, resource, obj, *, tell=True):
        self._call(self._put(resource, obj, tell))

    async def _put(self, resource, obj, tell):
        async with self._changed:
            self.revision += 1
            obj = json.loads(json.dumps(obj))
            meta = obj["metadata"]
            meta["resourceVersion"] = str(self.revision)
            key = (meta.get("namespace"), meta["name"])
            kind = "MODIFIED" if key in self.objects[resource] else "ADDED"
            self.objects[resource][key] = obj
            if tell:
                self.history.append((self.revision, resource, {"type": kind, "object": obj}))
                self._changed.notify_all()

    def delete(self, resource, namespace, name):
        self._call(self._delete(resource, namespace, name))

    async def _delete(self, resource, namespace, name):
        async with self._changed:
            self.revision += 1
            obj = self.objects[resource].pop((namespace, name))
            obj["metadata"]["resourceVersion"] = str(self.revision)
            event = {"type": "DELETED", "object": obj}
            self.history.append((self.revision, resource, event))
            self._changed.notify_all()

    def end_watches(self):
        """End every watch as at the end of its time; the connections stay."""

        async def end():
            async with self._changed:
                self._turn += 1
                self._changed.notify_all()

        self._call(end())

    def drop_connections(self, *, forget=False):
        """Cut every connection; with `forget`, old resource versions are 410 Gone from now on."""

        async def drop():
            if forget:
                self.oldest = self.revision + 1
                self.revision += 1
            for writer in list(self._writers):
                writer.transport.abort()

        self._call(drop())

    def environment(self):
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "SERVICE_ACCOUNT_DIRECTORY": str(self.directory),
        }


class DnsProcess(LoggedProcess):
    """A DNS server in a process of its own."""

    ids = count(1)

    def __init__(self, directory, corefile, environment=None, *, program=RUN):
        self.port = free_port(socket.SOCK_DGRAM)
        self.ports = {name: free_port() for name in ("HEALTH", "READY", "METRICS")}
        self.file = directory / f"Corefile{next(self.ids)}"
        self.write(corefile)
        super().__init__(program, ["-conf", str(self.file)], environment)

    def write(self, corefile):
        for name, port in {"PORT": self.port, **self.ports}.items():
            corefile = corefile.replace(f"${name}", str(port))
        scratch = self.file.with_suffix(".new")
        scratch.write_text(corefile)
        scratch.rename(self.file)

    def __enter__(self):
        try:
            self.wait_for("in place of CoreDNS")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if not self.process.stdout.closed:
            self.stop()

    def ask(self, name, kind="A", *, tcp=False, **options):
        query = dns.message.make_query(name, kind, **options)
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(query, "127.0.0.1", port=self.port, timeout=30)

    def data(self, name, kind="A", **options):
        answer = self.ask(name, kind, **options).answer
        return sorted(str(rdata) for rrset in answer for rdata in rrset)

    def until(self, name, expected, kind="A", seconds=30.0):
        """Ask until the answer is `expected`; return how long that took."""
        start = time.monotonic()
        while (got := self.data(name, kind)) != sorted(expected):
            if time.monotonic() - start > seconds:
                raise AssertionError(f"{name} stayed {got}, not {expected}")
        return time.monotonic() - start


@pytest.fixture
def api(tmp_path, monkeypatch):
    hosts = [WorldHost("internet", "127.0.0.1", ("localhost",), "web")]
    monkeypatch.setattr(world_authority, "WORLD_HOSTS", hosts)
    with FakeApi(tmp_path) as server:
        server.put("namespaces", {"metadata": {"name": "shop"}})
        yield server


@pytest.fixture
def start_dns(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(corefile, environment=None, **options):
            return stack.enter_context(DnsProcess(tmp_path, corefile, environment, **options))

        yield start
