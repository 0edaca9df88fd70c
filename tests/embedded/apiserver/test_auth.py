"""Certificates, tokens, and what each may do."""

from __future__ import annotations

import base64
import stat

import pytest

from k8slab.embedded import clock
from k8slab.embedded.apiserver import pki


def test_nothing_is_answered_to_a_stranger(stranger):
    for path in ("/version", "/healthz", "/api/v1/pods", "/nothing"):
        status, body = stranger("GET", path)
        assert (status, body["reason"], body["message"]) == (401, "Unauthorized", "Unauthorized")


@pytest.mark.parametrize("word", ["x", "a.b.c", "..", "é.é.é", "eyJhbGciOiJub25lIn0.e30."])
def test_a_forged_token_is_refused(stranger, word):
    token = base64.urlsafe_b64encode(word.encode()).decode() if not word.isascii() else word
    assert stranger("GET", "/version", token)[0] == 401


def test_a_service_account_is_who_its_token_says(server, stranger, token, namespace):
    made = token()
    assert made.status == 201
    word = made.json["status"]["token"]
    status, body = stranger(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", word, {"spec": {}}
    )
    assert status in (201, 400)
    status, body = stranger(
        "POST",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        word,
        {"kind": "SelfSubjectReview"},
    )
    assert body["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"
    review = server.request(
        "POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": word}}
    ).json
    assert review["status"]["authenticated"] is True


def test_a_plain_service_account_may_only_discover(stranger, token, namespace):
    word = token().json["status"]["token"]
    assert stranger("GET", "/api", word)[0] == 200
    status, body = stranger("GET", f"/api/v1/namespaces/{namespace}/pods", word)
    assert status == 403
    assert body["message"] == (
        f'pods is forbidden: User "system:serviceaccount:{namespace}:default" cannot list resource '
        f'"pods" in API group "" in the namespace "{namespace}"'
    )
    assert stranger("GET", "/apis/lab.k8slab.dev/v1/cluster", word)[0] == 403


def test_a_token_ends_with_its_account_or_pod(server, stranger, token, namespace, make_pod):
    word = token(account="short").json["status"]["token"]
    assert stranger("GET", "/api", word)[0] == 200
    server.call(server.api.delete, "serviceaccounts", "short", namespace)
    assert stranger("GET", "/api", word)[0] == 401
    server.call(server.api.create, "pods", make_pod(namespace=namespace))
    word = token(boundObjectRef={"kind": "Pod", "name": "web"}).json["status"]["token"]
    assert stranger("GET", "/api", word)[0] == 200
    server.call(server.api.delete, "pods", "web", namespace)
    assert stranger("GET", "/api", word)[0] == 401


def test_a_token_is_bound_to_a_node_or_tells_that_of_its_pod(
    server, stranger, token, namespace, make_pod
):
    made = {"metadata": {"name": "n1"}}
    uid = server.call(server.api.create, "nodes", made)["metadata"]["uid"]
    pod = make_pod(namespace=namespace)
    pod["spec"]["nodeName"] = "n1"
    server.call(server.api.create, "pods", pod)
    told = {
        "authentication.kubernetes.io/node-name": ["n1"],
        "authentication.kubernetes.io/node-uid": [uid],
    }
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    for kind, name in (("Pod", "web"), ("Node", "n1")):
        word = token(boundObjectRef={"kind": kind, "name": name}).json["status"]["token"]
        extra = stranger("POST", review, word, {"metadata": {}})[1]["status"]["userInfo"]["extra"]
        assert told.items() <= extra.items()
    server.call(server.api.delete, "nodes", "n1")
    assert stranger("GET", "/api", word)[0] == 401


