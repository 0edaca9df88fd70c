"""Python clients that the project did not write: each does what its own guide begins with."""
# ruff: noqa: PLC0415  each client is imported by the tests that use it: collecting stays fast

import asyncio
import gc
import warnings

import pytest

# Clients leave open sockets to the garbage collector; `_sockets` collects them.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

POD_SPEC = {"containers": [{"name": "main", "image": "k8slab/app"}]}


@pytest.fixture(autouse=True)
def _sockets():
    """Collect the sockets that clients leave to the garbage collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


# --- the official client


@pytest.fixture
def official(cluster):
    from kubernetes import config

    api = config.new_client_from_config(str(cluster.kubeconfig))
    yield api
    api.close()


def test_the_official_client_lists_pods_of_all_namespaces(official):
    from kubernetes import client

    found = client.CoreV1Api(official).list_pod_for_all_namespaces(watch=False)
    assert any(
        pod.metadata.name.startswith("coredns-") and pod.status.pod_ip for pod in found.items
    )


def test_the_official_client_watches_until_it_has_seen_enough(official, namespace):
    from kubernetes import client, watch

    api = client.CoreV1Api(official)
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="seen"), data={"a": "1"})
    api.create_namespaced_config_map(namespace, body)
    names = []
    watching = watch.Watch()
    for event in watching.stream(api.list_namespaced_config_map, namespace, timeout_seconds=120):
        names.append(event["object"].metadata.name)
        if "seen" in names:
            watching.stop()
    assert "seen" in names


def test_the_official_client_rolls_out_a_deployment(official, namespace):
    from kubernetes import client

    api = client.AppsV1Api(official)
    labels = {"app": "web"}
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(containers=[client.V1Container(name="web", image="nginx:1.15.4")]),
    )
    spec = client.V1DeploymentSpec(
        replicas=1, template=template, selector=client.V1LabelSelector(match_labels=labels)
    )
    body = client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
    api.create_namespaced_deployment(namespace, body)
    body.spec.template.spec.containers[0].image = "nginx:1.16.0"
    patched = api.patch_namespaced_deployment("web", namespace, body)
    assert patched.spec.template.spec.containers[0].image == "nginx:1.16.0"
    assert patched.metadata.generation == 2
    options = client.V1DeleteOptions(propagation_policy="Foreground")
    api.delete_namespaced_deployment("web", namespace, body=options)
    left = api.list_namespaced_deployment(namespace).items
    assert all(deployment.metadata.deletion_timestamp for deployment in left)


def test_the_official_dynamic_client_finds_and_applies(official, namespace):
    from kubernetes import dynamic

    maps = dynamic.DynamicClient(official).resources.get(api_version="v1", kind="ConfigMap")
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "applied", "namespace": namespace},
        "data": {"a": "1"},
    }
    maps.server_side_apply(body=body, field_manager="test", force_conflicts=True)
    body["data"] = {"b": "2"}
    made = maps.server_side_apply(body=body, field_manager="test", force_conflicts=True)
    assert made.data.to_dict() == {"b": "2"}
    assert maps.get(name="applied", namespace=namespace).data.b == "2"


def test_the_official_dynamic_client_uses_a_custom_resource_at_once(official, cluster, definition):
    from kubernetes import dynamic

    boxes = dynamic.DynamicClient(official).resources.get(
        api_version="boxes.example.com/v1", kind="Box"
    )
    body = {"apiVersion": "boxes.example.com/v1", "kind": "Box", "metadata": {"name": "one"}}
    made = boxes.create(body={**body, "spec": {"size": 2}}, namespace=definition)
    assert made.spec.to_dict() == {"size": 2, "colour": "red"}
    assert [box.metadata.name for box in boxes.get(namespace=definition).items] == ["one"]


# --- kr8s


@pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported:UserWarning")
def test_kr8s_makes_waits_for_reads_and_deletes_a_pod(cluster, namespace):
    import kr8s
    from kr8s.asyncio.objects import Pod

    async def play():
        api = await kr8s.asyncio.api(kubeconfig=str(cluster.kubeconfig))
        pod = await Pod(
            {"metadata": {"name": "web", "namespace": namespace}, "spec": POD_SPEC}, api=api
        )
        await pod.create()
        await pod.wait("condition=Ready", timeout=120)
        assert [p.name async for p in api.get("pods", namespace=namespace)] == ["web"]
        await pod.label({"seen": "yes"})
        await pod.refresh()
        assert pod.labels == {"seen": "yes"}
        done = await pod.exec(["hostname"])
        assert done.stdout == b"web\n"
        async for event, obj in api.watch("pods", namespace=namespace):
            assert (event, obj.name) == ("ADDED", "web")
            break
        await pod.delete(grace_period=0)
        await pod.wait("delete", timeout=120)
        assert not await pod.exists()

    asyncio.run(play())


# --- lightkube


def test_lightkube_applies_patches_lists_and_watches(cluster, namespace):
    from lightkube import Client, KubeConfig
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap
    from lightkube.types import PatchType

    config = KubeConfig.from_file(cluster.kubeconfig)
    client = Client(config=config, namespace=namespace, field_manager="test")
    client.create(ConfigMap(metadata=ObjectMeta(name="one"), data={"a": "1"}))
    client.patch(ConfigMap, "one", {"data": {"b": "2"}}, patch_type=PatchType.MERGE)
    client.apply(
        ConfigMap(
            apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="two"), data={"c": "3"}
        )
    )
    found = {item.metadata.name: item.data for item in client.list(ConfigMap)}
    assert found["one"] == {"a": "1", "b": "2"}
    assert found["two"] == {"c": "3"}
    names = set()
    for _, obj in client.watch(ConfigMap):
        names.add(obj.metadata.name)
        if {"one", "two"} <= names:
            break
    client.delete(ConfigMap, "one")


def test_lightkube_uses_custom_resources(cluster, definition):
    from lightkube import Client, KubeConfig
    from lightkube.generic_resource import create_namespaced_resource

    box = create_namespaced_resource("boxes.example.com", "v1", "Box", "boxes")
    client = Client(config=KubeConfig.from_file(cluster.kubeconfig), namespace=definition)
    made = client.create(box(metadata={"name": "two"}, spec={"size": 3}))
    assert made.spec == {"size": 3, "colour": "red"}
    assert [item.metadata.name for item in client.list(box)] == ["two"]
