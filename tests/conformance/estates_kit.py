"""Random estates on a real cluster: what the engine predicts, and what packets do.

Eight pods in four namespaces stay; every estate gives pods and namespaces other labels and
applies other policies, NetworkPolicies and ClusterNetworkPolicies with every construct.
Then everybody tries everybody (pods, nodes, the internet) by real packets, in both IP
families, over TCP and UDP, and the engine must have said for each flow what happened. SCTP
is tried only where a socket opens.

    python tests/conformance/estates_kit.py --estates 2000 [--seed N]

makes a long run in a cluster of its own. A mismatch is made smaller (policies, rules, peers and
ports are taken away as long as it stays) and printed as YAML.
"""

import argparse
import copy
import os
import socket
import sys
import tempfile
import time

import yaml

from k8slab import clusters, policy
from k8slab.policy import Flow, Party
from k8slab.probes import Outcome, observe
from k8slab.testing.chance import NAMESPACES, Chance

API = {"Namespace": "v1", "Pod": "v1"}
POLICY_RESOURCES = {
    "NetworkPolicy": "networkpolicies.networking.k8s.io",
    "ClusterNetworkPolicy": "clusternetworkpolicies.policy.networking.k8s.io",
}
NAMED = (
    {"name": "http", "containerPort": 8080},
    {"name": "http", "containerPort": 9090},
    {"name": "http", "containerPort": 8080, "protocol": "UDP"},
    None,
)
INTERNET = {4: "203.0.113.10", 6: "2001:db8:113::10"}
SETTLED = 3.0
"""Seconds that a difference must last: labels of pods take effect a moment after the answer."""


def sctp_opens():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


class Mismatch(Exception):  # noqa: N818  it is what was looked for
    """Prediction and packets differ; the estate in the smallest form that was found."""


