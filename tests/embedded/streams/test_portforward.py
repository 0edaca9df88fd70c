"""port-forward in its three forms, to a server on loopback that stands for the pod."""

import asyncio
import errno
import gc
import os
from contextlib import asynccontextmanager

import pytest
from kubernetes import client as kubernetes_client
from kubernetes.stream import portforward
from streams_kit import PATH, SpdyClient, serving
from websockets.protocol import Protocol, Side

from k8slab.embedded.apiserver.streams import portforward as forwarding
from k8slab.embedded.apiserver.streams import spdy
from tests.embedded.processes import free_port


@asynccontextmanager
async def echo():
    """Yield the port of a server that sends back all it gets once its client has finished."""

    async def answer(reader, writer):
        writer.write(b"echo:" + await reader.read())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_several_connections_share_one_spdy_connection():
    async with echo() as target, serving() as (port, _):
        client = await SpdyClient.connect(port, "portforward", ["portforward.k8s.io"])
        pairs = []
        for number in range(3):
            words = {"port": str(target), "requestid": str(number)}
            error = client.open(streamtype="error", **words)
            data = client.open(streamtype="data", **words)
            pairs.append((number, error, data))
        for number, error, data in pairs:
            client.send(error, b"", fin=True)
            client.send(data, b"hello %d" % number, fin=True)
        await client.until(lambda now: all(error in now.finished for _, error, _ in pairs))
        client.close()
    for number, error, data in pairs:
        assert client.data[data] == b"echo:hello %d" % number
        assert client.data[error] == b""


async def test_a_closed_port_is_told_on_the_error_stream_and_the_rest_goes_on():
    async with echo() as target, serving() as (port, _):
        client = await SpdyClient.connect(port, "portforward", ["portforward.k8s.io"])
        closed = free_port()
        error = client.open(streamtype="error", port=str(closed), requestid="0")
        data = client.open(streamtype="data", port=str(closed), requestid="0")
        await client.until(lambda now: {error, data} <= now.finished)
        client.open(streamtype="error", port=str(target), requestid="1")
        second = client.open(streamtype="data", port=str(target), requestid="1")
        client.send(second, b"x", fin=True)
        await client.until(lambda now: second in now.finished)
        client.close()
    why = client.data[error].decode()
    assert f"error forwarding port {closed} to pod web_default, uid u-1" in why
    assert "connection refused" in why
    assert client.data[second] == b"echo:x"


async def test_a_client_that_vanishes_closes_the_connections_in_the_pod():
    started, ended = asyncio.Event(), asyncio.Event()

    async def wait_for_the_end(reader, writer):
        await reader.readexactly(14)
        started.set()
        await reader.read()
        ended.set()
        writer.close()

    async with await asyncio.start_server(wait_for_the_end, "127.0.0.1", 0) as server:
        target = server.sockets[0].getsockname()[1]
        async with serving() as (port, _):
            client = await SpdyClient.connect(port, "portforward", ["portforward.k8s.io"])
            client.open(streamtype="error", port=str(target), requestid="0")
            stream = client.open(streamtype="data", port=str(target), requestid="0")
            client.send(stream, b"half a request")
            await asyncio.wait_for(started.wait(), 30)
            client.close()
            await asyncio.wait_for(ended.wait(), 30)


async def test_spdy_in_a_websocket_as_current_kubectl_speaks_it():
    """By hand: the name of the subprotocol has a slash, which libraries refuse."""
    client, frames, got = spdy.SpdyConnection(client=True), Protocol(Side.CLIENT), b""
    async with echo() as target, serving() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET {PATH}portforward HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        words = {"port": str(target), "requestid": "0"}
        client.open({"streamtype": "error", **words})
        data = client.open({"streamtype": "data", **words})
        client.send(data, b"tunnel", fin=True)
        wire = client.take()
        for at in range(0, len(wire), 7):  # messages need not be frames
            frames.send_binary(wire[at : at + 7])
        writer.writelines(frames.data_to_send())
        ended = False
        while not ended:
            frames.receive_data(await reader.read(65536))
            for message in frames.events_received():
                for event in client.receive(message.data):
                    if isinstance(event, spdy.DataReceived) and event.stream == data:
                        got += event.data
                        ended |= event.fin
        writer.close()
    assert "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io" in head
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455, 1.3
    assert got == b"echo:tunnel"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_official_python_client_forwards_several_ports():
    def use(port, targets):
        configuration = kubernetes_client.Configuration(host=f"http://127.0.0.1:{port}")
        api = kubernetes_client.CoreV1Api(kubernetes_client.ApiClient(configuration))
        ports = ",".join(str(target) for target in targets)
        forward = portforward(
            api.connect_get_namespaced_pod_portforward, "web", "default", ports=ports
        )
        first, second = (forward.socket(target) for target in targets)
        first.settimeout(30)
        second.settimeout(30)
        first.sendall(b"GET\n")
        answers = [first.recv(100), second.recv(100)]
        first.close()
        second.close()
        forward.close()
        return answers, forward.error(targets[0]), forward.error(targets[1])

    async def line(reader, writer):
        writer.write(b"got " + await reader.readline())
        writer.close()

    async with await asyncio.start_server(line, "127.0.0.1", 0) as server, serving() as (port, _):
        target, closed = server.sockets[0].getsockname()[1], free_port()
        answers, error, missing = await asyncio.to_thread(use, port, [target, closed])
    gc.collect()  # that client leaves its sockets to the garbage collector
    assert answers == [b"got GET\n", b""]
    assert error is None
    assert "connection refused" in missing


class ResetWriter:
    """A writer whose peer has reset the connection, which the event loop has not seen yet."""

    def __init__(self):
        self.closed = False

    def write(self, data):
        raise AssertionError("there is nothing to write")

    def can_write_eof(self):
        return True

    def write_eof(self):
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    def close(self):
        self.closed = True


async def test_a_connection_that_the_pod_has_reset_ends_alone():
    reader, writer, sent = asyncio.StreamReader(), ResetWriter(), []
    finished = asyncio.Event()

    async def receive():
        finished.set()
        return b""

    async def send(data):
        sent.append(data)

    joining = asyncio.create_task(forwarding._join(reader, writer, receive=receive, send=send))
    await finished.wait()
    reader.feed_data(b"last words")
    reader.feed_eof()
    await joining
    assert sent == [b"last words"]
    assert writer.closed
