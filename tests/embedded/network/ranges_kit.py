"""The ranges of a cluster by its IP family, as arguments of a `ClusterConfig`."""

from k8slab.embedded.config import IP_FAMILIES, RANGES


def ranges(family):
    chosen = [RANGES[version] for version in IP_FAMILIES[family]]
    return {
        "pod_cidrs": [each.pods for each in chosen],
        "node_cidrs": [each.nodes for each in chosen],
        "service_cidrs": [each.services for each in chosen],
        "load_balancer_cidrs": [each.load_balancers for each in chosen],
    }


DUAL = ranges("dual")
