"""/etc/hosts and /etc/resolv.conf for every policy."""

import pytest

from k8slab.embedded.controllers.kubelet import files

CLUSTER, NODE = ["10.96.0.10"], ["192.0.2.53"]
SEARCH = "search default.svc.cluster.local svc.cluster.local cluster.local\n"


def pod(**spec):
    return {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}


RESOLV = {
    "ClusterFirst by default": ({}, SEARCH + "nameserver 10.96.0.10\noptions ndots:5\n"),
    "ClusterFirst on the host's network is Default": (
        {"hostNetwork": True},
        "nameserver 192.0.2.53\n",
    ),
    "ClusterFirstWithHostNet": (
        {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
        SEARCH + "nameserver 10.96.0.10\noptions ndots:5\n",
    ),
    "Default": ({"dnsPolicy": "Default"}, "nameserver 192.0.2.53\n"),
    "None with a config": (
        {
            "dnsPolicy": "None",
            "dnsConfig": {
                "nameservers": ["1.2.3.4"],
                "searches": ["a.test"],
                "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}],
            },
        },
        "search a.test\nnameserver 1.2.3.4\noptions ndots:1 edns0\n",
    ),
    "a config adds to the policy and replaces its options": (
        {
            "dnsConfig": {
                "nameservers": ["10.96.0.10", "1.2.3.4"],
                "options": [{"name": "ndots", "value": "2"}],
            }
        },
        SEARCH + "nameserver 10.96.0.10\nnameserver 1.2.3.4\noptions ndots:2\n",
    ),
}


@pytest.mark.parametrize(("spec", "text"), RESOLV.values(), ids=RESOLV)
def test_resolv_conf(spec, text):
    assert files.resolv_conf(pod(**spec), cluster=CLUSTER, node=NODE) == text


def test_hosts_names_the_pod_and_its_aliases():
    made = pod(
        hostname="db-0",
        subdomain="db",
        hostAliases=[{"ip": "192.0.2.1", "hostnames": ["old", "older"]}],
    )
    text = files.hosts(made, ["10.244.0.5"])
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.244.0.5\tdb-0.db.default.svc.cluster.local\tdb-0\n" in text
    assert text.endswith("# Entries added by HostAliases.\n192.0.2.1\told\tolder\n")


def test_a_long_pod_name_makes_a_host_name_that_fits():
    made = pod()
    made["metadata"]["name"] = "a" * 62 + "-" + "b" * 20
    assert files.hostname(made) == "a" * 62
