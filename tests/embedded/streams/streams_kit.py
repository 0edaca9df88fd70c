"""A small HTTP server around the handlers, pods that are processes of this machine, clients."""

import asyncio
import shutil
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.client import connect

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.http import Request
from k8slab.embedded.apiserver.streams import handlers, spdy
from k8slab.errors import ApiStatusError

POD = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u-1"},
    "spec": {"nodeName": "n1", "containers": [{"name": "main"}, {"name": "sidecar"}]},
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {"name": "main", "state": {"running": {}}},
            {"name": "sidecar", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
        ],
    },
}


class LocalProcess:
    """A process of this machine behind the `Process` protocol."""

    def __init__(self, process):
        self._process = process
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr
        self.sizes = asyncio.Queue()

    @property
    def pid(self):
        return self._process.pid

    def resize(self, columns, rows):
        self.sizes.put_nowait((columns, rows))

    def kill(self):
        if self._process.returncode is None:
            self._process.kill()

    def close(self):
        self._process._transport.close()

    async def wait(self):
        code = await self._process.wait()
        return code if code >= 0 else 128 - code


class LocalPods:
    """`PodBackend` with local processes and local ports."""

    def __init__(self):
        self.processes = []
        self._started = asyncio.Event()

    async def process(self):
        """Return the first process as soon as there is one."""
        await asyncio.wait_for(self._started.wait(), 30)
        return self.processes[0]

    async def exec(self, pod, container, argv, *, tty, stdin):
        if shutil.which(argv[0]) is None:
            raise statuses.internal_error(f'exec: "{argv[0]}": executable file not found in $PATH')
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=pipe if stdin else asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT if tty else pipe,
        )
        self.processes.append(LocalProcess(process))
        self._started.set()
        return self.processes[-1]

    async def attach(self, pod, container, *, tty, stdin):
        return await self.exec(pod, container, ["cat"], tty=tty, stdin=True)

    async def connect(self, pod, port):
        return await asyncio.open_connection("127.0.0.1", port)


async def _serve(reader, writer, pods):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    url = urlsplit(head[0].split()[1])
    headers = {}
    for line in head[1:-2]:
        name, _, value = line.partition(": ")
        old = headers.get(name.lower())
        headers[name.lower()] = f"{old}, {value}" if old else value
    request = Request(
        "GET", url.path, parse_qs(url.query), headers, b"", None, lambda: (reader, writer)
    )
    handler = {
        "exec": handlers.handle_exec,
        "attach": handlers.handle_attach,
        "portforward": handlers.handle_portforward,
    }[url.path.rsplit("/", 1)[-1]]
    try:
        await handler(request, POD, pods)
    except ApiStatusError as error:
        body = orjson.dumps(statuses.status_object(error))
        writer.write(f"HTTP/1.1 {error.code} x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body)
        writer.close()


@asynccontextmanager
async def serving():
    """Yield the server's port and its pods; every handler must have ended afterwards."""
    pods = LocalPods()
    tasks = set()

    def accept(reader, writer):
        tasks.add(asyncio.ensure_future(_serve(reader, writer, pods)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], pods
    finally:
        server.close()
        async with asyncio.timeout(30):
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
        for process in pods.processes:
            process.close()
            await process.wait()


PATH = "/api/v1/namespaces/default/pods/web/"


def websocket(port, what, protocol="v5.channel.k8s.io"):
    return connect(
        f"ws://127.0.0.1:{port}{PATH}{what}",
        subprotocols=[protocol],
        compression=None,
        max_size=None,
    )


async def collect(socket):
    """Return the bytes of each channel until the server closes; the error channel as JSON."""
    channels = {}
    async for message in socket:
        channels[message[0]] = channels.get(message[0], b"") + message[1:]
    return channels, orjson.loads(channels[3])


class SpdyClient:
    """A SPDY connection that records what comes on each stream."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.spdy = spdy.SpdyConnection(client=True)
        self.data, self.finished = {}, set()

    @classmethod
    async def connect(cls, port, what, protocols=("v4.channel.k8s.io", "channel.k8s.io")):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = [
            f"POST {PATH}{what} HTTP/1.1",
            "Host: x",
            "Connection: Upgrade",
            "Upgrade: SPDY/3.1",
        ]
        lines += [f"X-Stream-Protocol-Version: {protocol}" for protocol in protocols]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        client = cls(reader, writer)
        client.head = (await reader.readuntil(b"\r\n\r\n")).decode()
        return client

    def open(self, **headers):
        stream = self.spdy.open(headers)
        self.data[stream] = b""
        self.flush()
        return stream

    def send(self, stream, data, *, fin=False):
        self.spdy.send(stream, data, fin=fin)
        self.flush()

    def flush(self):
        self.writer.write(self.spdy.take())

    async def until(self, condition):
        """Read until `condition(self)`; the end of the connection ends it too."""
        async with asyncio.timeout(30):
            while not condition(self) and (data := await self.reader.read(65536)):
                for event in self.spdy.receive(data):
                    if isinstance(event, spdy.DataReceived):
                        self.data[event.stream] += event.data
                        if event.fin:
                            self.finished.add(event.stream)
                self.flush()

    def close(self):
        self.writer.close()
