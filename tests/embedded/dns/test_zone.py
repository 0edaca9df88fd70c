"""Kubernetes DNS specification 1.1.0, case by case, on the pure zone."""

import pytest

from k8slab.embedded import wire
from k8slab.embedded.dns.catalogue import Catalogue
from k8slab.embedded.dns.zone import Options, Zone
from k8slab.embedded.wire import Record

ZONES = ("cluster.local.", "in-addr.arpa.", "ip6.arpa.")


def service(name, *, ns="shop", ips=("10.96.1.1",), ports=(("http", "TCP", 80),), **spec):
    return {
        "metadata": {"namespace": ns, "name": name},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ips[0] if ips else "",
            "clusterIPs": list(ips),
            "ports": [{"name": n, "protocol": p, "port": port} for n, p, port in ports],
            **spec,
        },
    }


def endpoints(name, *addresses, ns="shop", slice_name=None, ports=(("http", "TCP", 8080),)):
    return {
        "metadata": {
            "namespace": ns,
            "name": slice_name or f"{name}-1",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [each["ip"]],
                "conditions": {"ready": each.get("ready", True)},
                **({"hostname": each["hostname"]} if "hostname" in each else {}),
                **({"targetRef": {"kind": "Pod", "name": each["pod"]}} if "pod" in each else {}),
            }
            for each in addresses
        ],
        "ports": [{"name": n, "protocol": p, "port": port} for n, p, port in ports],
    }


@pytest.fixture
def catalogue():
    cat = Catalogue()
    for ns in ("shop", "kube-system", "default"):
        cat.put("namespaces", {"metadata": {"name": ns}})
    cat.put(
        "services",
        service("kube-dns", ns="kube-system", ips=("10.96.0.10",), ports=(("dns", "UDP", 53),)),
    )
    cat.put("services", service("web", ports=(("http", "TCP", 80), ("dns", "UDP", 53))))
    cat.put("services", service("dual", ips=("10.96.1.2", "fd00:96::2")))
    cat.put("services", service("db", ips=("None",), ports=(("pg", "TCP", 5432),)))
    cat.put("services", service("idle", ips=("None",)))
    cat.put("services", service("bare", ips=("None",), ports=()))
    cat.put("services", service("ext", ips=(), type="ExternalName", externalName="API.example.com"))
    cat.put("services", service("pending", ips=()))
    cat.put(
        "endpointslices",
        endpoints("web", {"ip": "10.244.1.5", "pod": "web-a"}),
    )
    cat.put(
        "endpointslices",
        endpoints(
            "db",
            {"ip": "10.244.1.7", "hostname": "db-0", "pod": "db-0"},
            {"ip": "10.244.2.7", "hostname": "db-1", "pod": "db-1"},
            {"ip": "10.244.2.9", "pod": "db-x"},
            {"ip": "10.244.2.8", "hostname": "db-2", "ready": False},
            ports=(("pg", "TCP", 5432),),
        ),
    )
    cat.put("endpointslices", endpoints("bare", {"ip": "10.244.3.1"}, ports=()))
    cat.put(
        "pods",
        {
            "metadata": {"namespace": "shop", "name": "p"},
            "status": {"podIPs": [{"ip": "10.244.1.5"}]},
        },
    )
    return cat


def ask(catalogue, name, kind, **options):
    options = {"zones": ZONES, "pods": "insecure", "ttl": 30} | options
    return Zone(catalogue, Options(**options)).lookup(name, wire.TYPES[kind])


def data(answer):
    return sorted(str(record.data) for record in answer.answers)


POSITIVE = [
    # (name, type, data of the answers)
    ("web.shop.svc.cluster.local.", "A", ["10.96.1.1"]),
    ("dual.shop.svc.cluster.local.", "A", ["10.96.1.2"]),
    ("dual.shop.svc.cluster.local.", "AAAA", ["fd00:96::2"]),
    ("db.shop.svc.cluster.local.", "A", ["10.244.1.7", "10.244.2.7", "10.244.2.9"]),
    ("db-0.db.shop.svc.cluster.local.", "A", ["10.244.1.7"]),
    ("10-244-2-9.db.shop.svc.cluster.local.", "A", ["10.244.2.9"]),
    ("10-244-1-5.web.shop.svc.cluster.local.", "A", ["10.244.1.5"]),
    ("bare.shop.svc.cluster.local.", "A", ["10.244.3.1"]),
    ("_http._tcp.web.shop.svc.cluster.local.", "A", ["10.96.1.1"]),
    ("ext.shop.svc.cluster.local.", "CNAME", ["api.example.com."]),
    ("ext.shop.svc.cluster.local.", "A", ["api.example.com."]),
    ("10-244-9-9.shop.pod.cluster.local.", "A", ["10.244.9.9"]),
    ("fd00--1.shop.pod.cluster.local.", "AAAA", ["fd00::1"]),
    ("dns-version.cluster.local.", "TXT", ["(b'1.1.0',)"]),
    ("ns.dns.cluster.local.", "A", ["10.96.0.10"]),
    ("cluster.local.", "NS", ["ns.dns.cluster.local."]),
    ("1.1.96.10.in-addr.arpa.", "PTR", ["web.shop.svc.cluster.local."]),
    ("7.1.244.10.in-addr.arpa.", "PTR", ["db-0.db.shop.svc.cluster.local."]),
    ("5.1.244.10.in-addr.arpa.", "PTR", ["10-244-1-5.web.shop.svc.cluster.local."]),
    (
        "2.0.0.0." + "0.0.0.0." * 5 + "6.9.0.0.0.0.d.f.ip6.arpa.",
        "PTR",
        ["dual.shop.svc.cluster.local."],
    ),
]

