"""exec and attach, over WebSocket and over SPDY, with real processes and connections."""

import asyncio
import gc
import resource
from urllib.parse import urlencode

import orjson
import pytest
from kubernetes import client as kubernetes_client
from kubernetes.stream import stream
from streams_kit import SpdyClient, collect, serving, websocket
from websockets.exceptions import InvalidStatus

from k8slab.embedded.apiserver.streams import remotecommand
from k8slab.embedded.apiserver.streams.remotecommand import Input, Streams, WebSocketPeer
from k8slab.embedded.apiserver.streams.websocket import WebSocket

SUCCESS = {"metadata": {}, "status": "Success"}


def query(argv, container="main", **flags):
    pairs = [("command", word) for word in argv] + [("container", container), ("stdout", "true")]
    return "exec?" + urlencode(pairs + [(name, "true") for name in flags])


async def test_output_and_errors_come_on_their_channels_and_success_last(python):
    code = "import sys; print('out'); print('err', file=sys.stderr)"
    async with serving() as (port, _), websocket(port, query(python(code), stderr=True)) as socket:
        channels, status = await collect(socket)
    assert (channels[1], channels[2]) == (b"out\n", b"err\n")
    assert status == SUCCESS
    assert socket.subprotocol == "v5.channel.k8s.io"
    assert socket.close_code == 1000


async def test_an_exit_code_is_told_as_kubectl_reads_it(python):
    async with (
        serving() as (port, _),
        websocket(port, query(python("raise SystemExit(42)"))) as socket,
    ):
        _, status = await collect(socket)
    assert status["reason"] == "NonZeroExitCode"
    assert status["message"] == "command terminated with exit code 42"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "42"}]


async def test_stdin_flows_in_and_its_end_can_be_told_in_v5():
    async with serving() as (port, _), websocket(port, query(["cat"], stdin=True)) as socket:
        await socket.send(b"\x00hello ")
        await socket.send([b"\x00wor", b"ld"])  # fragments of one message
        await socket.send(b"\xff\x00")
        channels, status = await collect(socket)
    assert channels[1] == b"hello world"
    assert status == SUCCESS


async def test_a_terminal_can_be_resized():
    async with (
        serving() as (port, pods),
        websocket(port, query(["cat"], stdin=True, tty=True)) as socket,
    ):
        await socket.recv()
        await socket.send(b"\x04" + orjson.dumps({"Width": 120, "Height": 40}))
        process = await pods.process()
        assert await asyncio.wait_for(process.sizes.get(), 30) == (120, 40)


async def test_a_terminal_hears_nothing_and_a_command_does_not_end_before_its_size_has_come(
    monkeypatch,
):
    monkeypatch.setattr(remotecommand, "FIRST_SIZES", 30.0)
    async with (
        serving() as (port, _),
        websocket(port, query(["echo", "x"], tty=True)) as socket,
    ):
        assert await socket.recv() == b"\x01", "that the streams are there"
        collecting = asyncio.ensure_future(collect(socket))
        assert await asyncio.wait({collecting}, timeout=0.1) == (set(), {collecting})
        await socket.send(b"\x04" + orjson.dumps({"Width": 120, "Height": 40}))
        channels, status = await asyncio.wait_for(collecting, 30)
    assert b"x" in channels[1]
    assert status == SUCCESS


class Written:
    """A stream to a client that reads what was written as it likes."""

    def __init__(self):
        self.data = b""
        self.more = asyncio.Event()

    def write(self, data):
        self.data += data
        self.more.set()

    async def drain(self):
        pass


ASKED = Streams(stdin=False, stdout=True, stderr=True, tty=False)
PING, START, PONG = b"\x89\x00", b"\x82\x01\x01", b"\x8a\x80mask"


async def test_a_client_of_v5_is_told_nothing_before_it_has_shown_that_it_reads(monkeypatch):
    monkeypatch.setattr(remotecommand, "FIRST_PONG", 30.0)
    for protocol, before in (("v5.channel.k8s.io", PING), ("v4.channel.k8s.io", START)):
        reader, writer = asyncio.StreamReader(), Written()
        peer = WebSocketPeer(WebSocket(reader, writer), protocol)
        starting = asyncio.create_task(peer.start(ASKED))
        await writer.more.wait()
        await asyncio.sleep(0)
        assert (writer.data, starting.done()) == (before, before == START)
        masked = bytes(a ^ b for a, b in zip(b"\0hi", b"mas", strict=True))
        reader.feed_data(PONG + b"\x82\x83mask" + masked)
        await starting
        assert writer.data.endswith(START)
        assert await peer.receive() == Input(b"hi")  # what came meanwhile is kept


async def test_a_client_that_answers_no_ping_is_told_all_a_little_later(monkeypatch):
    monkeypatch.setattr(remotecommand, "FIRST_PONG", 0.01)
    writer = Written()
    peer = WebSocketPeer(WebSocket(asyncio.StreamReader(), writer), "v5.channel.k8s.io")
    await peer.start(ASKED)
    assert writer.data == PING + START


async def test_a_client_that_tells_no_size_is_told_all_a_little_later(monkeypatch):
    monkeypatch.setattr(remotecommand, "FIRST_SIZES", 0.01)
    async with serving() as (port, _), websocket(port, query(["echo", "x"], tty=True)) as socket:
        channels, status = await asyncio.wait_for(collect(socket), 30)
    assert b"x" in channels[1]
    assert status == SUCCESS


