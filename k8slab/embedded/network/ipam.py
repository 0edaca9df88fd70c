"""Which pod gets which address: blocks of a range, claimed by nodes as they need them.

As Calico's IPAM does, a node claims whole blocks (/26: 64 addresses), so that the other
nodes need one route for each block and not one for each pod. The first block of the
n-th node is the n-th /24 of the range, which reads well. Within a node addresses go
round: a freed one is given out again only when all others have had their turn, so that
what others remember of it (neighbours, connections) has time to be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from k8slab.errors import PodNetworkError

if TYPE_CHECKING:
    from k8slab.embedded.network.cni import RangeSet

_BLOCK_BITS = 6
_BLOCKS_PER_HOME = 4
"""Four blocks of 64 make one /24 (IPv6: a /120)."""


@dataclass(slots=True)
class _Node:
    home: int
    blocks: list[int] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    last: int = -1
    """The position given out last, counted through the node's blocks in order."""


class Ipam:
    """The addresses of one range; pure bookkeeping."""

    def __init__(self, cidr: str) -> None:
        self._network: IPv4Network | IPv6Network = ip_network(cidr)
        free_bits = self._network.max_prefixlen - self._network.prefixlen
        # A range smaller than one block is one block.
        self._bits = min(_BLOCK_BITS, free_bits)
        self._count = 1 << (free_bits - self._bits)
        self._owners: dict[int, str] = {}
        self._nodes: dict[str, _Node] = {}
        self.version = self._network.version

    def add_node(self, node: str) -> str:
        """Claim the first block of `node` and return it, for example ``10.244.1.0/26``."""
        homes = {known.home for known in self._nodes.values()}
        home = next(number for number in range(len(homes) + 1) if number not in homes)
        self._nodes[node] = _Node(home)
        try:
            return self._claim(node)
        except PodNetworkError:
            del self._nodes[node]
            raise

    def remove_node(self, node: str) -> None:
        """Give back every block of `node`."""
        for block in self._nodes.pop(node).blocks:
            del self._owners[block]

    def blocks(self, node: str) -> list[str]:
        """Return the blocks of `node` in the order in which it claimed them."""
        return [self._block(number) for number in self._nodes[node].blocks]

    def allocate(self, node: str, within: RangeSet | None = None) -> str:
        """Return an address of `node` that no pod has; claim a block when all are taken.

        Of its blocks only addresses `within` a range set count, if one is given, and then no
        block is claimed.
        """
        state = self._nodes[node]
        size = 1 << self._bits
        total = len(state.blocks) * size
        for step in range(1, total + 1):
            position = (state.last + step) % total
            if position in state.used or not position % size:
                continue
            if within is None or self._address(state, position) in within:
                break
        else:
            if within is not None:
                raise PodNetworkError(
                    f"failed to allocate for range {within.number}:"
                    f" no IP addresses available in range set: {within}"
                )
            self._claim(node)
            position = total + 1
        state.used.add(position)
        state.last = position
        return self._address(state, position)

    def free(self, node: str, address: str) -> None:
        """Take an address back."""
        state = self._nodes[node]
        size = 1 << self._bits
        offset = int(ip_network(address).network_address) - int(self._network.network_address)
        state.used.discard(state.blocks.index(offset // size) * size + offset % size)

    def _claim(self, node: str) -> str:
        state = self._nodes[node]
        first = state.home * _BLOCKS_PER_HOME
        for step in range(self._count):
            number = (first + step) % self._count
            if number not in self._owners:
                self._owners[number] = node
                state.blocks.append(number)
                return self._block(number)
        raise PodNetworkError(
            f"node {node} needs a block of pod addresses, but all {self._count} blocks"
            f" of {self._network} are taken",
            hint="Start the cluster with a larger --pod-cidr or with fewer nodes.",
        )

    def _block(self, number: int) -> str:
        first = self._network.network_address + (number << self._bits)
        return f"{first}/{self._network.max_prefixlen - self._bits}"

    def _address(self, state: _Node, position: int) -> str:
        block, offset = divmod(position, 1 << self._bits)
        start = state.blocks[block] << self._bits
        return str(self._network.network_address + start + offset)
