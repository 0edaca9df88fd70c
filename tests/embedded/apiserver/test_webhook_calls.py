"""Calls to webhooks that come to nothing: what the client reads, and who is let through."""

import base64
import json
import threading

import pytest

from k8slab.challenges.certificates import certificate_words
from tests.embedded.apiserver.webhook_kit import (
    HOST,
    SERVICE,
    SPACE,
    allow,
    config_map,
    deny,
    patch,
    path_of,
    running,
)
from tests.embedded.processes import free_port


def failed(hook, why, *, path="/hook", posted=True, seconds=30, host=HOST, port=None):
    """Return the message of a real server."""
    url = f"https://{host}:{port or hook.port}{path}?timeout={seconds}s"
    call = f'Post "{url}": {why}' if posted else why
    return (
        'Internal error occurred: failed calling webhook "maps.example.com": '
        f"failed to call webhook: {call}"
    )


def service(server, name, port, **spec):
    ports = [{"port": port, "targetPort": port}]
    obj = {"metadata": {"name": name, "namespace": SPACE}, "spec": {"ports": ports, **spec}}
    server.call(server.api.create, "services", obj)


@pytest.fixture
def say(server, hook, configure, at):
    """Configure a webhook, changed as given, and return what a client of it is told."""

    def said(**client):
        spec = hook.spec("maps", "/hook")
        spec["timeoutSeconds"] = client.pop("seconds", 30)
        named = {key: client.pop(key) for key in ("name", "port") if key in client}
        spec["clientConfig"]["service"] |= named
        spec["clientConfig"] |= client
        configure("a", spec)
        made = server.request("POST", f"{at}/configmaps", config_map())
        return made.json.get("message", "") if made.status == 500 else made.status

    return said


def test_nobody_listens(server, hook, say):
    port = free_port()
    service(server, "nobody", port)
    address = server.call(server.api.get, "services", "nobody", SPACE)["spec"]["clusterIP"]
    why = f"dial tcp {address}:{port}: connect: connection refused"
    host = f"nobody.{SPACE}.svc"
    assert say(name="nobody", port=port) == failed(hook, why, host=host, port=port)


def test_there_is_no_such_service(hook, say):
    assert say(name="none") == failed(hook, 'service "none" not found', host=f"none.{SPACE}.svc")


def test_the_service_has_no_address_or_no_such_port(server, hook, say):
    service(server, "headless", hook.port, clusterIP="None")
    why = 'cannot route to service with ClusterIP "None"'
    assert say(name="headless") == failed(hook, why, host=f"headless.{SPACE}.svc")
    port = free_port()
    why = f'no service port {port} found for service "{SERVICE}"'
    server.request("DELETE", path_of("Validating"))
    assert say(port=port) == failed(hook, why, port=port)


@pytest.mark.parametrize("bundle", ["another authority", "none"])
def test_the_certificate_is_of_an_authority_that_nobody_trusts(hook, say, bundle):
    other = certificate_words("8", HOST)["authority"] if bundle != "none" else ""
    why = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    assert say(caBundle=other) == failed(hook, why)


def test_the_certificate_names_somebody_else(server, hook, say):
    service(server, "alias", hook.port)
    host = f"alias.{SPACE}.svc"
    why = f"tls: failed to verify certificate: x509: certificate is valid for {HOST}, not {host}"
    assert say(name="alias") == failed(hook, why, host=host)


def test_the_bundle_is_no_certificate(hook, say):
    said = say(caBundle=base64.b64encode(b"no PEM at all").decode())
    assert said.endswith(
        'failed calling webhook "maps.example.com": could not get REST client: '
        "unable to load root certificates: unable to parse bytes as PEM block"
    )


def test_the_server_speaks_no_tls(server, hook, say, tmp_path):
    with running(tmp_path, tls=False) as plain:
        service(server, "plain", plain.port)
        said = say(name="plain", port=plain.port)
    why = "http: server gave HTTP response to HTTPS client"
    assert said == failed(hook, why, host=f"plain.{SPACE}.svc", port=plain.port)


