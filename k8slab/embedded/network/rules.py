"""One node's rules in the kernel: how they are changed, and how they heal.

The base of each table is written once, by libnftables; after that every change is the
difference between two fragments (`ruleset`), sent as netlink messages (`nftables`). This rests
on knowing what the kernel has. When it refuses a change in a way that shows that it has
something else (somebody flushed a table in a shell on the node, an answer was lost), all tables
of the node are written anew from what is known to be wanted, as kube-proxy does after a failed
sync. Changes from outside that refuse nothing are looked for from time to time (`resync`): the
kernel numbers its transactions, so that it takes one number to know that there was none.
"""

from __future__ import annotations

import errno
import logging
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from k8slab.embedded.network import (
    ruleset_balancer,
    ruleset_nat,
    ruleset_policy,
    ruleset_proxy,
)
from k8slab.embedded.network.nft import Nft
from k8slab.embedded.network.nftables import Transactions, messages
from k8slab.embedded.network.ruleset import Table
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from k8slab.embedded.network.ruleset import Family, Fragment, Key, Plan
    from k8slab.embedded.network.ruleset_proxy import Place

T = TypeVar("T")

_log = logging.getLogger(__name__)

_OTHER_STATE = {errno.ENOENT, errno.EEXIST, errno.EBUSY, errno.ENOBUFS, errno.EINTR}
"""Refusals that tell of rules which are not those known here: somebody else changed them,
or an answer was lost. Everything else tells of what was asked for."""


@dataclass(slots=True)
class Tables:
    """What is known of a node's tables in one address family."""

    place: Place
    proxy: Table = field(init=False)
    policy: Table = field(init=False)
    nat: Table = field(init=False)
    balancer: Table = field(init=False)
    """Has its base alone."""

    def __post_init__(self) -> None:
        family = self.place.family
        self.proxy = Table(family, ruleset_proxy.TABLE)
        self.policy = Table(family, ruleset_policy.TABLE)
        self.nat = Table(family, ruleset_nat.TABLE)
        self.balancer = Table(family, ruleset_balancer.TABLE)

    def base(self, *, shut: bool = False, without: Collection[Table] = ()) -> str:
        """Return the text of the tables, empty, or of some of them."""
        family = self.place.family
        texts = (
            (self.nat, ruleset_nat.base(family, self.place.pod_cidrs)),
            (self.policy, ruleset_policy.base(family, shut=shut)),
            (self.proxy, ruleset_proxy.base(self.place)),
            (self.balancer, ruleset_balancer.base(family, self.place.load_balancer_cidrs)),
        )
        return "".join(text for table, text in texts if table not in without)

    def all(self) -> list[Table]:
        """Return the tables, those first without which too much would pass."""
        return [self.policy, self.proxy, self.nat, self.balancer]


def families(cidrs: Iterable[str]) -> list[Family]:
    """Return the address families of the given ranges, in order."""
    return list(dict.fromkeys("ip6" if ":" in cidr else "ip" for cidr in cidrs))