NODATA = [
    ("web.shop.svc.cluster.local.", "AAAA"),
    ("web.shop.svc.cluster.local.", "MX"),
    ("web.shop.svc.cluster.local.", "TXT"),
    ("web.shop.svc.cluster.local.", "CNAME"),
    ("web.shop.svc.cluster.local.", "SOA"),
    ("ext.shop.svc.cluster.local.", "MX"),
    ("bare.shop.svc.cluster.local.", "SRV"),
    ("cluster.local.", "A"),
    ("svc.cluster.local.", "A"),
    ("pod.cluster.local.", "A"),
    ("shop.svc.cluster.local.", "A"),
    ("shop.pod.cluster.local.", "A"),
    ("dns-version.cluster.local.", "A"),
    ("10-244-9-9.shop.pod.cluster.local.", "AAAA"),
    ("1.1.96.10.in-addr.arpa.", "A"),
]

NO_NAME = [
    "nothing.shop.svc.cluster.local.",
    "web.nowhere.svc.cluster.local.",
    "nowhere.svc.cluster.local.",
    "web.shop.cluster.local.",
    "idle.shop.svc.cluster.local.",
    "pending.shop.svc.cluster.local.",
    "db-2.db.shop.svc.cluster.local.",
    "10-244-1-7.db.shop.svc.cluster.local.",
    "_nope._tcp.web.shop.svc.cluster.local.",
    "_http._udp.web.shop.svc.cluster.local.",
    "x.ext.shop.svc.cluster.local.",
    "a._http._tcp.web.shop.svc.cluster.local.",
    "not-an-address.shop.pod.cluster.local.",
    "10-244-9-9.nowhere.pod.cluster.local.",
    "8.2.244.10.in-addr.arpa.",
    "*.shop.svc.cluster.local.",
]


@pytest.mark.parametrize(("name", "kind", "expected"), POSITIVE)
def test_the_name_has_these_records(catalogue, name, kind, expected):
    answer = ask(catalogue, name, kind)
    assert answer.rcode == wire.NOERROR
    assert data(answer) == sorted(expected)
    assert {record.name for record in answer.answers} == {name}
    assert {record.ttl for record in answer.answers} == {30}


@pytest.mark.parametrize(("name", "kind"), NODATA)
def test_the_name_exists_without_such_a_record(catalogue, name, kind):
    answer = ask(catalogue, name, kind)
    assert (answer.rcode, answer.answers) == (wire.NOERROR, ())
    assert [record.type for record in answer.authority] == [wire.SOA]


@pytest.mark.parametrize("name", NO_NAME)
@pytest.mark.parametrize("kind", ["A", "AAAA", "SRV", "TXT", "PTR"])
def test_the_name_does_not_exist(catalogue, name, kind):
    answer = ask(catalogue, name, kind)
    assert (answer.rcode, answer.answers) == (wire.NXDOMAIN, ())
    zone = "in-addr.arpa." if name.endswith("arpa.") else "cluster.local."
    soa = answer.authority[0]
    assert (soa.name, soa.type, soa.data[0]) == (zone, wire.SOA, f"ns.dns.{zone}")
    assert soa.data[-1] == 30


@pytest.mark.parametrize("name", ["example.com.", "local.", ".", "mycluster.local."])
def test_a_name_outside_of_the_zones_is_somebody_elses(catalogue, name):
    assert ask(catalogue, name, "A") is None


def test_a_service_port_has_an_srv_record_with_the_service_as_target(catalogue):
    answer = ask(catalogue, "_http._tcp.web.shop.svc.cluster.local.", "SRV")
    assert [record.data for record in answer.answers] == [
        (0, 100, 80, "web.shop.svc.cluster.local.")
    ]
    assert answer.additional == (Record("web.shop.svc.cluster.local.", wire.A, 30, "10.96.1.1"),)