async def test_an_unknown_program_is_told_on_the_error_channel():
    async with serving() as (port, _), websocket(port, query(["no-such-program"])) as socket:
        _, status = await collect(socket)
    assert status["status"] == "Failure"
    assert 'exec: "no-such-program": executable file not found in $PATH' in status["message"]


@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        ("exec?command=ls&stdout=1", 400, "a container name must be specified for pod web"),
        ("exec?command=ls&stdout=1&container=x", 400, "container x is not valid for pod web"),
        ("exec?command=ls&container=main", 400, "at least 1 of stdin, stdout, stderr"),
        ("exec?stdout=1&container=main", 400, "at least one command"),
        ("exec?command=ls&stdout=1&container=sidecar", 500, 'container not found ("sidecar")'),
    ],
)
async def test_what_cannot_be_is_an_ordinary_answer_before_the_upgrade(what, code, message):
    async with serving() as (port, _):
        with pytest.raises(InvalidStatus) as caught:
            await websocket(port, what)
    assert caught.value.response.status_code == code
    assert message in orjson.loads(caught.value.response.body)["message"]


async def test_a_client_that_vanishes_ends_the_command():
    async with serving() as (port, pods):
        socket = await websocket(port, query(["sleep", "1000"]))
        await socket.recv()
        socket.transport.abort()
        process = await pods.process()
        assert await asyncio.wait_for(process.wait(), 30) == 128 + 9


async def test_a_client_that_vanishes_with_input_unread_ends_the_command():
    """The command never reads, so that nobody sees the end of the connection by reading."""
    async with serving() as (port, pods):
        socket = await websocket(port, query(["sleep", "1000"], stdin=True))
        await socket.recv()
        process = await pods.process()
        for _ in range(16):  # more than the pipe and our buffers, less than the kernel's
            await socket.send(b"\x00" + bytes(1 << 16))
        socket.transport.abort()
        assert await asyncio.wait_for(process.wait(), 30) == 128 + 9


async def test_a_hundred_megabytes_stream_through_a_slow_client_without_piling_up(python):
    code = "import sys\nfor _ in range(1600): sys.stdout.buffer.write(bytes(65536))"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving() as (port, _), websocket(port, query(python(code))) as socket:
        total = 0
        async for message in socket:
            total += len(message) - 1 if message[0] == 1 else 0
            await asyncio.sleep(0)
    assert total == 1600 * 65536
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30 * 1024  # KiB


async def test_spdy_runs_a_command_with_stdin_and_tells_its_exit_code():
    argv = ["sh", "-c", "cat; echo done >&2; exit 3"]
    async with serving() as (port, _):
        client = await SpdyClient.connect(port, query(argv, stdin=True, stderr=True))
        assert "X-Stream-Protocol-Version: v4.channel.k8s.io" in client.head
        error, stdin, stdout, stderr = (
            client.open(streamtype=name) for name in ("error", "stdin", "stdout", "stderr")
        )
        client.send(stdin, b"x" * 200_000)
        client.send(stdin, b"", fin=True)
        await client.until(lambda now: error in now.finished)
        client.close()
    assert client.data[stdout] == b"x" * 200_000
    assert client.data[stderr] == b"done\n"
    status = orjson.loads(client.data[error])
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_spdy_resizes_and_a_client_that_vanishes_ends_the_command():
    async with serving() as (port, pods):
        client = await SpdyClient.connect(port, query(["cat"], stdin=True, tty=True))
        client.open(streamtype="error")
        stdin, stdout = client.open(streamtype="stdin"), client.open(streamtype="stdout")
        resize = client.open(streamtype="resize")
        client.send(resize, b'{"Width":80,"Height":24}\n{"Width":81,"Height":25}\n')
        client.send(stdin, b"hi")
        await client.until(lambda now: now.data[stdout] == b"hi")
        process = await pods.process()
        assert await process.sizes.get() == (80, 24)
        assert await process.sizes.get() == (81, 25)
        client.writer.transport.abort()
        assert await asyncio.wait_for(process.wait(), 30) == 128 + 9


async def test_spdy_with_a_protocol_that_nobody_speaks_is_forbidden():
    async with serving() as (port, _):
        client = await SpdyClient.connect(port, query(["true"]), protocols=["v9.channel.k8s.io"])
        assert client.head.startswith("HTTP/1.1 403")
        client.close()


async def test_attach_ends_well_when_the_container_ends():
    async with serving() as (port, _):
        what = "attach?container=main&stdin=1&stdout=1"
        async with websocket(port, what, "v5.channel.k8s.io") as socket:
            await socket.send(b"\x00ping")
            await socket.send(b"\xff\x00")
            channels, status = await collect(socket)
    assert (channels[1], status) == (b"ping", SUCCESS)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_official_python_client_runs_a_command():
    argv = ["sh", "-c", "read line; echo got $line; exit 5"]

    def use(port):
        configuration = kubernetes_client.Configuration(host=f"http://127.0.0.1:{port}")
        api = kubernetes_client.CoreV1Api(kubernetes_client.ApiClient(configuration))
        response = stream(
            api.connect_get_namespaced_pod_exec,
            "web",
            "default",
            container="main",
            command=argv,
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        response.write_stdin("words\n")
        response.run_forever(timeout=30)
        return response.read_stdout(), response.returncode

    async with serving() as (port, _):
        answer = await asyncio.to_thread(use, port)
    gc.collect()  # that client leaves its socket to the garbage collector
    assert answer == ("got words\n", 5)