class Rules:
    """The tables of one node. Everything here runs on the kernel thread."""

    def __init__(self, node: str, netns: int, tables: Mapping[Family, Tables]) -> None:
        self._node = node
        self.tables = tables
        self.healed: Callable[[], object] = _nothing
        """Called when tables were written anew: what packets met meanwhile may have left traces."""
        self._held = ExitStack()
        self._shut = self._anew = False
        self._resting: dict[Table, dict[Key, Fragment | None]] = {}
        """Tables whose agent is stopped, with what they would have been told since."""
        self.nft = self._held.enter_context(closing(Nft(netns)))
        self._transactions = self._held.enter_context(closing(Transactions(netns)))
        self.nft.run("".join(tables.base() for tables in self.tables.values()))
        self._generation = self._transactions.generation()

    def close(self) -> None:
        """Let go of the kernel, which keeps the rules."""
        self._held.close()

    def touched(self) -> bool:
        """Tell whether anybody else has made a transaction in the namespace since the last call.

        It may have been about other tables. While rules are missing that the kernel refused,
        the next change heals anyway.
        """
        known, self._generation = self._generation, self._transactions.generation()
        return self._generation != known and not self._shut

    def rest(self, names: Collection[str]) -> None:
        """Write nothing to these tables any more, nor heal them, until `wake` (see `agents`)."""
        for table in self._named(names):
            self._resting.setdefault(table, {})

    def wake(self, names: Collection[str]) -> None:
        """Write these tables anew, with all that was to be written to them meanwhile."""
        told = {table: self._resting.pop(table, {}) for table in self._named(names)}
        self._begin_anew([*told])
        for table, changes in told.items():
            wanted = {**table.missing, **changes}
            table.missing = {key: one for key, one in wanted.items() if one is not None}
        _all_of(lambda table: self._by_halves(table, [*table.missing.items()]), told)
        self._finish()

    def rests(self, name: str) -> bool:
        """Say whether the agent of a table is stopped."""
        return any(table.name == name for table in self._resting)

    def _named(self, names: Collection[str]) -> list[Table]:
        every = (table for tables in self.tables.values() for table in tables.all())
        return [table for table in every if table.name in names]

    def _begin_anew(self, wanted: Collection[Table]) -> None:
        """Write the base of these tables; where policies are among them, nothing new passes yet."""
        every = [table for tables in self.tables.values() for table in tables.all()]
        left = [table for table in every if table not in wanted]
        parts = (tables.base(shut=True, without=left) for tables in self.tables.values())
        self._run_base("".join(parts))
        self._anew = True
        self._shut |= any(tables.policy in wanted for tables in self.tables.values())
        for table in wanted:
            table.lose()

    def kept(self) -> list[Table]:
        """Return the tables whose agent runs: these are written and healed."""
        every = (table for tables in self.tables.values() for table in tables.all())
        return [table for table in every if table not in self._resting]

    def listing(self) -> str:
        """Return what nft(8) lists of the tables whose agent runs."""
        return "".join(self.nft.show(f"{table.family} {table.name}") for table in self.kept())

    def restore(self, why: object) -> None:
        """Write all tables whose agent runs anew, for the reason `why`."""
        self._rewrite(why)
        self._finish()

    def change(self, table: Table, changes: Mapping[Key, Fragment | None]) -> None:
        """Apply changed fragments, all in one transaction if possible.

        What is too large for one, or is refused, is halved in the order of `changes`; each
        fragment is still changed as a whole. So one that the kernel refuses does not keep
        the others out; its `KernelError` is raised at the end.
        """
        if table in self._resting:
            self._resting[table].update(changes)
            return
        wanted = {**table.missing, **changes}
        try:
            self._commit(table, wanted)
        except KernelError as error:
            if error.errno in _OTHER_STATE:
                self._rewrite(error)
            elif len(wanted) < 2:
                raise
            self._by_halves(table, list(wanted.items()))
        self._finish()

    def _commit(self, table: Table, changes: Mapping[Key, Fragment | None]) -> None:
        plan = table.plan(changes)
        self._run(plan, in_parts=len(changes) == 1)
        table.commit(plan)

    def _run(self, plan: Plan, *, in_parts: bool) -> None:
        """Do what `plan` says; `in_parts` if one fragment is too large for one transaction."""
        try:
            self._transactions.run(batch := messages(plan))
            self._generation += bool(batch)
        except KernelError as error:
            if error.errno != errno.EMSGSIZE or not in_parts or len(plan.steps) < 2:
                raise
            for half in plan.halves():
                self._run(half, in_parts=True)

    def _by_halves(self, table: Table, items: list[tuple[Key, Fragment | None]]) -> None:
        try:
            self._commit(table, dict(items))
        except KernelError:
            if len(items) < 2:
                raise
        else:
            return
        middle = len(items) // 2
        _all_of(lambda half: self._by_halves(table, half), (items[:middle], items[middle:]))

    def _rewrite(self, why: object) -> None:
        """Write all tables anew. Until the policies are there no new connection passes."""
        _log.warning("node %s: its rules are written anew, since %s", self._node, why)
        self._begin_anew(kept := self.kept())
        _all_of(lambda table: self._by_halves(table, list(table.missing.items())), kept)

    def _run_base(self, text: str) -> None:
        self.nft.run(text)
        self._generation += 1

    def _finish(self) -> None:
        """Let packets pass again after tables were written anew, and tell of it."""
        self._reopen()
        if self._anew:
            self._anew = False
            self.healed()

    def _reopen(self) -> None:
        policies = [tables.policy for tables in self.tables.values()]
        if self._shut and not any(one.missing or one in self._resting for one in policies):
            self._run_base("".join(ruleset_policy.reopened(family) for family in self.tables))
            self._shut = False


def _nothing() -> None:
    """Stand for the listener until there is one."""


def _all_of(write: Callable[[T], None], items: Iterable[T]) -> None:
    """Write each item, then raise the first `KernelError` that there was."""
    failure: KernelError | None = None
    for item in items:
        try:
            write(item)
        except KernelError as error:
            failure = failure or error
    if failure:
        raise failure