def test_the_answer_comes_too_late(hook, say):
    go_on = threading.Event()
    hook.answers["/hook"] = lambda _: allow() if go_on.wait(30) else deny("never")
    assert say(seconds=1) == failed(hook, "context deadline exceeded", seconds=1)
    go_on.set()


STATUSES = {
    404: "the server could not find the requested resource",
    500: 'an error on the server ("broken") has prevented the request from succeeding',
    503: "the server is currently unable to handle the request",
    302: ("the server responded with the status code 302 but did not return more information"),
}


@pytest.mark.parametrize("status", STATUSES)
def test_the_server_answers_something_else_than_200(hook, say, status):
    hook.answers["/hook"] = lambda _: (status, b"broken")
    assert say() == failed(hook, STATUSES[status], posted=False)


REVIEW = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}
WANTED = "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got "
WRONG = {
    "no JSON": (lambda _: (200, b"{"), "couldn't get version/kind"),
    "a list": (lambda _: (200, b"[]"), "the answer is no object"),
    "another kind": (
        lambda _: (200, json.dumps(REVIEW | {"kind": "Pod"}).encode()),
        "got admission.k8s.io/v1, Kind=Pod",
    ),
    "an old version": (
        lambda _: (200, json.dumps(REVIEW | {"apiVersion": "admission.k8s.io/v1beta1"}).encode()),
        WANTED + "admission.k8s.io/v1beta1, Kind=AdmissionReview",
    ),
    "no response": (
        lambda _: (200, json.dumps(REVIEW).encode()),
        "webhook response was absent",
    ),
    "another's uid": (lambda _: allow(uid="0"), 'got "0"'),
    "a patch, which it may not": (
        lambda _: patch({"op": "remove", "path": "/data"}),
        "validating webhook may not return response.patch",
    ),
    "neither yes nor no": (lambda _: {"allowed": "yes"}, "neither true nor false"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_answer_that_cannot_be_is_told(hook, say, case):
    hook.answers["/hook"], why = WRONG[case]
    said = say()
    head = 'failed calling webhook "maps.example.com": received invalid webhook response: '
    assert head in said
    assert why in said


PATCHES = {
    "without its type": ({"patch": "W10="}, "response.patch but not response.patchType"),
    "that is missing": ({"patchType": "JSONPatch"}, "patchType but not response.patch"),
    "of another type": ({"patch": "W10=", "patchType": "Merge"}, 'unsupported patch type "Merge"'),
    "that is no base64": ({"patch": "?", "patchType": "JSONPatch"}, "undecodable patch"),
}


@pytest.mark.parametrize("case", PATCHES)
def test_a_patch_that_cannot_be_read_is_told(server, hook, configure, at, case):
    response, why = PATCHES[case]
    configure("a", hook.spec("maps", "/hook"), kind="Mutating")
    hook.answers["/hook"] = lambda _: allow(**response)
    made = server.request("POST", f"{at}/configmaps", config_map())
    assert made.status == 500
    assert why in made.json["message"]


@pytest.mark.parametrize("kind", ["Validating", "Mutating"])
def test_failures_are_ignored_where_the_policy_says_so_and_refusals_are_not(
    server, hook, configure, at, kind
):
    configure("a", hook.spec("maps", "/hook", failurePolicy="Ignore"), kind=kind)
    hook.answers["/hook"] = lambda _: (500, b"broken")
    assert server.request("POST", f"{at}/configmaps", config_map()).status == 201
    hook.answers["/hook"] = lambda _: deny("no")
    assert server.request("POST", f"{at}/configmaps", config_map("y")).status == 400
    assert len(hook.asked) == 2


def test_a_webhook_outside_the_cluster_is_reached_by_its_address(server, hook, configure, at):
    spec = hook.spec("maps", "/hook")
    spec["clientConfig"] = {"url": f"https://127.0.0.1:{hook.port}/hook"}
    spec["clientConfig"]["caBundle"] = hook.authority
    configure("a", spec)
    made = server.request("POST", f"{at}/configmaps", config_map())
    why = "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs"
    assert made.json["message"].endswith(why)
    assert f'Post "https://127.0.0.1:{hook.port}/hook?timeout=30s": ' in made.json["message"]
