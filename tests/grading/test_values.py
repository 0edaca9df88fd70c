import pytest

from k8slab.grading import Context, values
from k8slab.objects.slices import SERVICE_NAME
from k8slab.testing.fake import FakeCluster

NODE = {"object": "pods/far", "path": "spec.nodeName"}
ADDRESS = {"object": "pods/far", "path": "status.podIP"}


@pytest.mark.parametrize(
    ("asked", "typed", "value", "right"),
    [
        (NODE, "k8slab-worker2", "k8slab-worker2", True),
        (NODE, " Worker2", "k8slab-worker2", True),
        (NODE, "worker", "k8slab-worker2", False),
        (NODE, "worker2", "k8slab-worker", False),
        (NODE, "", "k8slab-worker", False),
        (NODE, "worker", None, False),
        (ADDRESS, "0.1", "10.0.0.1", False),
    ],
)
def test_a_node_may_be_called_by_the_end_of_its_name(asked, typed, value, right):
    assert values.alike(asked, typed, value) is right


READY, NOT_READY = {"ready": True}, {"ready": False}
LEAVING = {"ready": False, "serving": True, "terminating": True}


def slice_of(service, number, *ends, port=5432, name=None):
    labels = {SERVICE_NAME: service}
    metadata = {"name": f"{service}-{number}", "namespace": "shop", "labels": labels}
    endpoints = [{"addresses": [address], "conditions": state} for address, state in ends]
    body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}
    ports = [{"name": name, "port": port}]
    return {**body, "addressType": "IPv4", "ports": ports, "endpoints": endpoints}


def leads(*slices, name=None, **spec):
    """Return where a Service with these slices leads."""
    cluster = FakeCluster(slices=False)
    metadata = {"name": "db", "namespace": "shop"}
    spec["ports"] = [{"name": name, "port": 5432}]
    cluster.apply([{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}])
    cluster.apply(slices)
    return values.read(Context(cluster, "shop"), {"endpoints": "db"})


def test_a_service_that_is_not_there_leads_nowhere():
    cluster = FakeCluster()
    cluster.apply([slice_of("db", 1, ("10.0.0.1", READY))])
    assert values.read(Context(cluster, "shop"), {"endpoints": "db"}) is None


def test_a_service_leads_where_the_ready_endpoints_of_all_its_slices_are():
    assert leads() is None
    assert leads(slice_of("db", 1, ("10.0.0.2", READY)), type="ExternalName") is None
    told = leads(
        slice_of("db", 1, ("10.0.0.1", NOT_READY), ("10.0.0.2", READY)),
        slice_of("db", 2, ("10.0.0.2", READY), ("10.0.0.3", {})),
        slice_of("db", 3, ("10.0.0.1", READY), port=80),
        slice_of("other", 1, ("10.0.0.9", READY)),
    )
    assert told == "10.0.0.1:80, 10.0.0.2:5432, 10.0.0.3:5432"


def test_a_port_leads_to_the_ports_of_its_name_alone():
    slices = (
        slice_of("db", 1, ("10.0.0.1", READY), name="sql"),
        slice_of("db", 2, ("10.0.0.2", READY)),
    )
    assert leads(*slices, name="sql") == "10.0.0.1:5432"
    assert leads(*slices) == "10.0.0.2:5432"
    assert leads(*slices, clusterIP="None") == "10.0.0.1:5432, 10.0.0.2:5432"


def test_a_service_leads_to_no_address_of_a_family_that_it_has_not():
    other = {**slice_of("db", 1, ("fd00::1", READY)), "addressType": "IPv6"}
    slices = [other, slice_of("db", 2, ("10.0.0.1", READY))]
    assert leads(*slices, ipFamilies=["IPv4"]) == "10.0.0.1:5432"
    assert leads(*slices, ipFamilies=["IPv4", "IPv6"]) == "10.0.0.1:5432, fd00::1:5432"


def test_who_serves_while_it_goes_is_led_to_where_nobody_is_ready():
    going = slice_of("db", 1, ("10.0.0.1", LEAVING))
    assert leads(going) == "10.0.0.1:5432"
    assert leads(going, slice_of("db", 2, ("10.0.0.2", READY))) == "10.0.0.2:5432"
    assert leads(going, clusterIP="None") is None  # DNS tells of nobody who goes
