"""What the system needs of its own, and makes again when somebody deletes it."""

import pytest

SLICES = "endpointslices.discovery.k8s.io"
PLACE = ("kubernetes", "default")
ADDRESS = "172.18.0.2"


def leads_to(world):
    """Return the Service's address, and what its slice and its Endpoints name."""
    service, piece, old = (
        world.api.get(resource, *PLACE) for resource in ("services", SLICES, "endpoints")
    )
    if not (service and piece and old and old.get("subsets")):
        return None
    addresses = [one["addresses"] for one in piece["endpoints"]]
    return service["spec"]["clusterIP"], addresses, old["subsets"][0]["addresses"]


WHOLE = ("10.96.0.1", [[ADDRESS]], [{"ip": ADDRESS}])


@pytest.mark.parametrize("resource", ["services", SLICES, "endpoints"])
def test_who_deletes_the_apis_service_or_where_it_leads_finds_it_again(in_world, resource):
    async def play(world):
        assert leads_to(world) == WHOLE
        uid = world.api.get(resource, *PLACE)["metadata"]["uid"]
        world.api.delete(resource, *PLACE)

        def back():
            found = world.api.get(resource, *PLACE)
            return found and found["metadata"]["uid"] != uid and leads_to(world) == WHOLE

        await world.until(back, seconds=5)

    in_world(play)


def test_an_api_service_that_was_changed_stays_so_and_leads_to_the_api(in_world):
    async def play(world):
        service = world.api.get("services", *PLACE)
        port = {**service["spec"]["ports"][0], "port": 8443}
        world.api.update("services", {**service, "spec": {**service["spec"], "ports": [port]}})
        old = world.api.get("endpoints", *PLACE)
        elsewhere = [{**old["subsets"][0], "addresses": [{"ip": "10.9.9.9"}]}]
        world.api.update("endpoints", {**old, "subsets": elsewhere})
        await world.until(lambda: leads_to(world) == WHOLE, seconds=5)
        assert world.api.get("services", *PLACE)["spec"]["ports"] == [port]

    in_world(play)


def test_the_namespace_of_the_nodes_leases_comes_back_and_the_nodes_stay_ready(in_world):
    async def play(world):
        before = world.api.get("namespaces", "kube-node-lease")["metadata"]["uid"]
        node = "k8slab-worker"
        world.api.delete("namespaces", "kube-node-lease")
        await world.until(
            lambda: (
                (found := world.api.get("namespaces", "kube-node-lease"))
                and found["metadata"]["uid"] != before
            )
        )
        await world.controllers.nodes.loop.settle(node)
        assert world.api.get("leases.coordination.k8s.io", node, "kube-node-lease")

    in_world(play)
