"""Service addresses and node ports."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from k8slab.embedded.apiserver.api import Api
from k8slab.embedded.apiserver.store import Store
from k8slab.embedded.config import ClusterConfig
from k8slab.errors import ApiStatusError


def service(name="web", **spec):
    ports = spec.pop("ports", [{"port": 80}])
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": ports, **spec}}


def test_a_service_gets_an_address_of_the_range_outside_its_static_part(api):
    spec = api.create("services", service())["spec"]
    address = ip_address(spec["clusterIP"])
    assert address in ip_network("10.96.0.0/16")
    assert address > ip_address("10.96.1.0")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["ipFamilies"] == ["IPv4"]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


def test_an_address_that_is_asked_for_is_given_once(api):
    assert api.create("services", service(clusterIP="10.96.0.10"))["spec"]["clusterIPs"] == [
        "10.96.0.10"
    ]
    with pytest.raises(ApiStatusError, match="already allocated"):
        api.create("services", service("two", clusterIP="10.96.0.10"))
    api.delete("services", "web", "default")
    api.create("services", service("two", clusterIP="10.96.0.10"))
    with pytest.raises(ApiStatusError, match="not in the valid range"):
        api.create("services", service("three", clusterIP="10.1.0.10"))


@pytest.mark.parametrize("wanted", ["example.com/other", None])
def test_the_class_of_a_load_balancer_cannot_change(api, wanted):
    api.create("services", service(type="LoadBalancer", loadBalancerClass="example.com/one"))
    with pytest.raises(ApiStatusError, match=r"loadBalancerClass.*may not change once set"):
        api.patch("services", "web", "default", {"spec": {"loadBalancerClass": wanted}})
    other = {"spec": {"type": "NodePort"}}
    assert "loadBalancerClass" not in api.patch("services", "web", "default", other)["spec"]


def test_a_cluster_ip_cannot_change(api):
    api.create("services", service())
    with pytest.raises(ApiStatusError, match="may not change once set"):
        api.patch("services", "web", "default", {"spec": {"clusterIP": "10.96.0.99"}})


def test_headless_and_external_names_have_no_address(api):
    headless = api.create("services", service(clusterIP="None"))["spec"]
    assert headless["clusterIPs"] == ["None"]
    named = api.create(
        "services", service("out", ports=[], type="ExternalName", externalName="example.com")
    )["spec"]
    assert "clusterIP" not in named
    assert "internalTrafficPolicy" not in named


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"clusterIP": "10.96.3.3"}, "clusterIPs"),
        ({"ipFamilyPolicy": "SingleStack"}, "ipFamilyPolicy"),
        ({"ipFamilies": ["IPv4"]}, "ipFamilies"),
    ],
)
def test_an_external_name_is_given_no_address_later_either(api, spec, field):
    out = service("out", ports=[], type="ExternalName", externalName="example.com")
    api.create("services", out)
    with pytest.raises(ApiStatusError, match=rf"spec\.{field}: Forbidden: may not be set for Ext"):
        api.patch("services", "out", "default", {"spec": spec})


def test_a_service_that_becomes_an_external_name_loses_its_address(api):
    api.create("services", service())
    changed = {"spec": {"type": "ExternalName", "externalName": "example.com"}}
    spec = api.patch("services", "web", "default", changed)["spec"]
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & spec.keys()


def test_node_ports_come_and_go_with_the_type(api):
    made = api.create("services", service(type="NodePort"))
    port = made["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    with pytest.raises(ApiStatusError, match="provided port is already allocated"):
        api.create("services", service("b", type="NodePort", ports=[{"port": 1, "nodePort": port}]))
    with pytest.raises(ApiStatusError, match="The range of valid ports is 30000-32767"):
        api.create("services", service("b", type="NodePort", ports=[{"port": 1, "nodePort": 80}]))
    plain = api.patch("services", "web", "default", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in plain["spec"]["ports"][0]
    assert plain["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    api.create("services", service("b", type="NodePort", ports=[{"port": 1, "nodePort": port}]))


def node_ports(api, name, count):
    ports = [{"name": f"p{number}", "port": number} for number in range(1, count + 1)]
    made = api.create("services", service(name, type="NodePort", ports=ports))
    return {port["nodePort"] for port in made["spec"]["ports"]}


def test_node_ports_that_manifests_name_are_given_to_nobody_else_before_the_others_are_used_up(api):
    others = range(30086, 32768)
    assert node_ports(api, "many", len(others)) == {*others}
    assert max(node_ports(api, "more", 86)) == 30085
    with pytest.raises(ApiStatusError, match="range is full"):
        node_ports(api, "full", 1)


def test_a_node_port_stays_when_the_service_changes(api):
    made = api.create("services", service(type="LoadBalancer"))
    changed = api.patch("services", "web", "default", {"spec": {"selector": {"a": "b"}}})
    assert changed["spec"]["ports"] == made["spec"]["ports"]


def test_a_full_range_says_so(tmp_path):
    api = Api(Store(tmp_path / "s"), ClusterConfig(service_cidrs=["10.96.0.0/29"]))
    api.create("namespaces", {"metadata": {"name": "default"}})
    for number in range(6):
        api.create("services", service(f"s{number}"))
    with pytest.raises(ApiStatusError, match="range is full"):
        api.create("services", service("more"))
    api.store.close()


@pytest.fixture
def dual(tmp_path):
    config = ClusterConfig(
        service_cidrs=["10.96.0.0/16", "fd00:96::/112"], pod_cidrs=["10.0.0.0/16", "fd00::/56"]
    )
    api = Api(Store(tmp_path / "s"), config)
    api.create("namespaces", {"metadata": {"name": "default"}})
    yield api
    api.store.close()


FOUR, SIX = ["IPv4"], ["IPv6"]
SELECTOR = {"app": "web"}


@pytest.mark.parametrize(
    ("asked", "policy", "families"),
    [
        ({}, "SingleStack", FOUR),
        ({"ipFamilies": SIX}, "SingleStack", SIX),
        ({"clusterIP": "fd00:96::99"}, "SingleStack", SIX),
        ({"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", FOUR + SIX),
        (
            {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": SIX},
            "RequireDualStack",
            SIX + FOUR,
        ),
        (
            {"ipFamilyPolicy": "PreferDualStack", "clusterIP": "fd00:96::99"},
            "PreferDualStack",
            SIX + FOUR,
        ),
        ({"clusterIP": "None", "selector": SELECTOR}, "SingleStack", FOUR),
        ({"clusterIP": "None"}, "RequireDualStack", FOUR + SIX),
    ],
)
def test_the_families_of_a_service_on_a_dual_stack_cluster(dual, asked, policy, families):
    spec = dual.create("services", service(**asked))["spec"]
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == (policy, families)
    if spec["clusterIP"] != "None":
        assert [f"IPv{ip_address(a).version}" for a in spec["clusterIPs"]] == families
        assert spec["clusterIP"] == spec["clusterIPs"][0]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"ipFamilyPolicy": "SingleStack", "ipFamilies": FOUR + SIX},
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families",
        ),
        (
            {"clusterIPs": ["10.96.0.99", "fd00:96::99"], "clusterIP": "10.96.0.99"},
            "when multiple cluster IPs are specified",
        ),
        (
            {"ipFamilies": FOUR, "clusterIP": "fd00:96::99"},
            'Invalid value: "fd00:96::99": expected an IPv4 value as indicated by `ipFamilies[0]`',
        ),
        ({"ipFamilies": FOUR + FOUR}, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'),
        ({"ipFamilyPolicy": "Dual"}, "spec.ipFamilyPolicy: Unsupported value"),
    ],
)
def test_families_that_cannot_be_are_refused_as_a_real_server_does(dual, asked, message):
    with pytest.raises(ApiStatusError) as caught:
        dual.create("services", service(**asked))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            'Invalid value: "RequireDualStack": this cluster is not configured for dual-stack',
        ),
        ({"ipFamilies": SIX}, 'ipFamilies[0]: Invalid value: "IPv6": not configured on this'),
        ({"clusterIP": "fd00:96::99"}, "IPv6 is not configured on this cluster"),
    ],
)
def test_a_cluster_with_one_family_refuses_the_other(api, asked, message):
    with pytest.raises(ApiStatusError) as caught:
        api.create("services", service(**asked))
    assert message in str(caught.value)
    spec = api.create("services", service(ipFamilyPolicy="PreferDualStack"))["spec"]
    assert spec["ipFamilies"] == FOUR


def test_a_service_gains_and_gives_up_its_second_family(dual):
    first = dual.create("services", service())["spec"]["clusterIP"]

    def change(**spec):
        return dual.patch("services", "web", "default", {"spec": spec})["spec"]

    both = change(ipFamilyPolicy="PreferDualStack")
    assert both["clusterIPs"][0] == first
    assert both["ipFamilies"] == FOUR + SIX
    assert change(selector=SELECTOR)["clusterIPs"] == both["clusterIPs"]
    with pytest.raises(ApiStatusError, match="'SingleStack' to release the secondary cluster IP"):
        change(clusterIPs=[first])
    one = change(ipFamilyPolicy="SingleStack")
    assert (one["clusterIPs"], one["ipFamilies"]) == ([first], FOUR)
