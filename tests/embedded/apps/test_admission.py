"""``agnhost webhook``: what it answers, over real HTTPS."""

import base64
import http.client
import json
import ssl

import pytest

from k8slab.challenges.certificates import certificate_words
from k8slab.embedded.apps.admission import FOREVER, AdmissionWebhook
from k8slab.embedded.apps.messages import Request
from k8slab.embedded.apps.settings import read_settings
from k8slab.errors import UsageError
from tests.embedded.apps.conftest import running
from tests.embedded.processes import free_port

HOST = "hook.guard.svc"


def pod(name="web", labels=None, containers=("main",)):
    return {
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
        "spec": {"containers": [{"name": one} for one in containers]},
    }


def answer(path, obj=None, webhook=None, **asked):
    request = {"uid": "7", "operation": "CREATE", "object": obj, "oldObject": None, **asked}
    review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
    message = Request(
        method="POST", target=path, version="HTTP/1.1", headers=(), body=json.dumps(review).encode()
    )
    return (webhook or AdmissionWebhook())(message)


def response(path, obj=None, webhook=None, **asked):
    made = json.loads(answer(path, obj, webhook, **asked).body)
    assert (made["kind"], made["apiVersion"]) == ("AdmissionReview", "admission.k8s.io/v1")
    assert made["response"].pop("uid") == "7"
    return made["response"]


def patch_of(made):
    assert (made["allowed"], made["patchType"]) == (True, "JSONPatch")
    return json.loads(base64.b64decode(made["patch"]))


def test_it_denies_everything_where_it_is_asked_to():
    status = {"message": "this webhook denies all requests"}
    assert response("/always-deny", pod()) == {"allowed": False, "status": status}


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (None, {"op": "add", "path": "/metadata/labels", "value": {"added-label": "yes"}}),
        ({"a": "b"}, {"op": "add", "path": "/metadata/labels/added-label", "value": "yes"}),
        (
            {"added-label": "no"},
            {"op": "replace", "path": "/metadata/labels/added-label", "value": "yes"},
        ),
    ],
)
def test_it_adds_a_label_to_whatever_there_is(labels, wanted):
    assert patch_of(response("/add-label", pod(labels=labels))) == [wanted]
    assert response("/add-label", pod(labels={"added-label": "yes"})) == {"allowed": True}


def test_it_refuses_pods_by_a_label_and_by_the_name_of_a_container():
    assert response("/pods", pod()) == {"allowed": True}
    label = {"webhook-e2e-test": "webhook-disallow"}
    made = response("/pods", pod(labels=label, containers=["webhook-disallow-me"]))
    message = "the pod contains unwanted label; the pod contains unwanted container name;"
    assert made == {"allowed": False, "status": {"message": message}}


def test_it_lets_wait_for_an_answer():
    assert answer("/always-allow-delay-5s", pod()).delay == 5.0
    label = {"webhook-e2e-test": "wait-forever"}
    assert answer("/pods", pod(labels=label)).delay == FOREVER
    assert answer("/pods", pod()).delay == 0


def test_it_adds_a_container_of_the_image_it_was_given():
    made = response("/mutating-pods-sidecar", pod(), AdmissionWebhook("nginx"))
    (operation,) = patch_of(made)
    assert operation["path"] == "/spec/containers/-"
    assert operation["value"] == {
        "image": "nginx",
        "name": "webhook-added-sidecar",
        "resources": {},
    }
    assert response("/mutating-pods-sidecar", pod())["status"]["code"] == 500
    (operation,) = patch_of(response("/mutating-pods", pod("webhook-to-be-mutated")))
    assert operation["value"][0]["name"] == "webhook-added-init-container"
    assert response("/mutating-pods", pod("another")) == {"allowed": True}


def test_it_refuses_to_make_some_data_and_to_delete_other():
    bad, kept = (
        {"data": {"webhook-e2e-test": f"webhook-{w}"}} for w in ("disallow", "nondeletable")
    )
    reason = "the configmap contains unwanted key and value"
    assert response("/configmaps", bad)["status"] == {"reason": reason}
    assert response("/configmaps", kept) == {"allowed": True}
    assert not response("/configmaps", None, operation="DELETE", oldObject=kept)["allowed"]
    assert response("/configmaps", None, operation="DELETE", oldObject=bad) == {"allowed": True}


def test_it_changes_data_in_two_stages():
    first = {"data": {"mutation-start": "yes"}}
    (operation,) = patch_of(response("/mutating-configmaps", first))
    assert operation["path"] == "/data/mutation-stage-1"
    second = {"data": {"mutation-start": "yes", "mutation-stage-1": "yes"}}
    (operation,) = patch_of(response("/mutating-configmaps", second))
    assert operation["path"] == "/data/mutation-stage-2"


def test_it_refuses_to_be_attached_to_one_pod():
    options = {"stdin": True, "container": "container1"}
    assert not response("/pods/attach", options, name="to-be-attached-pod")["allowed"]
    assert response("/pods/attach", options, name="another")["allowed"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"request": {"uid": "7"}}'])
def test_what_is_no_review_is_a_bad_request(body):
    message = Request(method="POST", target="/pods", version="HTTP/1.1", headers=(), body=body)
    assert AdmissionWebhook()(message).status == 400


def test_without_a_certificate_it_does_not_start():
    with pytest.raises(UsageError, match="--tls-cert-file"):
        read_settings(["--mode", "agnhost", "webhook", "--port=8443"], {})


def test_it_listens_by_tls_as_the_image_does(tmp_path):
    words = certificate_words("1", HOST)
    for word, data in words.items():
        (tmp_path / word).write_bytes(base64.b64decode(data))
    port = free_port()
    argv = ["--mode", "agnhost", "webhook", f"--port={port}"]
    argv += [f"--tls-cert-file={tmp_path / 'certificate'}"]
    argv += [f"--tls-private-key-file={tmp_path / 'key'}"]
    context = ssl.create_default_context(cadata=base64.b64decode(words["authority"]).decode())
    context.check_hostname = False
    with running("k8slab.embedded.apps.web", *argv, environment={}):
        client = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
        client.request("GET", "/readyz")
        assert client.getresponse().read() == b"ok\n"
        client.request("GET", "/nowhere")
        assert client.getresponse().status == 404
        client.close()
