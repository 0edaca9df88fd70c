"""Services and policies among many others: from the request to the kernel's rules.

A change is answered when the kernel has it, so what is measured is the request; each round
proves with a packet that the answer was true.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from cluster import connect, pod, ready_pods, state
from harness import Limits, bench

from k8slab import clusters

SERVICES = 1000
POLICIES = 500
PODS = 60
ROUNDS = 100
POLICY_RESOURCE = "networkpolicies.networking.k8s.io"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
NETWORK_POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"


def create(cluster, path, objects):
    """Create many objects, four requests at a time."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda obj: cluster.request("POST", path, obj), objects))


def timed(cluster, *request, **more):
    """Make a request and return how long it took, in milliseconds."""
    began = time.perf_counter()
    cluster.request(*request, **more)
    return (time.perf_counter() - began) * 1000


def service(name):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"port": 80}]},
    }


def endpoints(name, addresses, port=8080):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"port": port, "protocol": "TCP"}],
    }


@bench("services", "1,000 Services on 3 nodes: endpoints of one changed", Limits("ms", 20, 1))
def services():
    with state():
        cluster = clusters.up()
        pods = ready_pods(cluster, [pod("client"), pod("server")])
        server = next(p for p in pods if p["metadata"]["name"] == "server")["status"]["podIP"]
        names = [f"s{number}" for number in range(SERVICES)]
        create(cluster, "/api/v1/namespaces/default/services", map(service, names))
        three = [f"10.244.9.{number}" for number in range(1, 4)]
        create(cluster, SLICES, (endpoints(name, three) for name in names))
        address = cluster.get("services", "s0", "default")["spec"]["clusterIP"]
        flow = {"from": {"namespace": "default", "pod": "client"}, "to": address, "port": 80}
        for number in range(ROUNDS):
            # On 8080 the pod answers, on 9 it refuses: so the packet tells whose rules it met.
            port, wanted = ((8080, "open"), (9, "refused"))[number % 2]
            yield timed(cluster, "PUT", f"{SLICES}/s0", endpoints("s0", [server], port))
            assert connect(cluster, flow) == wanted


def allow(number):
    """Let the pods of one team, on some ports, in from another and from a range outside."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"allow-{number}", "namespace": "default"},
        "spec": {
            "podSelector": {"matchLabels": {"team": f"t{number % 20}"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [
                        {"podSelector": {"matchLabels": {"team": f"t{(number + 7) % 20}"}}},
                        {"ipBlock": {"cidr": f"192.168.{number % 256}.0/24"}},
                    ],
                    "ports": [{"port": 8080}, {"port": 9000, "endPort": 9000 + number}],
                }
            ],
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 8080}]}],
        },
    }


def cut(name):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress"]},
    }


@bench(
    "policies-500",
    "a policy among 500 on 60 pods, request to enforced",
    Limits("ms", 50, 2, reach_p99=50, aim_p99=2),
)
def policies():
    with state():
        cluster = clusters.up()
        teams = [pod(f"p{n}", labels={"team": f"t{n % 20}"}) for n in range(PODS - 2)]
        pods = ready_pods(cluster, [*teams, pod("client"), pod("server")])
        server = next(p for p in pods if p["metadata"]["name"] == "server")["status"]["podIP"]
        create(cluster, NETWORK_POLICIES, map(allow, range(POLICIES)))
        flow = {"from": {"namespace": "default", "pod": "client"}, "to": server, "port": 8080}
        for _ in range(ROUNDS):
            yield timed(cluster, "POST", NETWORK_POLICIES, cut("server"))
            assert outcome(cluster, flow) == "silent"
            yield timed(cluster, "DELETE", f"{NETWORK_POLICIES}/server")
            assert outcome(cluster, flow) == "open"


def outcome(cluster, flow):
    answer = cluster.request(
        "POST", "/apis/lab.k8slab.dev/v1/probes", {"flows": [{**flow, "protocol": "TCP"}]}
    )
    return answer["results"][0]["outcome"]
