"""A small API server in this process: enough of the conventions to test a client against."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from k8slab.clusters.cluster import Cluster


class FakeApi:
    def __init__(self):
        self.objects = {}
        self.events = []
        self.requests = []
        self.answers = {}  # path: (code, body) that replaces what would be answered
        self.gone_once = False
        self.changed = threading.Condition()
        self.closing = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def put(self, path, obj):
        """Store an object under its path and tell the watchers."""
        with self.changed:
            kind = "MODIFIED" if path in self.objects else "ADDED"
            revision = str(len(self.events) + 1)
            meta = {"uid": path, "resourceVersion": revision, **obj["metadata"]}
            self.objects[path] = {**obj, "metadata": meta}
            self.events.append((kind, path, self.objects[path]))
            self.changed.notify_all()

    def remove(self, path):
        with self.changed:
            self.events.append(("DELETED", path, self.objects.pop(path)))
            self.changed.notify_all()

    def close(self):
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _handler(api):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self._do()

            do_POST = do_PATCH = do_DELETE = do_PUT = do_GET  # noqa: N815

            def _do(self):
                url = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(url.query).items()}
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                api.requests.append((self.command, self.path, body, dict(self.headers)))
                if url.path in api.answers:
                    self._send(*api.answers[url.path])
                elif self.command == "PATCH":
                    api.put(url.path, body)
                    self._send(200, api.objects[url.path])
                elif self.command == "DELETE" and url.path in api.objects:
                    api.remove(url.path)
                    self._send(200, {"kind": "Status", "status": "Success"})
                elif url.path in api.objects:
                    self._send(200, api.objects[url.path])
                elif query.get("watch"):
                    self._watch(url.path, int(query["resourceVersion"]))
                elif url.path.endswith("s"):
                    self._list(url.path, query)
                else:
                    self._error(404, "NotFound")

            def _list(self, path, query):
                name = query.get("fieldSelector", "").removeprefix("metadata.name=")
                with api.changed:
                    items = [
                        obj
                        for key, obj in api.objects.items()
                        if key.rpartition("/")[0] == path
                        and (not name or obj["metadata"]["name"] == name)
                    ]
                    revision = str(len(api.events))
                self._send(200, {"metadata": {"resourceVersion": revision}, "items": items})

            def _watch(self, path, revision):
                if api.gone_once:
                    api.gone_once = False
                    return self._error(410, "Expired")
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Connection", "close")
                self.end_headers()
                while True:
                    with api.changed:
                        while not api.closing and len(api.events) <= revision:
                            api.changed.wait()
                        if api.closing:
                            return None
                        fresh, revision = api.events[revision:], len(api.events)
                    for kind, key, obj in fresh:
                        if key.rpartition("/")[0] == path:
                            line = json.dumps({"type": kind, "object": obj})
                            self.wfile.write(line.encode() + b"\n")

            def _error(self, code, reason):
                self._send(
                    code,
                    {"kind": "Status", "status": "Failure", "reason": reason, "message": reason},
                )

            def _send(self, code, value):
                data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
                self.send_response(code)
                kind = "text/plain" if isinstance(value, str) else "application/json"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        return Handler


@pytest.fixture
def api():
    server = FakeApi()
    yield server
    server.close()


def write_kubeconfig(path, server, **user):
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "lab",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": user}],
                "contexts": [
                    {"name": "lab", "context": {"cluster": "c", "user": "u"}},
                    {"name": "broken", "context": {"cluster": "missing", "user": "u"}},
                ],
            }
        )
    )
    return path


@pytest.fixture
def kubeconfig(api, tmp_path):
    return write_kubeconfig(tmp_path / "kubeconfig", api.url, token="secret")


@pytest.fixture
def cluster(kubeconfig):
    handle = Cluster("lab", provider="existing", kubeconfig=kubeconfig)
    yield handle
    handle.rest.close()


@pytest.fixture
def state_home(tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("K8SLAB_CLUSTER", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path / "state"
