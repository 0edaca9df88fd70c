"""Forget the connections of pods that have gone, as Calico's Felix does on each node.

What is left of them would lead others astray: whoever gets the address next, or a client whose
packets go on to nobody. And a pod that never closed what it opened would fill the table for days.

To find one pod's connections the kernel walks the table of all namespaces, some 5 ms. So this is
done in the background, once for all pods of a node that have gone meanwhile. But whoever gets an
address before that waits for it: else the new pod would have the old one's connections, or lose
some of its own.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.network.conntrack import Cleaner

if TYPE_CHECKING:
    from collections.abc import Collection

    from k8slab.embedded.network.node import Node, Pod
    from k8slab.embedded.network.queue import KernelQueue


class Forgetting:
    """The addresses whose connections are still to be forgotten."""

    def __init__(self, queue: KernelQueue) -> None:
        self._queue = queue
        self._doomed: defaultdict[str, set[str]] = defaultdict(set)
        """By node; an address stays until its connections are gone, however often that fails."""
        self._called_for: set[str] = set()
        """Nodes that will be looked after, with all addresses that are there by then."""
        self._one_at_a_time = threading.Lock()

    def gone(self, node: Node, pod: Pod) -> None:
        """Have a pod's connections on its node forgotten soon; on the kernel thread."""
        self._doomed[node.name].update(pod.addresses)
        if node.name not in self._called_for:
            cleaner = Cleaner(node.netns)  # may fail: then the next one that goes calls again
            self._called_for.add(node.name)
            self._queue.later(partial(self._empty, node.name, cleaner), finish=cleaner.close)

    def before_reuse(self, node: Node, addresses: Collection[str]) -> None:
        """Return when nothing is left of those who had these addresses; on the kernel thread."""
        if not self._doomed[node.name].isdisjoint(addresses):
            with closing(Cleaner(node.netns)) as cleaner:
                self._empty(node.name, cleaner)

    def _empty(self, node: str, cleaner: Cleaner) -> None:
        with self._one_at_a_time:
            self._called_for.discard(node)  # who comes from now on may come too late for us
            if addresses := self._doomed[node].copy():
                cleaner.forget(addresses)
                self._doomed[node].difference_update(addresses)
