"""Names of Services that were made a moment ago."""

from k8slab.grading.polling import Polling
from k8slab.policy import Flow
from k8slab.probes import Outcome, observe


def until_resolved(cluster, source, name, namespace):
    """Wait until a pod's name server knows a name: it hears of Services after the nodes do."""
    flow = Flow.of(source, f"name:{name}", 80, namespace=namespace)
    polling = Polling(
        look=lambda: observe(cluster, [flow])[0],
        good=lambda seen: seen.outcome is not Outcome.UNRESOLVED,
        quiet=lambda _: False,
        deadline=30.0,
        settled=1,
    )
    assert polling.run().outcome is not Outcome.UNRESOLVED
