"""An admission webhook on this machine's loopback, where the dialer of the tests leads to."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from k8slab.challenges.certificates import certificate_words

SPACE, SERVICE = "guard", "hook"
HOST = f"{SERVICE}.{SPACE}.svc"
GROUP = "admissionregistration.k8s.io/v1"


def allow(**more):
    return {"allowed": True, **more}


def deny(message="", **status):
    return {"allowed": False, "status": {"message": message, **status}}


def patch(*operations, **more):
    text = base64.b64encode(json.dumps(operations).encode()).decode()
    return allow(patch=text, patchType="JSONPatch", **more)


def label(key, value="yes"):
    """Add a label to an object that has labels."""
    return patch({"op": "add", "path": f"/metadata/labels/{key}", "value": value})


class Hook:
    """What it was asked, in order, and what it answers: a function of the request, by path."""

    def __init__(self, port, authority):
        self.port, self.authority = port, authority
        self.asked = []
        self.answers = {}

    def requests(self, path=None):
        return [request for where, request in self.asked if path in (None, where)]

    def spec(self, name, path, *, operations=("CREATE",), resources=("configmaps",), **more):
        """Return a webhook for a configuration that leads here."""
        groups = more.pop("groups", [""])
        rule = {"operations": [*operations], "resources": [*resources]}
        rule |= {"apiGroups": groups, "apiVersions": more.pop("versions", ["v1"])}
        rule |= {"scope": more.pop("scope")} if "scope" in more else {}
        service = {"name": SERVICE, "namespace": SPACE, "port": self.port, "path": path}
        return {
            "name": f"{name}.example.com",
            "clientConfig": {"service": service, "caBundle": self.authority},
            "rules": [rule],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 30,
            **more,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        hook = self.server.hook
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        request = review["request"] | {"url": self.path, "host": self.headers["Host"]}
        hook.asked.append((path, request))
        answer = hook.answers.get(path, lambda _: allow())(request)
        if isinstance(answer, tuple):
            status, body = answer
        else:
            response = {"uid": request["uid"], **answer}
            status = 200
            body = json.dumps(
                {
                    "kind": "AdmissionReview",
                    "apiVersion": "admission.k8s.io/v1",
                    "response": response,
                }
            ).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Say nothing: clients that break off are part of the tests."""


@contextmanager
def running(directory, *, tls=True):
    """Run a webhook; yields its `Hook`."""
    words = certificate_words("7", HOST)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hook = Hook(server.server_address[1], words["authority"])
    if tls:
        for word in ("certificate", "key"):
            (directory / word).write_bytes(base64.b64decode(words[word]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "certificate", directory / "key")
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.hook
    server.shutdown()
    thread.join()
    server.server_close()


def configuration(name, *webhooks, kind="Validating"):
    return {
        "apiVersion": GROUP,
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [*webhooks],
    }


def path_of(kind, name=""):
    return f"/apis/{GROUP}/{kind.lower()}webhookconfigurations/{name}".rstrip("/")


def config_map(name="x", **data):
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": {"app": name}},
        "data": data,
    }
