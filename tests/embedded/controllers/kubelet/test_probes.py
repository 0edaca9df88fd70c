"""Probe attempts against real servers on loopback, and the counting of attempts."""

import asyncio
import contextlib
import socket
import time
from types import SimpleNamespace

import pytest

from k8slab.embedded.controllers.kubelet import probes
from k8slab.embedded.controllers.kubelet.probes import Attempt, Counter, Prober, Target
from k8slab.embedded.runtime.spec import ContainerCannotRunError


@pytest.fixture(autouse=True)
def _stay_here(monkeypatch):
    """Make sockets in this namespace: entering another one needs privileges."""
    monkeypatch.setattr(probes, "in_netns", lambda _: contextlib.nullcontext())


class Runtime:
    """Run nothing; say how it ended."""

    def __init__(self, code=0, output=b"", errors=b"", delay=0.0):
        self.code, self.output, self.errors = code, output, errors
        self.delay, self.killed = delay, False

    async def exec(self, container_id, spec):
        streams = []
        for text in (self.output, self.errors):
            streams.append(asyncio.StreamReader())
            streams[-1].feed_data(text)
            streams[-1].feed_eof()

        async def wait():
            await asyncio.sleep(self.delay)
            return self.code

        def kill():
            self.killed = True

        return SimpleNamespace(stdout=streams[0], stderr=streams[1], wait=wait, kill=kill)


def attempt(probe, port=0, runtime=None, container=None):
    async def main():
        prober = Prober(runtime or Runtime(), lambda: 0)
        target = Target(
            address="127.0.0.1", container_id="id", container=container or {"name": "c"}
        )
        return await prober.attempt(probe, target)

    return asyncio.run(main())


def against(answer, probe):
    """Make one attempt against a server that gives this answer; return it and the request."""

    async def main():
        seen, done = [], asyncio.Event()

        async def serve(reader, writer):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            if answer is not None:
                writer.write(answer)
            await reader.read()
            writer.close()
            done.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        container = {"name": "c", "ports": [{"name": "http", "containerPort": port}]}
        target = Target(address="127.0.0.1", container_id="id", container=container)
        found = await Prober(Runtime(), lambda: 0).attempt(probe, target)
        await done.wait()
        server.close()
        return found, seen[0].decode(), port

    return asyncio.run(main())


HTTP = {"httpGet": {"port": "http", "path": "/ready"}}


@pytest.mark.parametrize(("code", "passed"), [(200, True), (302, True), (404, False), (500, False)])
def test_an_http_probe_passes_from_200_to_399(code, passed):
    found, _, _ = against(f"HTTP/1.1 {code} X\r\n\r\n".encode(), HTTP)
    assert found.passed is passed
    assert found.message == ("" if passed else f"HTTP probe failed with statuscode: {code}")


def test_an_http_probe_sends_its_headers():
    probe = {"httpGet": {**HTTP["httpGet"], "httpHeaders": [{"name": "Host", "value": "a.test"}]}}
    _, request, _ = against(b"HTTP/1.1 200 OK\r\n\r\n", probe)
    assert request.startswith("GET /ready HTTP/1.1\r\nHost: a.test\r\nUser-Agent: kube-probe/1.")


def test_a_server_that_is_silent_fails_after_the_time_out():
    probe = {**HTTP, "timeoutSeconds": 1}  # in which a busy machine, too, sends the request
    found, _, port = against(None, probe)
    assert not found.passed
    assert found.listening
    assert found.message.startswith(f'Get "http://127.0.0.1:{port}/ready": context deadline')


def test_a_time_out_in_which_we_stood_still_does_not_count(monkeypatch):
    made, ahead = [], [0.0]
    monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda _: time.monotonic() + ahead[0])

    class Suspended(Runtime):
        async def exec(self, container_id, spec):
            made.append(container_id)
            self.delay = 0.0
            if len(made) == 1:
                ahead[0] = 3600.0  # the computer was suspended
                self.delay = 7200.0
            return await super().exec(container_id, spec)

    assert attempt({"exec": {"command": ["x"]}, "timeoutSeconds": 30}, runtime=Suspended()).passed
    assert len(made) == 2


def test_something_that_is_no_http_fails():
    found, _, _ = against(b"SSH-2.0\r\n", HTTP)
    assert "malformed HTTP response" in found.message


def test_a_closed_port_is_told_apart():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        found = attempt({"tcpSocket": {"port": port}})
    assert found == Attempt(
        passed=False,
        message=f"dial tcp 127.0.0.1:{port}: connect: connection refused",
        listening=False,
    )


def test_an_open_port_passes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert attempt({"tcpSocket": {"port": server.getsockname()[1]}}).passed


def test_an_exec_probe_passes_with_code_0_and_shows_the_output_otherwise():
    probe = {"exec": {"command": ["true"]}}
    assert attempt(probe, runtime=Runtime()).passed
    failed = attempt(probe, runtime=Runtime(code=1, output=b"looking: ", errors=b"no file"))
    assert (failed.passed, failed.message) == (False, "looking: no file")
    long = attempt(probe, runtime=Runtime(code=1, output=b"x" * 50_000))
    assert len(long.message) == probes.LONGEST_ANSWER


def test_an_exec_probe_whose_command_cannot_run_has_failed():
    class Full(Runtime):
        async def exec(self, container_id, spec):
            raise ContainerCannotRunError("the pod has as many processes as it may have: 512")

    found = attempt({"exec": {"command": ["true"]}}, runtime=Full())
    assert found == Attempt(False, "the pod has as many processes as it may have: 512")


def test_an_exec_probe_that_takes_too_long_is_killed():
    runtime = Runtime(delay=5)
    found = attempt({"exec": {"command": ["sleep"]}, "timeoutSeconds": 0.02}, runtime=runtime)
    assert (found.passed, runtime.killed) == (False, True)
    assert found.message == "command timed out after 0.02s"


def test_thresholds_count_runs_of_the_same_result():
    probe = {"successThreshold": 2, "failureThreshold": 3}
    counter = Counter()
    results = "FFSFFFSSF"
    verdicts = [counter.count(Attempt(r == "S"), probe) for r in results]
    assert verdicts == [None, None, None, None, None, False, None, True, None]