@pytest.mark.parametrize(
    ("reference", "code", "words"),
    [
        (
            {"kind": "Pod", "name": "web", "uid": "x"},
            409,
            (
                'Operation cannot be fulfilled on Pod "web": the UID in the bound object reference '
                "(x) does not match the UID in record. The object might have been deleted and then "
                "recreated"
            ),
        ),
        (
            {"kind": "ConfigMap", "name": "x"},
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
    ],
)
def test_what_a_token_cannot_be_bound_to_is_told(
    server, token, namespace, make_pod, reference, code, words
):
    server.call(server.api.create, "pods", make_pod(namespace=namespace))
    answer = token(boundObjectRef=reference)
    assert (answer.status, answer.json["message"]) == (code, words)


def test_a_token_that_is_too_short_lived_is_refused(token):
    answer = token(expirationSeconds=5)
    assert answer.status == 422
    assert "may not specify a duration less than 10 minutes" in answer.json["message"]


def test_an_expired_token_is_worth_nothing(server):
    tokens = pki.Tokens(server.directory / "pki")
    assert tokens.verify(tokens.sign("default", "x", {}, seconds=-5)) is None
    assert tokens.verify(tokens.sign("default", "x", {}, seconds=5))
    assert tokens.verify(tokens.sign("default", "x", {}, seconds=5, audiences=["vault"])) is None


def test_a_token_lives_its_time_whatever_the_machines_clock_is_set_to(server, monkeypatch):
    ahead, passed = [0.0], [0.0]
    made = clock.Clock(lambda: 1e9 + ahead[0] + passed[0], lambda: passed[0])
    monkeypatch.setattr(clock, "CLOCK", made)
    tokens = pki.Tokens(server.directory / "pki")
    token = tokens.sign("default", "x", {}, seconds=600)
    for jump in (3600, -7200, 3600):
        ahead[0] += jump
        assert tokens.verify(token)
    passed[0] += 599
    assert tokens.verify(token)
    passed[0] += 1
    assert tokens.verify(token) is None


def test_keys_are_private_and_stay_the_same(server):
    directory = server.directory / "pki"
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    pki.ensure_pki(directory, server.config)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_token_for_others_is_worth_nothing_here_and_reviewed_for_them(server, stranger, token):
    word = token(audiences=["vault"]).json["status"]["token"]
    assert stranger("GET", "/api", word)[0] == 401

    def review(*audiences):
        spec = {"token": word, **({"audiences": list(audiences)} if audiences else {})}
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        return server.request("POST", path, {"spec": spec}).json["status"]

    assert review()["error"] == "invalid bearer token"
    assert review("vault", "x")["audiences"] == ["vault"]


def test_a_review_needs_a_token(server):
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    refused = server.request("POST", path, {"spec": {}})
    assert refused.status == 400
    assert refused.json["message"] == "token is required for TokenReview in authentication"


def test_a_secrets_token_is_good_while_the_secret_holds_it(server, stranger, namespace):
    account = {"metadata": {"name": "a", "namespace": namespace}}
    made = server.call(server.api.create, "serviceaccounts", account)
    tokens = pki.Tokens(server.directory / "pki")
    word = tokens.sign_for_secret(namespace, "a", made["metadata"]["uid"], "kept")
    assert stranger("GET", "/api", word)[0] == 401
    secret = {
        "metadata": {
            "name": "kept",
            "namespace": namespace,
            "annotations": {"kubernetes.io/service-account.name": "a"},
        },
        "type": "kubernetes.io/service-account-token",
        "stringData": {"token": word},
    }
    server.call(server.api.create, "secrets", secret)
    assert stranger("GET", "/api", word)[0] == 200
    server.call(server.api.delete, "secrets", "kept", namespace)
    assert stranger("GET", "/api", word)[0] == 401


def test_a_token_secret_must_name_its_account(server, namespace):
    body = {"metadata": {"name": "x"}, "type": "kubernetes.io/service-account-token"}
    answer = server.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    assert answer.json["message"] == (
        'Secret "x" is invalid: metadata.annotations[kubernetes.io/service-account.name]: '
        "Required value"
    )


@pytest.mark.parametrize(
    ("account", "pod", "mounted"),
    [(None, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_the_pod_has_the_last_word_on_its_token(api, make_pod, account, pod, mounted):
    metadata = {"name": "a", "namespace": "default"}
    made = {"metadata": metadata}
    if account is not None:
        made["automountServiceAccountToken"] = account
    api.create("serviceaccounts", made)
    spec = {} if pod is None else {"automountServiceAccountToken": pod}
    created = api.create("pods", make_pod(serviceAccountName="a", **spec))
    assert bool(created["spec"].get("volumes")) is mounted
