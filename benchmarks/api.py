"""The API server of a whole cluster, under one client and under many.

The daemon is a process of its own and this one is its client: kept TLS connections with the
administrator's certificate, requests written beforehand, so that what is measured is the server
and the way there and back. What runs in the cluster beside it is what always does.

    get       one pod, one request after the other on one connection
    list      1,000 pods as JSON, from the request to the last byte
    creates   ConfigMaps, 16 connections with one request each under way
    pods      the same with pods that no scheduler takes (``schedulerName: nobody``)
    watch     1,000 connections watch ConfigMaps; from the answer to a create until the last of
              them has read the event (both processes share the machine's cores)
"""

import json
import resource
import select
import socket
import time
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from cluster import state
from harness import Limits, bench

from k8slab import clusters

PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
ENDED = b"\r\n\r\n"


class Connection:
    """One kept connection; what a turn needs of HTTP, and nothing that takes time."""

    def __init__(self, address, context):
        raw = socket.create_connection(address)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw, server_hostname=address[0])

    def ask(self, request):
        """Send a request; return status and body."""
        self.socket.sendall(request)
        return self.answer()

    def answer(self):
        """Read the answer to what was sent."""
        data = b""
        while ENDED not in data:
            data += self._more()
        head, _, body = data.partition(ENDED)
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        pieces, missing = [body], length - len(body)
        while missing > 0:
            pieces.append(self._more())
            missing -= len(pieces[-1])
        return int(head[9:12]), b"".join(pieces)

    def _more(self):
        data = self.socket.recv(1 << 16)
        assert data, "the server closed the connection"
        return data


def written(method, path, body=None):
    """Return a request as bytes."""
    data = json.dumps(body).encode() if body else b""
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: kubernetes",
        "Accept: application/json",
        "User-Agent: bench/1",
    ]
    if data:
        head += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join(head).encode() + ENDED + data


@contextmanager
def client():
    """Start a cluster; give a function that opens a connection to its API."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with state(), ExitStack() as opened:
        rest = clusters.up().rest

        def connect():
            server = urlsplit(rest.credentials.server)
            made = Connection((server.hostname, server.port), rest.ssl_context)
            opened.callback(made.socket.close)
            return made

        yield connect


def config_map(name):
    return written("POST", CONFIG_MAPS, {"metadata": {"name": name}, "data": {"key": "value"}})


def idle_pod(name):
    container = {
        "name": "main",
        "image": "k8slab/app",
        "env": [{"name": "MODE", "value": "web"}],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
    }
    spec = {"schedulerName": "nobody", "containers": [container]}
    labels = {"app": "bench", "name": name}
    return written("POST", PODS, {"metadata": {"name": name, "labels": labels}, "spec": spec})


def made(connection, requests):
    """Create objects, one after the other."""
    for request in requests:
        status, body = connection.ask(request)
        assert status == 201, body


@bench("get", "get of one pod", Limits("ms", 3, 0.3, reach_p99=10, aim_p99=5))
def get():
    with client() as connect:
        connection = connect()
        made(connection, [idle_pod("one")])
        request = written("GET", f"{PODS}/one")
        for number in range(5500):
            began = time.perf_counter()
            status, _ = connection.ask(request)
            took = time.perf_counter() - began
            assert status == 200
            if number >= 500:
                yield took * 1000


@bench("list", "list of 1,000 pods", Limits("ms", 80, 20))
def list_pods():
    with client() as connect:
        connection = connect()
        made(connection, (idle_pod(f"pod-{number}") for number in range(1000)))
        request = written("GET", PODS)
        for _ in range(100):
            began = time.perf_counter()
            status, body = connection.ask(request)
            yield (time.perf_counter() - began) * 1000
            assert status == 200
        assert len(json.loads(body)["items"]) == 1000


def rates(connect, request_of, *, rounds=5, count=2000, width=16):
    """Yield how many objects a second were created, in each of some rounds."""
    connections = {}
    poll = select.epoll()
    for _ in range(width):
        connection = connect()
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    for turn in range(rounds):
        requests = iter([request_of(f"r{turn}-{number}") for number in range(count)])
        began, done = time.perf_counter(), 0
        for connection in connections.values():
            connection.socket.sendall(next(requests))
        while done < count:
            for number, _ in poll.poll():
                status, body = connections[number].answer()
                assert status == 201, body
                done += 1
                if request := next(requests, None):
                    connections[number].socket.sendall(request)
        yield count / (time.perf_counter() - began)
    poll.close()


@bench("creates", "ConfigMaps created, each", Limits("ms", 2.5, 0.5))
def creates():
    with client() as connect:
        yield from (1000 / rate for rate in rates(connect, config_map))


@bench("pod-creates", "pods created (not scheduled), each", Limits("ms", 2.5, 0.5))
def pod_creates():
    with client() as connect:
        yield from (1000 / rate for rate in rates(connect, idle_pod, count=1000))


WATCHERS = 1000


class Watchers:
    """Many connections that watch; `wait` returns when all have read an event."""

    def __init__(self, connect):
        status, body = connect().ask(written("GET", f"{CONFIG_MAPS}?limit=1"))
        assert status == 200, body
        revision = json.loads(body)["metadata"]["resourceVersion"]
        request = written("GET", f"{CONFIG_MAPS}?watch=1&resourceVersion={revision}")
        self._poll = select.epoll()
        self._sockets = {}
        for _ in range(WATCHERS):
            opened = connect().socket
            opened.sendall(request)
            head = b""
            while ENDED not in head:
                head += opened.recv(1 << 16)
            self._sockets[opened.fileno()] = opened
            self._poll.register(opened, select.EPOLLIN)

    def wait(self, word):
        """Read until every watcher has read an event with this word in it."""
        missing = set(self._sockets)
        while missing:
            ready = self._poll.poll(timeout=10)
            assert ready, f"{len(missing)} watchers were not told"
            for number, _ in ready:
                opened = self._sockets[number]
                data = opened.recv(1 << 16)
                while opened.pending():
                    data += opened.recv(1 << 16)
                if word in data:
                    missing.discard(number)


@bench("watch", "one event told to 1,000 watchers", Limits("ms", 100, 20))
def watch():
    with client() as connect:
        writer, watchers = connect(), Watchers(connect)
        for number in range(55):
            request = config_map(f"told-{number}")
            status, body = writer.ask(request)
            began = time.perf_counter()
            assert status == 201, body
            watchers.wait(f'"told-{number}"'.encode())
            if number >= 5:
                yield (time.perf_counter() - began) * 1000
