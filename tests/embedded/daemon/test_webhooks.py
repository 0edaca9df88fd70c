"""Admission webhooks in pods: asked by real packets, for clients and for controllers."""

import socket

import pytest

from k8slab.challenges.certificates import certificate_words
from k8slab.errors import ApiStatusError
from k8slab.grading.polling import Polling
from k8slab.objects import meta

SPACE = "guarded"
SECONDS = 60.0
PORT = 8443


def labelled(name, *args, **more):
    """Return a Deployment of one pod, labelled by its name."""
    labels = {"app": name, **more.pop("labels", {})}
    container = {"name": "main", "image": "k8slab/app", **more}
    if args:
        container["args"] = ["--mode=agnhost", *args]
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    if "volumeMounts" in more:
        spec["volumes"] = [{"name": "tls", "secret": {"secretName": name}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def policy(*sources):
    rules = [{"from": [{"ipBlock": {"cidr": cidr}}]} for cidr in sources]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "entering-hook"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "hook"}},
            "policyTypes": ["Ingress"],
            "ingress": rules,
        },
    }


def configuration(kind, path, authority):
    service = {"name": "hook", "namespace": SPACE, "path": path}
    here = {"matchLabels": {"kubernetes.io/metadata.name": SPACE}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    webhook = {
        "name": f"{kind.lower()}.example.com",
        "clientConfig": {"service": service, "caBundle": authority},
        "rules": [{"operations": ["CREATE"], **rule}],
        "namespaceSelector": here,
        "objectSelector": {"matchExpressions": [_not_the_hook()]},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 2,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": f"{SPACE}-{kind.lower()}"},
        "webhooks": [webhook],
    }


def _not_the_hook():
    return {"key": "app", "operator": "NotIn", "values": ["hook"]}


@pytest.fixture(scope="module")
def guarded(cluster):
    """A namespace whose pods get a label, and may not have another one."""
    words = certificate_words("1", f"hook.{SPACE}.svc")
    mounts = [{"name": "tls", "mountPath": "/tls"}]
    files = ["--tls-cert-file=/tls/tls.crt", "--tls-private-key-file=/tls/tls.key"]
    probe = {"httpGet": {"path": "/readyz", "port": PORT, "scheme": "HTTPS"}, "periodSeconds": 1}
    hook = labelled(
        "hook", "webhook", f"--port={PORT}", *files, volumeMounts=mounts, readinessProbe=probe
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hook"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": words["certificate"], "tls.key": words["key"]},
    }
    ports = [{"port": 443, "targetPort": PORT}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"}}
    service["spec"] = {"selector": {"app": "hook"}, "ports": ports}
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}])
    cluster.apply([secret, hook, service], namespace=SPACE)
    cluster.wait("deployments.apps", "hook", SPACE)
    made = [
        configuration("Mutating", "/add-label", words["authority"]),
        configuration("Validating", "/pods", words["authority"]),
    ]
    cluster.apply(made)
    yield SPACE
    for obj in made:
        resource = f"{obj['kind'].lower()}s.admissionregistration.k8s.io"
        cluster.delete(resource, meta.name_of(obj))
    cluster.delete("namespaces", SPACE)


def refusal(cluster, name):
    """Return what is said against a new pod; nothing when it could be made."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}}
    pod["spec"] = {"containers": [{"name": "main", "image": "k8slab/app"}]}
    try:
        cluster.request("POST", f"/api/v1/namespaces/{SPACE}/pods?dryRun=All", pod)
    except ApiStatusError as error:
        return str(error)
    return ""


def until(look):
    """Look until there is something to see; a busy machine may need longer than a webhook has."""
    polling = Polling(look=look, good=bool, quiet=lambda _: False, deadline=SECONDS, settled=1)
    return polling.run()


def test_the_pods_of_a_deployment_are_shown_to_webhooks_one_by_one(cluster, guarded):
    web = labelled("web")
    web["spec"]["replicas"] = 3
    cluster.apply([web], namespace=guarded)
    cluster.wait("deployments.apps", "web", guarded, deadline=SECONDS)
    pods = cluster.list("pods", guarded, selector="app=web")
    assert [meta.labels_of(pod).get("added-label") for pod in pods] == ["yes"] * 3


def test_a_replica_set_says_whose_webhook_refuses_its_pods(cluster, guarded):
    cluster.apply(
        [labelled("bad", labels={"webhook-e2e-test": "webhook-disallow"})], namespace=guarded
    )
    said = until(
        lambda: [
            event["message"]
            for event in cluster.list("events", guarded)
            if event["reason"] == "FailedCreate"
            and event["involvedObject"]["name"].startswith("bad-")
            and "denied" in event["message"]  # a busy machine may need longer than a webhook has
        ]
    )
    assert said[0] == (
        'Error creating: admission webhook "validating.example.com" denied the request: '
        "the pod contains unwanted label;"
    )
    cluster.delete("deployments.apps", "bad", guarded)


def test_a_policy_on_its_pods_decides_whether_a_webhook_can_be_asked(cluster, guarded):
    (node,) = [n for n in cluster.list("nodes") if meta.name_of(n).endswith("control-plane")]
    addresses = node["status"]["addresses"]
    address = next(one["address"] for one in addresses if one["type"] == "InternalIP")
    assert until(lambda: not refusal(cluster, "before"))
    cluster.apply([policy()], namespace=guarded)
    said = refusal(cluster, "blocked")
    assert said == (
        'Internal error occurred: failed calling webhook "mutating.example.com": failed to call '
        f'webhook: Post "https://hook.{SPACE}.svc:443/add-label?timeout=2s": '
        "context deadline exceeded"
    )
    denials = cluster.request("GET", "/apis/lab.k8slab.dev/v1/denials?since=0")["items"]
    mine = (one for one in denials if one["pod"])  # those of pods that have gone have none
    dropped = [one for one in mine if one["pod"]["namespace"] == guarded]
    assert {(one["source"], one["destinationPort"]) for one in dropped} == {(address, PORT)}
    cluster.apply([policy(f"{address}/32")], namespace=guarded)
    assert until(lambda: not refusal(cluster, "after"))
    cluster.delete("networkpolicies.networking.k8s.io", "entering-hook", guarded)


def test_a_url_leads_to_the_nodes_own_loopback_and_not_to_this_machines(cluster, guarded):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        ours.setblocking(False)
        port = ours.getsockname()[1]
        made = configuration("Validating", "/pods", "")
        made["metadata"]["name"] = f"{guarded}-loopback"
        (webhook,) = made["webhooks"]
        webhook["clientConfig"] = {"url": f"https://127.0.0.1:{port}/pods"}
        cluster.apply([made])
        refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
        # One of the others, which are asked as well, may have been too slow.
        assert until(lambda: refusal(cluster, "outside").endswith(refused))
        cluster.delete(
            "validatingwebhookconfigurations.admissionregistration.k8s.io", f"{guarded}-loopback"
        )
        with pytest.raises(BlockingIOError):
            ours.accept()
