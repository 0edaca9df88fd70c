"""The ``proxy`` subresources: requests that go on to a pod, which here listens on loopback."""

import gc
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.embedded.processes import free_port


class Echo(BaseHTTPRequestHandler):
    """Answer with what was asked."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        asked = {
            "method": self.command,
            "path": self.path,
            "headers": {key.lower(): value for key, value in self.headers.items()},
            "body": self.rfile.read(length).decode(),
        }
        body = json.dumps(asked).encode()
        self.send_response(418 if self.path.startswith("/teapot") else 200)
        self.send_header("Content-Type", "application/x-echo")
        self.send_header("X-Pod", "web")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (body[:10], body[10:]):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815


@pytest.fixture
def port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pod(server, namespace, port):
    """Have a pod with an address and a port; returns the path of its objects."""
    container = {"name": "web", "image": "web", "ports": [{"containerPort": port}]}
    made = server.call(
        server.api.create,
        "pods",
        {"metadata": {"name": "web", "namespace": namespace}, "spec": {"containers": [container]}},
    )
    status = {**made["status"], "podIP": "10.244.1.2"}
    server.call(server.api.update_status, "pods", {**made, "status": status})
    return f"/api/v1/namespaces/{namespace}"


def served(server, namespace, port, *, ready=True):
    """Have a Service with one endpoint."""
    spec = {"ports": [{"name": "http", "port": 80}]}
    for resource, obj in (
        ("services", {"metadata": {"name": "web"}, "spec": spec}),
        (
            "endpointslices.discovery.k8s.io",
            {
                "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": port}],
                "endpoints": [{"addresses": ["10.244.1.2"], "conditions": {"ready": ready}}],
            },
        ),
    ):
        obj["metadata"]["namespace"] = namespace
        server.call(server.api.create, resource, obj)


def test_method_path_query_body_and_answer_pass_through(server, pod, port):
    answer = server.request("POST", f"{pod}/pods/web:{port}/proxy/a%20b/c?x=1&x=2&y=", "hello")
    asked = answer.json
    assert (asked["method"], asked["path"], asked["body"]) == (
        "POST",
        "/a%20b/c?x=1&x=2&y=",
        "hello",
    )
    assert answer.headers["X-Pod"] == "web"
    assert answer.headers["Content-Type"] == "application/x-echo"
    assert asked["headers"]["host"] == f"10.244.1.2:{port}"
    assert server.request("GET", f"{pod}/pods/web/proxy/teapot").status == 418  # its first port


def test_credentials_do_not_reach_the_pod(server, pod):
    answer = server.request(
        "GET",
        f"{pod}/pods/web/proxy/",
        Authorization="Basic secret",
        Impersonate_User="somebody",
        Impersonate_Group="system:masters",
    )
    named = answer.json["headers"]
    assert not [name for name in named if name.startswith(("impersonate", "authorization"))]


def test_without_a_path_the_client_is_sent_to_the_root(server, pod):
    answer = server.request("GET", f"{pod}/pods/web/proxy")
    assert answer.status == 301
    assert answer.headers["Location"] == f"{pod}/pods/web/proxy/"


@pytest.mark.parametrize("name", ["web:80", "web:http", "http:web:80"])
def test_a_service_leads_to_an_endpoint_by_number_or_name_of_its_port(
    server, namespace, pod, port, name
):
    served(server, namespace, port)
    answer = server.request("GET", f"{pod}/services/{name}/proxy/x")
    assert (answer.status, answer.json["path"]) == (200, "/x")


def test_a_service_without_the_port_or_without_endpoints_is_unavailable(
    server, namespace, pod, port
):
    served(server, namespace, port, ready=False)
    wrong = server.request("GET", f"{pod}/services/web:81/proxy/")
    assert (wrong.status, wrong.json["reason"]) == (503, "ServiceUnavailable")
    assert wrong.json["message"] == 'no service port 81 found for service "web"'
    none = server.request("GET", f"{pod}/services/web:80/proxy/")
    assert none.json["message"] == 'no endpoints available for service "web"'


def test_a_pod_that_refuses_is_told_as_a_real_server_does(server, pod):
    closed = free_port()
    answer = server.request("GET", f"{pod}/pods/web:{closed}/proxy/")
    assert answer.status == 503
    assert answer.json["message"] == (
        f"error trying to reach service: dial tcp 10.244.1.2:{closed}: connect: connection refused"
    )


def test_the_subresource_is_a_right_of_its_own(server, namespace, pod, stranger, token):
    words = {"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}
    space = {"namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    server.call(
        server.api.create,
        f"roles.{rbac}",
        {"metadata": {"name": "r", **space}, "rules": [words]},
    )
    bound = {
        "metadata": {"name": "r", **space},
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", **space}],
    }
    server.call(server.api.create, f"rolebindings.{rbac}", bound)
    status, body = stranger("GET", f"{pod}/pods/web/proxy/", token().json["status"]["token"])
    assert status == 403
    assert 'cannot get resource "pods/proxy"' in body["message"]


def test_an_upgraded_connection_is_handed_through(server, namespace, pod):
    listener = socket.create_server(("127.0.0.1", 0))

    def talk():
        peer, _ = listener.accept()
        with peer:
            head = peer.recv(65536)
            assert b"Upgrade: chat" in head or b"upgrade: chat" in head
            peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\n\r\n")
            peer.sendall(peer.recv(100).upper())

    thread = threading.Thread(target=talk)
    thread.start()
    number = listener.getsockname()[1]
    raw = server.connect()
    raw.connect()
    path = f"{pod}/pods/web:{number}/proxy/chat"
    raw.sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n".encode()
    )
    said = raw.sock.recv(1000)
    assert said.startswith(b"HTTP/1.1 101 ")
    server.call(gc.collect)  # nothing but the event loop knows who waits for the next word
    raw.sock.sendall(b"hello")
    assert raw.sock.recv(100) == b"HELLO"
    raw.close()
    thread.join(10)
    listener.close()
