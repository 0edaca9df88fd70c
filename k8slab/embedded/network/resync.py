"""Rules that somebody changed by hand: found from time to time, and written anew.

A change from outside that makes the kernel refuse one of ours heals at once (`rules`). Others
would stay: a flushed chain whose Service never changes, one element taken out of a map. So each
node is asked every `SECONDS` for the number of the last transaction in its namespace. As long as
all were ours there is nothing to do, and that is one short question. If there were others, the
node's tables are compared with a reference: the same fragments, written into a namespace of its
own, so that both sides are the kernel's own listing. Tables of others (of iptables, of a learner)
are left alone. Real ones look as well: kube-proxy each hour in its nftables mode (KEP-3866), Felix
every 90 s or more (``nftablesRefreshInterval``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.embedded.network.rules import Rules, Tables
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k8slab.embedded.network.node import Node
    from k8slab.embedded.network.queue import KernelQueue

_log = logging.getLogger(__name__)

SECONDS = 30.0
"""Between two looks: kube-proxy's ``syncPeriod``."""

_SHOWN = 120
"""Characters of a line that a warning shows."""


class Resync:
    """Looks after the rules of all nodes while it is open."""

    def __init__(self, queue: KernelQueue, nodes: Callable[[], Iterable[Node]]) -> None:
        self._queue = queue
        self._nodes = nodes
        self._reference: Reference | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._reference = await self._queue.run(Reference)
        self._task = asyncio.create_task(self._look_for_ever())

    async def close(self) -> None:
        """Look no longer."""
        if self._task:
            self._task.cancel()
        if self._reference:
            await self._queue.run(self._reference.close)

    async def look(self) -> None:
        """Look once at each node, and heal those whose rules are not as they must be."""
        for node in list(self._nodes()):
            try:
                await self._queue.run(self._heal, node)
            except KernelError as error:
                _log.warning("node %s: its rules could not be compared: %s", node.name, error)

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            await self.look()

    def _heal(self, node: Node) -> None:
        if self._reference and node in self._nodes() and node.rules.touched():
            heal(node.rules, self._reference)


class Reference(Rules):
    """Rules of no node: what the kernel makes of fragments in a namespace where nobody else is.

    It is made once and kept, since libnftables works only with descriptors below 1,024.
    """

    def __init__(self) -> None:
        self._netns = linux.new_netns()
        super().__init__("reference", self._netns, {})

    def close(self) -> None:
        """Let the namespace go."""
        super().close()
        os.close(self._netns)

    def draw(self, original: Rules) -> str:
        """Write what a node's tables should hold, and nothing else; return the kernel's listing.

        Tables whose agent is stopped are left out, as in the node's own listing.
        """
        self.tables = {family: Tables(one.place) for family, one in original.tables.items()}
        mine = {(one.family, one.name): one for one in self.kept()}
        written = {mine.pop((one.family, one.name)): one for one in original.kept()}
        bases = (tables.base(without=mine.values()) for tables in self.tables.values())
        self.nft.run("flush ruleset\n" + "".join(bases))
        for table, theirs in written.items():
            self.change(table, theirs.fragments)
        return self.listing()


def heal(rules: Rules, reference: Reference) -> bool:
    """Write the rules anew if the kernel has others than those known; tell whether it had."""
    if found := difference(reference.draw(rules), rules.listing()):
        rules.restore(f"somebody changed them: {found}")
    return bool(found)


def difference(wanted: str, found: str) -> str:
    """Say in words what is different between two listings of nft(8); nothing if nothing is.

    The order of chains, sets and elements, and what packets put into a set, count for nothing.
    """
    mine, theirs = blocks(wanted), blocks(found)
    for name in sorted(mine.keys() | theirs.keys()):
        here, there = mine.get(name), theirs.get(name)
        if here is None or there is None:
            return f"{name} {'is missing' if there is None else 'should not be there'}"
        if here != there:
            lines = [*(f"- {line}" for line in here if line not in there)]
            lines += (f"+ {line}" for line in there if line not in here)
            return f"{name}: {lines[0][:_SHOWN] if lines else 'the rules have another order'}"
    return ""


def blocks(listing: str) -> dict[str, list[str]]:
    """Return the lines of each chain, set and map of a listing, elements one to a line."""
    found: dict[str, list[str]] = {}
    for table, body in _TABLES.findall(listing):
        found[table] = []
        for name, text in _PARTS.findall(body):
            found[f"{table} {name}"] = _rules(text) if name.startswith("chain") else _elements(text)
    return found


def _rules(text: str) -> list[str]:
    return [_ANONYMOUS.sub(_sorted, line.strip()) for line in text.splitlines()]


_TABLES = re.compile(r"^(table .*) {\n((?s:.*?))^}\n", re.MULTILINE)
_PARTS = re.compile(r"^\t(\S.*) {\n((?s:.*?))^\t}\n", re.MULTILINE)
_ANONYMOUS = re.compile(r"\{ ([^}]*) \}")


def _sorted(match: re.Match[str]) -> str:
    return f"{{ {', '.join(sorted(match[1].split(', ')))} }}"


def _elements(text: str) -> list[str]:
    head, _, elements = text.partition("elements = {")
    lines = [line.strip() for line in head.splitlines() if line.strip()]
    if any(line.startswith("flags") and "dynamic" in line for line in lines):
        return lines
    return [*lines, *sorted(part.strip() for part in elements.rstrip(" }\n\t").split(",") if part)]
