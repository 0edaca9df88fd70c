"""Forget the connections of pods that have gone, as Calico's Felix does on each node.

What is left of them would lead others astray: whoever gets the address next, or a client whose
packets go on to nobody. And a pod that never closed what it opened would fill the table for days.

To find one pod's connections the kernel walks the table of all namespaces, some 5 ms. So this is
done in the background, once for all pods of a node that have gone meanwhile.
"""

from __future__ import annotations

from collections import defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.network.conntrack import Cleaner

if TYPE_CHECKING:
    from k8slab.embedded.network.node import Node, Pod
    from k8slab.embedded.network.queue import KernelQueue


class Forgetting:
    """The addresses whose connections are still to be forgotten."""

    def __init__(self, queue: KernelQueue) -> None:
        self._queue = queue
        self._waiting: defaultdict[str, deque[str]] = defaultdict(deque)

    def gone(self, node: Node, pod: Pod) -> None:
        """Have a pod's connections on its node forgotten soon; on the kernel thread."""
        waiting = self._waiting[node.name]
        waiting.extend(pod.addresses)
        # Whoever empties it takes all that is there, so only the first to come calls for that.
        if len(waiting) <= len(pod.addresses):
            cleaner = Cleaner(node.netns)
            self._queue.later(partial(_empty, waiting, cleaner), finish=cleaner.close)


def _empty(waiting: deque[str], cleaner: Cleaner) -> None:
    addresses = []
    while waiting:
        addresses.append(waiting.popleft())
    if addresses:
        cleaner.forget(addresses)