class World:
    """The cluster with its pods, and the estate that is on it now."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.now = {}
        self.labels = {}
        self.flows = 0
        self.blocked = 0
        everybody = [*map(self.namespace, NAMESPACES), *(self.pod(n) for n in range(8))]
        cluster.apply(everybody)
        for name in NAMESPACES:
            cluster.wait("pods", "", name, until="ready")
        self.nodes = [obj["metadata"]["name"] for obj in cluster.list("nodes")]
        found = [pod for name in NAMESPACES for pod in cluster.list("pods", name)]
        self.addresses = {
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": [
                entry["ip"] for entry in pod["status"]["podIPs"]
            ]
            for pod in found
        }
        self.protocols = ["TCP", "UDP", *(["SCTP"] if sctp_opens() else [])]

    def namespace(self, name, labels=()):
        return {"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": dict(labels)}}  # fmt: skip

    def pod(self, number, labels=()):
        named = NAMED[number % len(NAMED)]
        container = {
            "name": "web",
            "image": "k8slab/app",
            "args": ["--port=8080,9090", "--udp=8080,9090"],
            "ports": [named] if named else [],
        }
        metadata = {"name": f"p{number}", "namespace": NAMESPACES[number % 3 if number < 6 else 3]}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
        return {"apiVersion": "v1", "kind": "Pod", "spec": spec,
                "metadata": {**metadata, "labels": dict(labels)}}  # fmt: skip

    def estate(self, seed):
        """Return labels (of namespaces and pods) and policies."""
        chance = Chance(seed)
        labelled = [
            self.namespace(n, chance.namespace(n)["metadata"]["labels"]) for n in NAMESPACES
        ]
        labelled += [self.pod(number, chance.labels()) for number in range(8)]
        count = chance.random.randint
        policies = [chance.network_policy(number) for number in range(count(1, 5))]
        policies += [chance.cluster_policy(number) for number in range(count(0, 3))]
        return labelled, policies

    def put(self, labelled, policies):
        """Bring an estate onto the cluster; only what differs is sent."""
        for obj in labelled:
            key = (obj["kind"], obj["metadata"]["name"])
            if self.labels.get(key) != obj["metadata"]["labels"]:
                self.cluster.apply([obj])
                self.labels[key] = obj["metadata"]["labels"]
        self.put_policies(policies)

    def put_policies(self, policies):
        wanted = {key_of(obj): obj for obj in policies}
        for kind, namespace, name in [key for key in self.now if self.now[key] != wanted.get(key)]:
            self.cluster.delete(POLICY_RESOURCES[kind], name, namespace)
            del self.now[kind, namespace, name]
        for key, obj in wanted.items():
            if key not in self.now:
                self.cluster.apply([obj])
                self.now[key] = obj

    def questions(self):
        """Return (flow to try, flow to predict) of everybody to everybody."""
        sources = [Party.parse(key) for key in self.addresses]
        sources += [Party("node", name) for name in self.nodes[:2]]
        targets = [(key, address) for key, found in self.addresses.items() for address in found]
        versions = {":" in address for _, address in targets}
        targets += [("", INTERNET[6 if v6 else 4]) for v6 in versions]
        ports = [("TCP", 8080), ("TCP", 9090), ("UDP", 8080)]
        ports += [("SCTP", 8080)] if "SCTP" in self.protocols else []
        return [
            Flow(source, Party("ip", address), port, protocol)
            for source in sources
            for key, address in targets
            if key != str(source) and (key or source.kind == "pod")
            for protocol, port in ports
            # A closed UDP port outside answers by ICMP, of which the kernel sends few in a
            # second (icmp(7), icmp_ratelimit): nobody could tell that from a drop.
            if key or protocol == "TCP"
        ]

    def objects(self):
        found = [obj for kind in ("namespaces", "nodes") for obj in self.cluster.list(kind)]
        found += [pod for name in NAMESPACES for pod in self.cluster.list("pods", name)]
        return found + [o for kind in POLICY_RESOURCES.values() for o in self.cluster.list(kind)]

    def differences(self, flows):
        """Return the flows of which prediction and packets differ, and stay so."""
        estate = policy.compile(self.objects())
        said = [estate.decide(flow) for flow in flows]
        end = time.monotonic() + SETTLED
        while True:
            # A drop is told at once; who answers late on a busy machine is waited for.
            seen = observe(self.cluster, flows, deadline=10.0)
            for result in seen:
                assert result.outcome not in (Outcome.FAILED, Outcome.UNRESOLVED), result
                assert result.outcome is not Outcome.SILENT or result.denial, result
            found = [
                (verdict, result)
                for verdict, result in zip(said, seen, strict=True)
                if verdict.allowed is (result.outcome is Outcome.SILENT)
            ]
            if not found or time.monotonic() > end:
                self.flows += len(flows)
                self.blocked += sum(not verdict.allowed for verdict in said)
                return found

    def compare(self, seed):
        """Compare one estate; raises `Mismatch`."""
        labelled, policies = self.estate(seed)
        self.put(labelled, policies)
        found = self.differences(self.questions())
        if found:
            verdict, result = found[0]
            smallest = self.shrink(policies, verdict.flow)
            raise Mismatch(report(seed, labelled, smallest, verdict, result))

    def shrink(self, policies, flow):
        """Take parts away as long as the difference of this flow stays."""
        progress = True
        while progress:
            progress = False
            for smaller in smaller_forms(policies):
                self.put_policies(smaller)
                if self.differences([flow]):
                    policies, progress = smaller, True
                    break
        self.put_policies(policies)
        return policies


def key_of(obj):
    metadata = obj["metadata"]
    return obj["kind"], metadata.get("namespace", ""), metadata["name"]


def smaller_forms(policies):
    """Yield every estate with one policy, rule, peer or port less."""
    for number in range(len(policies)):
        yield policies[:number] + policies[number + 1 :]
    for number, obj in enumerate(policies):
        for path in list(removable(obj["spec"])):
            smaller = copy.deepcopy(obj)
            place = smaller["spec"]
            for step in path[:-1]:
                place = place[step]
            del place[path[-1]]
            yield [*policies[:number], smaller, *policies[number + 1 :]]


def removable(spec):
    for section, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(section, ())):
            yield section, index
            for part in (side, "ports", "protocols"):
                entries = rule.get(part, ())
                needed = "action" in rule and part != "ports"  # none would be refused
                if len(entries) > needed:
                    yield from ((section, index, part, entry) for entry in range(len(entries)))


def report(seed, labelled, policies, verdict, result):
    text = yaml.safe_dump_all([*labelled, *policies], sort_keys=False)
    return (
        f"seed {seed}: {verdict.flow} was predicted {verdict.action.value} and was "
        f"{result.outcome.value} ({result.detail or result.denial})\n{verdict.explain()}\n{text}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--estates", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    # A home of its own, so that no cluster of the user is met; short, for the sake of sockets.
    with tempfile.TemporaryDirectory(prefix="k8slab-") as home:
        os.environ["K8SLAB_HOME"] = home
        wanted = clusters.Wanted(ip_family="dual")
        cluster = clusters.up("conformance", provider="embedded", wanted=wanted)
        try:
            mismatches = run(World(cluster), options.seed, options.estates)
        finally:
            clusters.delete("conformance")
    print(f"{mismatches} mismatches in {options.estates} estates")
    return 1 if mismatches else 0


def run(world, seed, estates):
    """Compare estates from a seed on; return how many differed."""
    skipped = "" if "SCTP" in world.protocols else "; SCTP skipped, no socket opens here"
    print(f"seeds {seed} to {seed + estates - 1}{skipped}", flush=True)
    mismatches = 0
    for number in range(estates):
        try:
            world.compare(seed + number)
        except Mismatch as error:
            print(error, flush=True)
            mismatches += 1
        if (number + 1) % 50 == 0:
            done = f"{number + 1} estates, {world.flows} flows, {world.blocked} blocked"
            print(f"{done}, {mismatches} mismatches", flush=True)
    return mismatches


if __name__ == "__main__":
    sys.exit(main())
