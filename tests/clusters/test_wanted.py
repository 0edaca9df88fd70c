import pytest

from k8slab.clusters.wanted import Wanted
from k8slab.errors import UsageError


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"nodes": 1},
        {"nodes": 100},
        {"pod_cidr": "10.0.0.0/16", "service_cidr": "10.1.0.0/16"},
        {"pod_cidr": "10.200.0.0/23", "nodes": 3},
        {"service_cidr": "10.96.0.0/12"},
        {"service_cidr": "10.96.0.0/24"},
        {"ip_family": "dual"},
        {"ip_family": "ipv6", "nodes": 100},
        {"ip_family": "ipv6", "pod_cidr": "fd00:1::/64", "service_cidr": "fd00:2::/108"},
        {"ip_family": "dual", "pod_cidr": "10.1.0.0/16, fd00:1::/56"},
    ],
)
def test_what_can_be_is_accepted(wanted):
    assert Wanted(**wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"nodes": 0}, "--nodes is 1 to 100, not 0"),
        ({"nodes": 101}, "--nodes is 1 to 100, not 101"),
        ({"pod_cidr": "here"}, "--pod-cidr 'here' is not an address range"),
        ({"pod_cidr": "10.1.2.3/16"}, "did you mean 10.1.0.0/16?"),
        ({"pod_cidr": "fd00::/64"}, "--pod-cidr fd00::/64 is IPv6; the cluster has IPv4"),
        ({"ip_family": "both"}, "--ip-family is ipv4, ipv6 or dual, not both"),
        (
            {"ip_family": "dual", "pod_cidr": "10.1.0.0/16"},
            "--pod-cidr 10.1.0.0/16 is IPv4; the cluster has IPv4 and IPv6",
        ),
        ({"ip_family": "ipv6", "pod_cidr": "fd00:10:96::/56"}, "overlap"),
        ({"ip_family": "ipv6", "pod_cidr": "2001:db8::/48"}, "belongs to the internet outside"),
        ({"ip_family": "ipv6", "service_cidr": "fd00:2::/64"}, "is a /108 to a /120"),
        ({"ip_family": "ipv6", "pod_cidr": "fd00:1::/121"}, "need 6 blocks of /122, it has 2"),
        ({"pod_cidr": "10.96.128.0/17"}, "overlap"),
        ({"pod_cidr": "172.16.0.0/12"}, "overlaps 172.18.0.0/16, which belongs to the nodes"),
        ({"service_cidr": "192.168.0.0/16"}, "which belongs to the corporate network outside"),
        ({"service_cidr": "10.0.0.0/11"}, "--service-cidr is a /12 to a /24"),
        ({"service_cidr": "10.96.0.0/25"}, "--service-cidr is a /12 to a /24"),
        ({"pod_cidr": "10.1.0.0/25"}, "3 nodes need 6 blocks of /26, it has 2"),
        ({"pod_cidr": "10.1.0.0/28"}, "3 nodes need 6 blocks of /26, it has 0"),
        ({"nodes": 100, "pod_cidr": "10.1.0.0/20"}, "100 nodes need 200 blocks of /26, it has 64"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(wanted, message):
    with pytest.raises(UsageError) as caught:
        Wanted(**wanted)
    assert message in str(caught.value)
