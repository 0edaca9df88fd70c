"""Services: slices that follow readiness, what the kernel is told, load-balancer addresses."""

import asyncio

import pytest
from controller_world import is_ready, pod_object

from k8slab.embedded.controllers import service_values, slice_values
from k8slab.embedded.controllers.kubelet.probes import Attempt
from k8slab.embedded.network.ruleset_proxy import usable

SLICES = "endpointslices.discovery.k8s.io"


def service(name, *, ports=None, selector=None, **spec):
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"app": name} if selector is None else selector,
            "ports": ports or [{"port": 80, "targetPort": 8080}],
            **spec,
        },
    }


def endpoints(world, name):
    found = world.api.list(SLICES, "default")
    return [
        e
        for s in found
        if s["metadata"]["labels"].get("kubernetes.io/service-name") == name
        for e in s["endpoints"]
    ]


def kernel(world, name):
    return next((p for key, p in world.network.services.items() if key[1] == name), None)


def targets(world, name):
    """Return the endpoints that the kernel knows: none, too, before it hears of the Service."""
    port = kernel(world, name)
    return port.endpoints if port else ()


def web_pod(name, **containers):
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    main = {"name": "main", "image": "web", "readinessProbe": probe, **containers}
    return pod_object(name, labels={"app": "web"}, containers=[main])


def test_readiness_gates_what_the_kernel_is_told(in_world):
    async def play(world):
        world.api.create("services", service("web"))
        world.prober.answers["main"] = Attempt(passed=False)
        world.api.create("pods", web_pod("a"))
        await world.until(lambda: endpoints(world, "web"))
        (entry,) = endpoints(world, "web")
        assert entry["conditions"] == {"ready": False, "serving": False, "terminating": False}
        assert (await world.until(lambda: kernel(world, "web"))).endpoints == ()
        world.prober.answers["main"] = Attempt(passed=True)
        await world.until(lambda: targets(world, "web"))
        (target,) = kernel(world, "web").endpoints
        assert (target.address, target.port) == (world.pod("a")["status"]["podIP"], 8080)

    in_world(play)


def test_a_deleted_pod_leaves_its_slice_before_it_stops(in_world):
    async def play(world):
        world.api.create("services", service("web"))
        for name in ("a", "b"):
            world.api.create("pods", web_pod(name))
        await world.until(lambda: len(world.ready(app="web")) == 2)
        await world.until(lambda: len(targets(world, "web")) == 2)
        world.runtime.ignores_term = True
        (container,) = world.runtime.of(world.pod("a"))
        world.api.delete("pods", "a", "default")

        def told():
            states = {e.address: e.terminating for e in kernel(world, "web").endpoints}
            return states.get(world.pod("a")["status"]["podIP"])

        await world.until(told)
        assert container.id in world.runtime.containers
        leaving = next(e for e in endpoints(world, "web") if e["targetRef"]["name"] == "a")
        assert leaving["conditions"] == {"ready": False, "serving": True, "terminating": True}
        world.runtime.exit(container.id, 143)
        await world.until(lambda: len(endpoints(world, "web")) == 1)

    in_world(play)


def test_no_connection_leads_to_a_pod_that_was_told_to_stop(in_world, monkeypatch):
    async def play(world):
        sync, stop = world.network.sync_services, world.runtime.stop_container
        seen = []

        async def slow_sync(ports):
            await asyncio.sleep(0.05)
            await sync(ports)

        async def watched_stop(container_id, grace):
            seen.append([e.address for e in kernel(world, "web").endpoints if not e.terminating])
            await stop(container_id, grace)

        world.api.create("services", service("web"))
        for name in ("a", "b"):
            world.api.create("pods", web_pod(name))
        await world.until(lambda: len(world.ready(app="web")) == 2)
        await world.until(lambda: len(targets(world, "web")) == 2)
        monkeypatch.setattr(world.network, "sync_services", slow_sync)
        monkeypatch.setattr(world.runtime, "stop_container", watched_stop)
        world.api.delete("pods", "a", "default")
        await world.until(lambda: world.pod("a") is None)
        assert seen == [[world.pod("b")["status"]["podIP"]]]

    in_world(play)


def test_an_answered_change_of_a_service_is_in_the_kernel(in_world):
    async def play(world):
        made = world.api.create("services", service("web"))
        await world.api.settle("services", made)
        assert kernel(world, "web").cluster_ips == (made["spec"]["clusterIP"],)
        changed = world.api.patch("services", "web", "default", {"spec": {"ports": [{"port": 81}]}})
        await world.api.settle("services", changed)
        assert kernel(world, "web").port == 81
        world.api.delete("services", "web", "default")
        await world.api.settle("services", changed)
        assert kernel(world, "web") is None

    in_world(play)


def test_the_slices_of_a_service_go_with_it(in_world):
    async def play(world):
        world.api.create("services", service("web"))
        await world.until(
            lambda: [
                s
                for s in world.api.list(SLICES, "default")
                if s["metadata"]["name"] != "kubernetes"
            ]
        )
        world.api.delete("services", "web", "default")
        await world.until(lambda: len(world.api.list(SLICES, "default")) == 1)

    in_world(play)


