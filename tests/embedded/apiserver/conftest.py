"""An Api on a fresh store, and a served one with clients that speak HTTP and kubectl."""

from __future__ import annotations

import asyncio
import http.client
import json
import resource
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from k8slab.embedded.apiserver import pki
from k8slab.embedded.apiserver import server as server_module
from k8slab.embedded.apiserver.api import Api
from k8slab.embedded.apiserver.server import serve
from k8slab.embedded.apiserver.store import Store
from k8slab.embedded.config import ClusterConfig
from tests.embedded.apiserver.webhook_kit import SERVICE, SPACE, configuration, path_of, running

if TYPE_CHECKING:
    from pathlib import Path


def made_api(directory: Path) -> Api:
    api = Api(Store(directory / "store.sqlite"), ClusterConfig())
    for name in ("default", "kube-system"):
        if api.get("namespaces", name) is None:
            api.create("namespaces", {"metadata": {"name": name}})
    return api


@pytest.fixture
def api(tmp_path):
    api = made_api(tmp_path)
    yield api
    api.store.close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Dialer:
    """`PodBackend` whose pods all listen on this machine's loopback."""

    async def dial(self, address, port):
        return await asyncio.open_connection("127.0.0.1", port)


class Served:
    """A server on its own thread and loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = ClusterConfig()
        pki.ensure_pki(directory / "pki", self.config)
        self.api = made_api(directory)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(pki.kubeconfig_text(directory / "pki", "test", self.url))
        self.context = pki.client_context(directory / "pki")
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self._server = self.run(self._serve())
        self._client = self.connect()

    async def _serve(self):
        return await serve(
            self.api,
            config=self.config,
            pki_directory=self.directory / "pki",
            sockets=[self._listener],
            pods=Dialer(),
            lab=None,
        )

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def call(self, function, *args, **kwargs):
        """Call an Api method on the loop's thread, where it belongs."""

        async def called():
            return function(*args, **kwargs)

        return self.run(called())

    def connect(self, context=None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=context or self.context, timeout=60
        )

    def request(self, method, path, body=None, *, kind="application/json", **headers) -> Answer:
        if body is not None and not isinstance(body, str | bytes):
            body = json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        # One connection for all requests; http.client opens it anew when the server closed it.
        self._client.request(method, path, body, {"Content-Type": kind, **named})
        response = self._client.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())

    def kubectl(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess:
        return subprocess.run(
            [
                "kubectl",
                f"--kubeconfig={self.kubeconfig}",
                f"--cache-dir={self.directory}/cache",
                *args,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def close(self) -> None:
        self._client.close()
        self.run(self._server.close())

        async def drained():
            pending = asyncio.all_tasks() - {asyncio.current_task()}
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            # Transports close in the next turns of the loop.
            for _ in range(5):
                await asyncio.sleep(0)

        self.run(drained())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        self.api.store.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("server"))
    yield served
    served.close()


@pytest.fixture(scope="module")
def small_server(tmp_path_factory):
    """A server whose limit of open files leaves room for eight connections."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resource, "getrlimit", lambda _: (16, 16))
        patch.setattr(server_module, "TOLD", 2)
        served = Served(tmp_path_factory.mktemp("small"))
    yield served
    served.close()


@pytest.fixture
def namespace(server, request):
    """A namespace of this test's own."""
    name = f"t{abs(hash(request.node.nodeid)) % 10**12}"
    server.call(server.api.create, "namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture
def stranger(server):
    """Send requests without a certificate."""
    context = ssl.create_default_context(cafile=str(server.directory / "pki" / "ca.crt"))

    def request(method, path, token="", body=None, **more):
        connection = server.connect(context)
        headers = {"Content-Type": "application/json", **more}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    return request


@pytest.fixture
def token(server, namespace):
    """Ask for a token of a service account, which is made if needed; returns the answer."""

    def token_of(space=namespace, account="default", **spec):
        if server.call(server.api.get, "serviceaccounts", account, space) is None:
            obj = {"metadata": {"name": account, "namespace": space}}
            server.call(server.api.create, "serviceaccounts", obj)
        path = f"/api/v1/namespaces/{space}/serviceaccounts/{account}/token"
        return server.request("POST", path, {"spec": spec})

    return token_of


@pytest.fixture(scope="module")
def served_hook(server, tmp_path_factory):
    with running(tmp_path_factory.mktemp("hook")) as hook:
        for name in (SPACE, "elsewhere"):
            server.call(server.api.create, "namespaces", {"metadata": {"name": name}})
        ports = [{"port": hook.port, "targetPort": hook.port}]
        service = {"metadata": {"name": SERVICE, "namespace": SPACE}, "spec": {"ports": ports}}
        server.call(server.api.create, "services", service)
        yield hook


@pytest.fixture
def hook(server, served_hook):
    """A webhook that nobody has configured yet; what is configured goes with the test."""
    served_hook.asked.clear()
    served_hook.answers.clear()
    yield served_hook
    for kind in ("Validating", "Mutating"):
        server.request("DELETE", path_of(kind))


@pytest.fixture
def configure(server):
    def configured(name, *webhooks, kind="Validating"):
        made = server.request("POST", path_of(kind), configuration(name, *webhooks, kind=kind))
        assert made.status == 201, made.data

    return configured


@pytest.fixture
def at(namespace):
    return f"/api/v1/namespaces/{namespace}"


@pytest.fixture
def kubectl(server):
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl here")
    return server.kubectl


def pod(name="web", namespace="default", **spec) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "main", "image": "nginx"}], **spec},
    }


def deployment(name="web", namespace="default", **spec) -> dict:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "nginx"}]},
            },
            **spec,
        },
    }


@pytest.fixture
def make_pod():
    return pod


@pytest.fixture
def make_deployment():
    return deployment
