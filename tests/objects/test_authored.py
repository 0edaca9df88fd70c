import pytest

from k8slab.objects.authored import TOKEN_MOUNT, authored, plain


def obj(kind, spec, *entries, **metadata):
    managed = [
        {"manager": manager, "operation": operation, "fieldsV1": fields, **more}
        for manager, operation, fields, more in entries
    ]
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "one", "namespace": "shop", "managedFields": managed, **metadata},
        "spec": spec,
        "status": {"phase": "Running"},
    }


def test_the_fields_of_people_are_kept_and_the_clusters_own_are_not():
    pod = obj(
        "ConfigMap",
        {"a": 1, "b": {"c": 2, "d": 3}, "e": 4, "f": 5, "g": 6},
        ("kubectl-create", "Update", {"f:spec": {"f:a": {}, "f:b": {"f:c": {}}}}, {}),
        ("kube-controller-manager", "Update", {"f:spec": {"f:e": {}}}, {}),
        ("k3s", "Update", {"f:spec": {"f:f": {}}}, {}),
        ("kubelite", "Update", {"f:spec": {"f:g": {}}}, {}),
        ("somebody", "Update", {"f:spec": {"f:e": {}}}, {"subresource": "status"}),
    )
    assert authored(pod) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one", "namespace": "shop"},
        "spec": {"a": 1, "b": {"c": 2}},
    }


def test_what_nobody_typed_is_no_part_of_an_answer():
    assert authored(obj("Pod", {})) is None
    assert authored(obj("Pod", {}, ("kubelet", "Update", {"f:spec": {"f:a": {}}}, {}))) is None


def test_elements_of_lists_are_found_by_their_keys_and_values():
    pod = obj(
        "Thing",
        {
            "ports": [
                {"port": 80, "protocol": "TCP", "name": "web"},
                {"port": 81, "protocol": "TCP"},
            ],
            "finalizers": ["mine", "theirs"],
            "args": ["x", "y"],
        },
        (
            "lab",
            "Apply",
            {
                "f:spec": {
                    "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}},
                    "f:finalizers": {'v:"mine"': {}},
                    "f:args": {},
                }
            },
            {},
        ),
    )
    found = authored(pod)["spec"]
    assert found == {"ports": [{"port": 80}], "finalizers": ["mine"], "args": ["x", "y"]}


def test_notes_of_clients_and_controllers_are_left_out():
    annotations = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "deployment.kubernetes.io/revision": "1",
        "mine": "yes",
    }
    fields = {"f:metadata": {"f:annotations": {f"f:{name}": {} for name in annotations}}}
    pod = obj("Thing", {}, ("kubectl", "Update", fields, {}), annotations=annotations)
    assert authored(pod)["metadata"]["annotations"] == {"mine": "yes"}


def everything(value):
    if isinstance(value, dict):
        return {f"f:{key}": everything(inner) for key, inner in value.items()}
    return {}


def test_what_admission_gave_a_pod_is_left_out():
    token = {"name": "kube-api-access-x1", "projected": {}}
    spec = {
        "nodeName": "n1",
        "serviceAccount": "default",
        "volumes": [token, {"name": "data", "emptyDir": {}}],
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "tolerationSeconds": 300}],
        "containers": [
            {"name": "a", "volumeMounts": [{"name": token["name"], "mountPath": TOKEN_MOUNT}]}
        ],
    }
    pod = obj("Pod", spec, ("kubectl-run", "Update", {"f:spec": everything(spec)}, {}))
    assert authored(pod)["spec"] == {
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [{"name": "a"}],
    }


@pytest.mark.parametrize(
    ("operation", "address", "kept"),
    [("Update", "10.96.0.9", False), ("Apply", "10.96.0.9", True), ("Update", "None", True)],
)
def test_a_services_address_stays_only_where_it_was_chosen(operation, address, kept):
    spec = {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": 80}]}
    service = obj("Service", spec, ("kubectl", operation, {"f:spec": everything(spec)}, {}))
    assert ("clusterIP" in authored(service)["spec"]) is kept


def test_an_empty_selector_of_a_peer_is_not_the_same_as_none():
    def policy(**peer):
        rule = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}, **peer}]}
        return obj("NetworkPolicy", {"podSelector": {}, "ingress": [rule]})

    assert plain(policy()) != plain(policy(namespaceSelector={}))
    assert plain(policy(namespaceSelector=None)) == plain(policy())
    assert plain(policy(namespaceSelector={"matchLabels": {}})) == plain(
        policy(namespaceSelector={})
    )


@pytest.mark.parametrize("more", [{"spec": {}}, {"data": None}, {"metadata": {"labels": {}}}])
def test_what_asks_for_nothing_is_the_same_as_nothing(more):
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}
    metadata = {**bare["metadata"], **more.get("metadata", {})}
    assert plain({**bare, **more, "metadata": metadata}) == plain(bare)
    container = {"name": "a", "resources": {}, "securityContext": {}}
    assert plain({"spec": {"containers": [container]}}) == {"spec": {"containers": [{"name": "a"}]}}


def test_an_endpoint_of_which_nothing_is_known_is_the_same_with_empty_conditions():
    """A server always writes them (discovery/v1, Endpoint.conditions is no pointer)."""
    bare = {"kind": "EndpointSlice", "endpoints": [{"addresses": ["10.0.0.1"]}]}
    served = {**bare, "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {}}]}
    assert plain(served) == plain(bare)
    ready = {**bare, "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]}
    assert plain(ready) != plain(bare)