def test_a_headless_port_has_an_srv_record_for_each_ready_endpoint(catalogue):
    answer = ask(catalogue, "_pg._tcp.db.shop.svc.cluster.local.", "SRV")
    targets = {record.data[3] for record in answer.answers}
    assert targets == {
        f"{host}.db.shop.svc.cluster.local." for host in ("db-0", "db-1", "10-244-2-9")
    }
    assert {record.data[:3] for record in answer.answers} == {(0, 33, 5432)}
    assert {record.name: record.data for record in answer.additional} == {
        "db-0.db.shop.svc.cluster.local.": "10.244.1.7",
        "db-1.db.shop.svc.cluster.local.": "10.244.2.7",
        "10-244-2-9.db.shop.svc.cluster.local.": "10.244.2.9",
    }


def test_a_dual_stack_service_has_one_srv_record_and_two_addresses(catalogue):
    answer = ask(catalogue, "_http._tcp.dual.shop.svc.cluster.local.", "SRV")
    assert len(answer.answers) == 1
    assert {record.data for record in answer.additional} == {"10.96.1.2", "fd00:96::2"}


def test_an_external_name_asks_to_look_the_target_up(catalogue):
    answer = ask(catalogue, "ext.shop.svc.cluster.local.", "AAAA")
    assert answer.follow == "api.example.com."
    assert answer.answers[0].type == wire.CNAME


def test_pod_names_can_be_disabled_or_verified(catalogue):
    name = "10-244-9-9.shop.pod.cluster.local."
    assert ask(catalogue, name, "A", pods="disabled").rcode == wire.NXDOMAIN
    assert ask(catalogue, name, "A", pods="verified").rcode == wire.NXDOMAIN
    known = "10-244-1-5.shop.pod.cluster.local."
    assert data(ask(catalogue, known, "A", pods="verified")) == ["10.244.1.5"]
    elsewhere = "10-244-1-5.default.pod.cluster.local."
    assert ask(catalogue, elsewhere, "A", pods="verified").rcode == wire.NXDOMAIN


def test_endpoints_can_be_named_after_their_pods(catalogue):
    name = "db-x.db.shop.svc.cluster.local."
    assert ask(catalogue, name, "A").rcode == wire.NXDOMAIN
    assert data(ask(catalogue, name, "A", endpoint_pod_names=True)) == ["10.244.2.9"]


def test_only_listed_namespaces_have_names(catalogue):
    options = {"namespaces": frozenset({"kube-system"})}
    assert ask(catalogue, "web.shop.svc.cluster.local.", "A", **options).rcode == wire.NXDOMAIN
    assert data(ask(catalogue, "kube-dns.kube-system.svc.cluster.local.", "A", **options))
    assert ask(catalogue, "1.1.96.10.in-addr.arpa.", "PTR", **options).rcode == wire.NXDOMAIN


def test_empty_services_can_be_hidden(catalogue):
    name = "dual.shop.svc.cluster.local."
    assert data(ask(catalogue, name, "A")) == ["10.96.1.2"]
    assert ask(catalogue, name, "A", ignore_empty_service=True).rcode == wire.NXDOMAIN
    web = "web.shop.svc.cluster.local."
    assert data(ask(catalogue, web, "A", ignore_empty_service=True)) == ["10.96.1.1"]


def test_endpoints_of_several_slices_are_one_answer(catalogue):
    catalogue.put("endpointslices", endpoints("db", {"ip": "10.244.3.3"}, slice_name="db-2nd"))
    assert "10.244.3.3" in data(ask(catalogue, "db.shop.svc.cluster.local.", "A"))
    catalogue.remove("endpointslices", "shop", "db-2nd")
    assert "10.244.3.3" not in data(ask(catalogue, "db.shop.svc.cluster.local.", "A"))


def test_a_slice_that_changes_its_service_leaves_the_old_one(catalogue):
    catalogue.put("endpointslices", endpoints("web", {"ip": "10.244.9.1"}, slice_name="db-1"))
    assert ask(catalogue, "db.shop.svc.cluster.local.", "A").rcode == wire.NXDOMAIN


def test_the_reverse_names_follow_changes(catalogue):
    assert data(ask(catalogue, "1.1.96.10.in-addr.arpa.", "PTR"))
    catalogue.remove("services", "shop", "web")
    assert ask(catalogue, "1.1.96.10.in-addr.arpa.", "PTR").rcode == wire.NXDOMAIN
    # Endpoints without their Service have no name either.
    assert ask(catalogue, "5.1.244.10.in-addr.arpa.", "PTR").rcode == wire.NXDOMAIN


def test_the_version_grows_only_when_a_name_may_have_changed(catalogue):
    before = catalogue.version
    labelled = service("web", ports=(("http", "TCP", 80), ("dns", "UDP", 53)))
    labelled["metadata"]["labels"] = {"new": "label"}
    catalogue.put("services", labelled)
    assert catalogue.version == before
    catalogue.put("services", service("web", ips=("10.96.1.9",)))
    assert catalogue.version > before