def test_a_slice_made_by_hand_serves_a_service_without_selector(in_world):
    async def play(world):
        world.api.create("services", service("old", selector={}))
        made = {
            "metadata": {
                "name": "old-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "old"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.168.1.10"]}],
            "ports": [{"port": 5432, "name": "", "protocol": "TCP"}],
        }
        created = world.api.create(SLICES, made)
        await world.api.settle(SLICES, created)
        (target,) = kernel(world, "old").endpoints
        assert (target.address, target.port, target.node) == ("192.168.1.10", 5432, "")

    in_world(play)


def test_relabelling_a_pod_moves_it_out_of_the_slice(in_world):
    async def play(world):
        world.api.create("services", service("web"))
        world.api.create("pods", web_pod("a"))
        await world.until(lambda: endpoints(world, "web"))
        world.api.patch("pods", "a", "default", {"metadata": {"labels": {"app": "off"}}})
        await world.until(lambda: not endpoints(world, "web"))

    in_world(play)


def test_the_api_itself_is_a_service(in_world):
    async def play(world):
        await world.until(lambda: kernel(world, "kubernetes"))
        port = kernel(world, "kubernetes")
        assert (port.cluster_ips, port.port) == (("10.96.0.1",), 443)
        assert [(e.address, e.port) for e in port.endpoints] == [("172.18.0.2", 6443)]

    in_world(play)


def test_each_load_balancer_gets_an_address_that_a_worker_announces(in_world):
    async def play(world):
        for name in ("a", "b"):
            world.api.create("services", service(name, type="LoadBalancer"))

        def shown(name):
            found = world.api.get("services", name, "default")
            entries = (found.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
            return [e["ip"] for e in entries]

        await world.until(lambda: shown("a") and shown("b"))
        assert {*shown("a"), *shown("b")} == {"172.18.255.1", "172.18.255.2"}
        await world.until(lambda: len(world.network.announced) == 2)
        assert set(world.network.announced.values()) <= {"k8slab-worker", "k8slab-worker2"}
        await world.until(
            lambda: kernel(world, "a") and kernel(world, "a").load_balancer_ips == tuple(shown("a"))
        )
        (address,) = shown("a")
        world.api.delete("services", "a", "default")
        await world.until(lambda: world.network.announced[address] is None)
        changed = {"spec": {"type": "ClusterIP"}}
        world.api.patch("services", "b", "default", changed)
        await world.until(lambda: not shown("b"))

    in_world(play)


def test_a_load_balancer_of_somebody_elses_class_stays_pending(in_world):
    async def play(world):
        world.api.create(
            "services", service("theirs", type="LoadBalancer", loadBalancerClass="a/b")
        )
        world.api.create("services", service("ours", type="LoadBalancer"))

        def shown(name):
            return world.api.get("services", name, "default")["status"]["loadBalancer"]

        await world.until(lambda: shown("ours"))
        assert shown("theirs") == {}

    in_world(play)


def test_traffic_distribution_gives_hints_which_follow_the_zone_of_the_node(in_world):
    async def play(world):
        world.api.create("services", service("web", trafficDistribution="PreferSameNode"))
        world.api.create("pods", web_pod("a"))
        await world.until(lambda: targets(world, "web"))
        node = world.pod("a")["spec"]["nodeName"]
        (entry,) = endpoints(world, "web")
        assert entry["hints"] == {"forNodes": [{"name": node}]}
        (target,) = kernel(world, "web").endpoints
        assert (target.for_nodes, target.for_zones) == (frozenset({node}), None)

        in_zone = {"metadata": {"labels": {"topology.kubernetes.io/zone": "east"}}}
        for name in ("k8slab-worker", "k8slab-worker2"):
            world.api.patch("nodes", name, "", in_zone)

        def zones():
            return kernel(world, "web").endpoints[0].for_zones

        await world.until(lambda: zones() and len(zones()) == 2)
        assert zones() == {"k8slab-worker", "k8slab-worker2"}
        (entry,) = endpoints(world, "web")
        assert entry["zone"] == "east"
        assert entry["hints"]["forZones"] == [{"name": "east"}]
        world.prober.answers["main"] = Attempt(passed=False)
        await world.until(lambda: not targets(world, "web"))
        assert "hints" not in endpoints(world, "web")[0]

    in_world(play)


# --- the pure parts


def running(name, address, *, ready=True, deleting=False, ports=(), **spec):
    metadata = {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "metadata": metadata,
        "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": list(ports)}], **spec},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


CONDITIONS = {
    "ready": ({}, {}, (True, True, False)),
    "not ready": ({"ready": False}, {}, (False, False, False)),
    "terminating": ({"deleting": True}, {}, (False, True, True)),
    "terminating and not ready": (
        {"ready": False, "deleting": True},
        {},
        (False, False, True),
    ),
    "published although not ready": (
        {"ready": False},
        {"publishNotReadyAddresses": True},
        (True, False, False),
    ),
}


