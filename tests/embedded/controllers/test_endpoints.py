"""Endpoints of Services, mirrored slices, and aggregated ClusterRoles."""

from controller_world import pod_object

from k8slab.embedded.controllers import endpoints_values
from k8slab.embedded.controllers.endpoints_values import MIRROR, mirrored, wanted

SLICES = "endpointslices.discovery.k8s.io"
CLUSTER_ROLES = "clusterroles.rbac.authorization.k8s.io"


def service(name="web", **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}], **spec},
    }


def running(number, *, ready=True):
    pod = pod_object(f"p{number}", labels={"app": "web"}, nodeName="n")
    pod["metadata"]["uid"] = f"u{number}"
    state = "True" if ready else "False"
    pod["status"] = {
        "podIPs": [{"ip": f"10.0.{number // 250}.{number % 250}"}],
        "conditions": [{"type": "Ready", "status": state}],
    }
    return pod


def test_ready_and_not_ready_addresses_stand_apart():
    made = wanted(service(selector={"app": "web"}), [running(2), running(1, ready=False)])
    assert made["metadata"]["labels"] == {
        "endpoints.kubernetes.io/managed-by": "endpoint-controller"
    }
    (subset,) = made["subsets"]
    assert subset["addresses"] == [
        {
            "ip": "10.0.0.2",
            "nodeName": "n",
            "targetRef": {"kind": "Pod", "name": "p2", "namespace": "default", "uid": "u2"},
        }
    ]
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.1"]
    assert subset["ports"] == [{"protocol": "TCP", "port": 8080}]


def test_a_thousand_addresses_are_listed_ready_ones_first():
    some = [running(n, ready=n >= 300) for n in range(1200)]
    made = wanted(service(selector={"app": "web"}), some)
    (subset,) = made["subsets"]
    assert (len(subset["addresses"]), len(subset["notReadyAddresses"])) == (900, 100)
    annotations = made["metadata"]["annotations"]
    assert annotations == {"endpoints.kubernetes.io/over-capacity": "truncated"}
    exact = wanted(service(selector={"app": "web"}), some[:1000])
    assert "annotations" not in exact["metadata"]


def test_each_family_and_each_set_of_ports_has_a_mirrored_slice():
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "db",
            "namespace": "default",
            "uid": "u",
            "labels": {"a": "b"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x", "k": "v"},
        },
        "subsets": [
            {
                "addresses": [{"ip": "192.168.1.5"}, {"ip": "fd00::5"}],
                "notReadyAddresses": [{"ip": "192.168.1.6"}],
                "ports": [{"port": 5432, "protocol": "TCP"}],
            }
        ],
    }
    four, six = mirrored(endpoints)
    assert (four["addressType"], six["addressType"]) == ("IPv4", "IPv6")
    assert four["endpoints"] == [
        {"addresses": ["192.168.1.5"], "conditions": {"ready": True}},
        {"addresses": ["192.168.1.6"], "conditions": {"ready": False}},
    ]
    assert four["metadata"]["labels"] == {
        "a": "b",
        "endpointslice.kubernetes.io/managed-by": MIRROR,
        "kubernetes.io/service-name": "db",
    }
    assert four["metadata"]["annotations"] == {"k": "v"}


def test_only_endpoints_without_a_controller_are_mirrored():
    plain = {"metadata": {"name": "db", "namespace": "default"}}
    assert endpoints_values.is_mirrored(plain, service("db"))
    assert not endpoints_values.is_mirrored(plain, service("db", selector={"a": "b"}))
    assert not endpoints_values.is_mirrored(plain, None)
    skipped = {"metadata": {"name": "db", "labels": {endpoints_values.SKIP_MIRROR: "true"}}}
    assert not endpoints_values.is_mirrored(skipped, service("db"))


def test_hand_made_endpoints_reach_the_kernel_before_they_are_answered(in_world):
    async def play(world):
        world.api.create("services", service("db"))
        made = world.api.create(
            "endpoints",
            {
                "metadata": {"name": "db", "namespace": "default"},
                "subsets": [{"addresses": [{"ip": "192.168.1.5"}], "ports": [{"port": 5432}]}],
            },
        )
        await world.api.settle("endpoints", made)
        (port,) = [p for key, p in world.network.services.items() if key[1] == "db"]
        assert [(e.address, e.port) for e in port.endpoints] == [("192.168.1.5", 5432)]
        world.api.delete("endpoints", "db", "default")
        await world.api.settle("endpoints", made)
        (port,) = [p for key, p in world.network.services.items() if key[1] == "db"]
        assert port.endpoints == ()

    in_world(play)


def test_endpoints_follow_the_pods_of_a_service_and_go_with_it(in_world):
    async def play(world):
        world.api.create("services", service(selector={"app": "web"}))
        world.api.create("pods", pod_object("a", labels={"app": "web"}))

        def addresses():
            found = world.api.get("endpoints", "web", "default") or {}
            return [a["ip"] for s in found.get("subsets") or () for a in s.get("addresses") or ()]

        await world.until(addresses)
        assert addresses() == [world.pod("a")["status"]["podIP"]]
        world.api.delete("pods", "a", "default", grace=0)
        await world.until(lambda: not addresses())
        world.api.delete("services", "web", "default")
        await world.until(lambda: world.api.get("endpoints", "web", "default") is None)

    in_world(play)


def test_a_cluster_role_gathers_new_rules_at_once(in_world):
    async def play(world):
        chosen = {"matchLabels": {"to": "all"}}
        world.api.create(
            CLUSTER_ROLES,
            {"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [chosen]}},
        )
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
        part = {"metadata": {"name": "part", "labels": {"to": "all"}}, "rules": [rule]}
        world.api.create(CLUSTER_ROLES, part)
        await world.until(lambda: world.api.get(CLUSTER_ROLES, "all").get("rules") == [rule])
        world.api.delete(CLUSTER_ROLES, "part")
        await world.until(lambda: not world.api.get(CLUSTER_ROLES, "all").get("rules"))

    in_world(play)
