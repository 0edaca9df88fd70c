"""Challenges: how long the command takes until something is broken and shows it."""

from cluster import command, state
from harness import Limits, bench

from k8slab import clusters
from k8slab.challenges.catalogue import injectable


@bench("challenge", "k8slab challenge, until the symptom shows", Limits("s", 2.0, 1.0, 2.0))
def ready():
    """Begin every fault once, on a cluster at rest: the slowest one counts, too."""
    with state():
        cluster = clusters.up()
        for number, fault in enumerate(injectable()):
            yield command("challenge", "--fault", fault.id, "--seed", str(number))
            command("challenge", "stop")
            at_rest(cluster)


def at_rest(cluster):
    """Return when the pods that the challenge ended are gone; a name server takes five seconds."""
    for pod in cluster.list("pods"):
        if "deletionTimestamp" in pod["metadata"]:
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            cluster.wait("pods", name, namespace, until="delete", deadline=30)