@pytest.mark.parametrize(("pod", "spec", "wanted"), CONDITIONS.values(), ids=CONDITIONS)
def test_the_conditions_of_an_endpoint(pod, spec, wanted):
    groups = slice_values.wanted(service("web", **spec), [running("a", "10.0.0.1", **pod)])
    ((entry,),) = groups.values()
    assert tuple(entry["conditions"][k] for k in ("ready", "serving", "terminating")) == wanted


def test_a_named_target_port_with_two_numbers_needs_two_slices():
    pods = [
        running(f"p{n}", f"10.0.0.{n}", ports=[{"name": "http", "containerPort": n}])
        for n in (1, 2)
    ]
    groups = slice_values.wanted(service("web", ports=[{"port": 80, "targetPort": "http"}]), pods)
    assert {ports[0][2] for _, ports in groups} == {1, 2}


def test_a_pod_without_the_named_port_is_listed_without_ports():
    target = [{"port": 80, "targetPort": "http"}]
    groups = slice_values.wanted(service("web", ports=target), [running("a", "10.0.0.1")])
    assert list(groups) == [("IPv4", ())]


def test_a_finished_pod_and_one_without_address_are_not_listed():
    done = running("a", "10.0.0.1")
    done["status"]["phase"] = "Succeeded"
    new = running("b", "10.0.0.2")
    new["status"]["podIPs"] = []
    assert slice_values.wanted(service("web"), [done, new]) == {}


def test_a_stateful_pod_of_a_headless_service_has_its_host_name():
    pod = running("db-0", "10.0.0.1", hostname="db-0", subdomain="web")
    headless = service("web", clusterIP="None")
    ((entry,),) = slice_values.wanted(headless, [pod]).values()
    assert entry["hostname"] == "db-0"
    assert slice_values.labels(headless)["service.kubernetes.io/headless"] == ""


def test_a_slice_holds_a_hundred_endpoints():
    assert [len(c) for c in slice_values.chunks([{}] * 201)] == [100, 100, 1]


def slice_of(*entries, ports=({"name": "", "port": 8080},)):
    return {"addressType": "IPv4", "ports": list(ports), "endpoints": list(entries)}


def test_what_is_not_proxied():
    for spec in ({"type": "ExternalName"}, {"clusterIP": "None"}, {}):
        made = {"metadata": {"name": "s", "namespace": "n"}, "spec": {**spec, "ports": [{}]}}
        assert service_values.service_ports(made, []) == []


def test_all_fields_of_a_service_reach_the_proxy():
    made = {
        "metadata": {"name": "s", "namespace": "n"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.5",
            "clusterIPs": ["10.96.0.5"],
            "externalIPs": ["198.51.100.9"],
            "loadBalancerSourceRanges": ["203.0.113.0/24"],
            "sessionAffinity": "ClientIP",
            "internalTrafficPolicy": "Local",
            "externalTrafficPolicy": "Local",
            "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
        },
        "status": {
            "loadBalancer": {
                "ingress": [
                    {"ip": "172.18.255.1"},
                    {"ip": "172.18.255.2", "ipMode": "Proxy"},
                    {"hostname": "balancer.example"},
                ]
            }
        },
    }
    one = slice_of(
        {"addresses": ["10.0.0.1"], "nodeName": "w", "conditions": {"ready": True}},
        ports=({"name": "http", "port": 8080}, {"name": "other", "port": 1}),
    )
    (port,) = service_values.service_ports(made, [one])
    assert port.key == ("n", "s", "http", "TCP")
    assert port.affinity_seconds == 10800
    assert (port.internal_local, port.external_local) == (True, True)
    assert port.source_ranges == ("203.0.113.0/24",)
    assert port.load_balancer_ips == ("172.18.255.1",)
    assert port.external_ips == ("198.51.100.9",)
    assert port.node_port == 30080
    assert [(e.address, e.port, e.node) for e in port.endpoints] == [("10.0.0.1", 8080, "w")]


def test_a_pod_that_is_published_although_not_ready_is_used_like_a_ready_one():
    conditions = {"ready": True, "serving": False, "terminating": False}
    one = slice_of({"addresses": ["10.0.0.1"], "conditions": conditions})
    (found,) = service_values.endpoints({"port": 80}, [one])
    assert usable([found]) == [found]


def test_an_endpoint_that_goes_serves_unless_its_slice_says_that_it_does_not():
    going = {"ready": False, "terminating": True}

    def used(**more):
        one = slice_of({"addresses": ["10.0.0.1"], "conditions": {**going, **more}})
        return [e.address for e in usable(service_values.endpoints({"port": 80}, [one]))]

    assert used() == ["10.0.0.1"]
    assert used(serving=False) == []
    assert used(terminating=False) == []


def test_conditions_that_are_absent_mean_ready():
    found = service_values.endpoints({"port": 80}, [slice_of({"addresses": ["10.0.0.1"]})])
    assert [(e.serving, e.terminating) for e in found] == [(True, False)]


def test_an_endpoint_in_two_slices_is_one():
    entry = {"addresses": ["10.0.0.1"]}
    found = service_values.endpoints({"port": 80}, [slice_of(entry), slice_of(entry)])
    assert len(found) == 1


def test_is_ready_reads_the_condition():
    assert is_ready(running("a", "10.0.0.1"))
