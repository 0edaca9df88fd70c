"""Clients that hardly read, never read, or are too many; and a daemon that stood still."""

import os
import resource
import select
import signal
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from faults_kit import pod, until

from k8slab.embedded import supervisor
from k8slab.embedded.apiserver.http import Channel
from k8slab.embedded.config import ClusterPaths

SPACE = "load"
MAPS = f"/api/v1/namespaces/{SPACE}/configmaps"
BIG, COUNT = 100_000, 40
"""Bytes in a ConfigMap, and how many there are: a list of 4 MB."""
SLOW = 200
PATIENCE = 10.0
"""Seconds that a request of somebody else may take on a machine with other work."""


class Client:
    """One TLS connection with a kernel buffer of its own size; it reads when it is told to."""

    def __init__(self, cluster, receive=0):
        server = urlsplit(cluster.rest.credentials.server)
        raw = socket.socket()
        if receive:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        raw.settimeout(30)
        raw.connect((server.hostname, server.port))
        self.socket = cluster.rest.ssl_context.wrap_socket(
            raw, server_hostname=server.hostname, do_handshake_on_connect=False
        )

    def begin(self):
        """Send the first message of the handshake, so that many servers' answers come at once."""
        self.socket.settimeout(0)
        with suppress(ssl.SSLWantReadError):
            self.socket.do_handshake()
        self.socket.settimeout(30)

    def ask(self, *paths):
        lines = "".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths)
        self.socket.sendall(lines.encode())

    def status(self):
        head = b""
        while b"\r\n" not in head:
            data = self.socket.recv(1000)
            assert data, "closed without an answer"
            head += data
        return int(head[9:12])

    def read_until(self, word):
        tail = b""
        while word.encode() not in tail:
            data = self.socket.recv(1 << 16)
            assert data, "closed before it came"
            tail = tail[-len(word) :] + data

    def rest(self):
        """Read to the end; return how many bytes came, and whether the end was in order."""
        count, last = 0, b""
        try:
            while data := self.socket.recv(1 << 16):
                count, last = count + len(data), data[-5:]
        except (ConnectionError, ssl.SSLError):
            return count, False
        return count, last == b"0\r\n\r\n"


def memory(pid):
    """Return the daemon's resident memory in bytes."""
    words = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(words[1]) * resource.getpagesize()


def files(pid):
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def timed(cluster, path):
    began = time.monotonic()
    cluster.request("GET", path)
    return time.monotonic() - began


def config_map(number, text):
    data = {"text": text * BIG}
    return {"metadata": {"name": f"big-{number}", "namespace": SPACE}, "data": data}


@pytest.fixture(scope="module")
def daemon(lab):
    """Return the pid of the daemon of a cluster that has much to tell."""
    lab.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}])
    for number in range(COUNT):
        lab.request("POST", MAPS, config_map(number, "a"))
    return supervisor.status(ClusterPaths.of("lab")).daemon_pid


@pytest.fixture
def opened(lab):
    with ExitStack() as stack:

        def connect(receive=0):
            client = Client(lab, receive)
            stack.callback(client.socket.close)
            return client

        yield connect


def test_slow_watchers_cost_others_nothing_and_are_cut_off_when_they_fall_behind(
    lab, daemon, opened
):
    before = memory(daemon)
    slow = []
    for _ in range(SLOW):  # one after the other: a handshake may take 10 s, not 200 of them
        slow.append(opened(receive=4096))
        slow[-1].ask(f"{MAPS}?watch=1")
    quick = opened()
    quick.ask(f"{MAPS}?watch=1&resourceVersion=0")
    times = []
    for _ in range(10):
        for client in slow:
            client.socket.recv(1)
        times.append(timed(lab, "/api/v1/namespaces/default"))
    assert sorted(times)[len(times) // 2] < PATIENCE
    # A copy of what each begins with would be 800 MB.
    assert memory(daemon) - before < 150e6

    for turn in range(2 * Channel.LIMIT // BIG):
        written = lab.request("PUT", f"{MAPS}/big-0", config_map(0, "bc"[turn % 2]))
        quick.read_until(f'"resourceVersion":"{written["metadata"]["resourceVersion"]}"')
    assert memory(daemon) - before < 150e6
    for client in slow[:5]:
        _, in_order = client.rest()
        assert not in_order
    again = opened()
    again.ask(f"{MAPS}?limit=1")
    assert again.status() == 200


def test_a_client_that_asks_and_never_reads_is_not_answered_for_ever(lab, daemon, opened):
    before = memory(daemon)
    deaf = opened(receive=4096)
    deaf.ask(*[MAPS] * 200)  # 800 MB of answers
    assert timed(lab, "/api/v1/namespaces/default") < PATIENCE
    assert timed(lab, MAPS) < PATIENCE
    assert memory(daemon) - before < 60e6


def test_two_thousand_connections_are_open_at_once(lab, daemon, opened):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2200:
        pytest.skip(f"this process may open only {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2200), hard))
    before, used = files(daemon), memory(daemon)
    clients = []
    for _ in range(20):
        some = [opened() for _ in range(100)]
        for client in some:
            client.begin()
        for client in some:
            client.socket.do_handshake()
        clients += some
    assert files(daemon) >= 2000  # what else was open before may have gone meanwhile
    for client in clients[::20]:
        client.ask("/version")
    for client in clients[::20]:
        assert client.status() == 200
    assert timed(lab, "/api/v1/namespaces/default") < PATIENCE
    assert memory(daemon) - used < 200e6
    for client in clients:
        client.socket.close()
    until(lambda: files(daemon) < before + 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


STANDSTILL = 8
"""Seconds, twice as long as a probe may take: that must be more than a busy machine makes of it."""


def conditions(obj):
    return {c["type"]: c["status"] for c in obj["status"]["conditions"]}


def test_a_daemon_that_stood_still_blames_neither_nodes_nor_pods(lab, daemon):
    probe = {
        "httpGet": {"path": "/", "port": 8080},
        "periodSeconds": 1,
        "timeoutSeconds": STANDSTILL // 2,
        "failureThreshold": 1,
    }
    made = pod("strict", image="k8slab/app")
    # Liveness counts from the first start of the program, which may not listen yet.
    startup = {**probe, "failureThreshold": 30}
    made["spec"]["containers"][0] |= {
        "startupProbe": startup,
        "livenessProbe": probe,
        "readinessProbe": probe,
    }
    lab.apply([made], namespace=SPACE)
    lab.wait("pods", "strict", SPACE)
    version = lab.request("GET", "/api/v1/nodes")["metadata"]["resourceVersion"]
    os.kill(daemon, signal.SIGSTOP)
    try:
        select.select([], [], [], STANDSTILL)  # what passes is the fault itself
    finally:
        os.kill(daemon, signal.SIGCONT)
    # Two periods later each probe has been made again.
    seen = Client(lab)
    seen.ask(f"/api/v1/nodes?watch=1&resourceVersion={version}&timeoutSeconds=3")
    data = b""
    while piece := seen.socket.recv(1 << 16):
        data += piece
        if data.endswith(b"0\r\n\r\n"):
            break
    seen.socket.close()
    assert b'"NodeStatusUnknown"' not in data
    assert {conditions(node)["Ready"] for node in lab.list("nodes")} == {"True"}
    found = lab.get("pods", "strict", SPACE)
    assert conditions(found)["Ready"] == "True"
    assert found["status"]["containerStatuses"][0]["restartCount"] == 0
    events = lab.list("events", SPACE)
    assert [e["message"] for e in events if e["reason"] in ("Unhealthy", "Killing")] == []
