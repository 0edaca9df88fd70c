"""What one nftables table should hold, and the text that changes it from one state to the next.

A table is a base, written once, plus *fragments*: the chains, sets and map elements that
belong to one thing (a Service port, a policy, a pod). `Table.plan` compares the old and the
new fragments of the things that changed and writes one transaction for the difference;
`Table.commit` makes that the known state once the kernel has accepted it. Elements of shared
maps may be claimed by several things at once (two Services with one external address): the
first by name has it, and the next gets it when the first goes.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Family = Literal["ip", "ip6"]
Command = Literal[
    "add set",
    "add chain",
    "add element",
    "add rule",
    "flush chain",
    "delete element",
    "delete chain",
    "delete set",
]
Key = tuple[str, ...]
Element = tuple[str, str]
"""A set or map, and the key in it."""

_NAME_LIMIT = 120
"""nft allows 127 characters (NFT_CHAIN_MAXNAMELEN); room is left for ``...``."""
_COMMENT_LIMIT = 127


@dataclass(frozen=True, slots=True)
class Fragment:
    """The part of a table that belongs to one thing."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    """Declarations, such as ``type ipv4_addr;``, by name. A name never changes its
    declaration: what may vary is part of the name's hash."""
    elements: dict[Element, str] = field(default_factory=dict)
    """Values of map elements; an element of a set has an empty value."""


_NOTHING = Fragment()


class Step(NamedTuple):
    """One command of nft(8) to a part of a table."""

    command: Command
    name: str
    """Of the chain, the set or the map."""
    rest: tuple[str, ...] = ()
    """Rules, each a command of its own, or one declaration."""
    elements: Mapping[str, str] = MappingProxyType({})
    """Values by key; empty for a set, and when elements are deleted."""

    def lines(self, family: Family, table: str) -> list[str]:
        """Return the step as nft(8) reads it."""
        what = f"{self.command} {family} {table} {self.name}"
        if self.command == "add set":
            return [f"{what} {{ {self.rest[0]} }}"]
        if self.elements:
            items = (f"{k} : {value}" if value else k for k, value in self.elements.items())
            return [f"{what} {braces(items)}"]
        return [f"{what} {rule}" for rule in self.rest] or [what]


class Plan(NamedTuple):
    """A transaction on a table, and what the table holds after it."""

    family: Family
    table: str
    steps: tuple[Step, ...]
    changes: Mapping[Key, Fragment | None]

    @property
    def text(self) -> str:
        """Return the transaction as nft(8) reads it."""
        return "".join(
            f"{line}\n" for step in self.steps for line in step.lines(self.family, self.table)
        )

    def halves(self) -> tuple[Plan, Plan]:
        """Return two transactions that do the same one after the other."""
        middle = len(self.steps) // 2
        first, second = self.steps[:middle], self.steps[middle:]
        return self._replace(steps=first), self._replace(steps=second)


class Table:
    """One table in the kernel, as far as it is known here."""

    def __init__(self, family: Family, name: str) -> None:
        self.family: Family = family
        self.name = name
        self.missing: dict[Key, Fragment] = {}
        """What the kernel had and has lost; to be written with the next change."""
        self._fragments: dict[Key, Fragment] = {}
        self._claims: dict[Element, dict[Key, str]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._fragments or key in self.missing

    @property
    def fragments(self) -> Mapping[Key, Fragment]:
        """Return what the kernel has besides the table's base."""
        return self._fragments

    def lose(self) -> None:
        """Take note that the kernel has the table's base and nothing else."""
        self.missing = {**self.missing, **self._fragments}
        self._fragments = {}
        self._claims = {}

    def plan(self, changes: Mapping[Key, Fragment | None]) -> Plan:
        """Return the transaction that gives each key its new fragment (``None``: removes it)."""
        old = {key: self._fragments.get(key, _NOTHING) for key in changes}
        new = {key: fragment or _NOTHING for key, fragment in changes.items()}
        old_chains, new_chains = _merged(old, "chains"), _merged(new, "chains")
        old_sets, new_sets = _merged(old, "sets"), _merged(new, "sets")
        rewritten = [n for n, rules in new_chains.items() if old_chains.get(n) != rules]
        gone = [name for name in old_chains if name not in new_chains]
        dropped_sets = {name for name in old_sets if name not in new_sets}
        removed, added = self._elements(old, new)
        removed = [element for element in removed if element[0] not in dropped_sets]
        steps = [
            *(Step("add set", n, (new_sets[n],)) for n in new_sets if n not in old_sets),
            *(Step("add chain", n) for n in rewritten if n not in old_chains),
            *_element_steps("delete element", dict.fromkeys(removed, "")),
            *(Step("flush chain", n) for n in [*rewritten, *gone] if n in old_chains),
            *(Step("delete chain", n) for n in gone),
            *(Step("delete set", n) for n in old_sets if n in dropped_sets),
            *_element_steps("add element", added),
            *(Step("add rule", n, new_chains[n]) for n in rewritten if new_chains[n]),
        ]
        return Plan(self.family, self.name, tuple(steps), changes)

    def commit(self, plan: Plan) -> None:
        """Take the state after `plan` as the state of the kernel."""
        for key, fragment in plan.changes.items():
            self.missing.pop(key, None)
            for element in self._fragments.pop(key, _NOTHING).elements:
                claims = self._claims[element]
                del claims[key]
                if not claims:
                    del self._claims[element]
            if fragment is not None:
                self._fragments[key] = fragment
                for element, value in fragment.elements.items():
                    self._claims.setdefault(element, {})[key] = value

    def _elements(
        self, old: Mapping[Key, Fragment], new: Mapping[Key, Fragment]
    ) -> tuple[list[Element], dict[Element, str]]:
        """Return the elements that go and those that come; one that changes does both."""
        touched: dict[Element, None] = {}
        for key in new:
            if old[key].elements != new[key].elements:
                touched.update(dict.fromkeys(old[key].elements))
                touched.update(dict.fromkeys(new[key].elements))
        removed: list[Element] = []
        added: dict[Element, str] = {}
        claimants: dict[Element, dict[Key, str]] = {
            element: {
                key: value for key, value in self._claims.get(element, {}).items() if key not in new
            }
            for element in touched
        }
        for key, fragment in new.items():
            for element, value in fragment.elements.items():
                if element in claimants:
                    claimants[element][key] = value
        for element in touched:
            before = _winner(self._claims.get(element, {}))
            after = _winner(claimants[element])
            if before != after:
                if before is not None:
                    removed.append(element)
                if after is not None:
                    added[element] = after
        return removed, added


def _element_steps(
    command: Literal["add element", "delete element"], elements: Mapping[Element, str]
) -> list[Step]:
    groups: dict[str, dict[str, str]] = {}
    for (name, key), value in elements.items():
        groups.setdefault(name, {})[key] = value
    return [Step(command, name, elements=items) for name, items in groups.items()]


def _merged(fragments: Mapping[Key, Fragment], part: str) -> dict:
    merged: dict = {}
    for fragment in fragments.values():
        merged.update(getattr(fragment, part))
    return merged


def _winner(claims: Mapping[Key, str]) -> str | None:
    return claims[min(claims)] if claims else None


@lru_cache(maxsize=4096)
def hashed_name(prefix: str, text: str, *more: object) -> str:
    """Return ``prefix-HASH-text``, made from what nft allows in a name and not too long.

    The hash is over `text` and `more`, so that shortened names stay different.
    """
    digest = hashlib.sha256("\0".join([text, *map(str, more)]).encode()).digest()
    readable = f"{prefix}-{b32encode(digest)[:8].decode()}-{text}".replace(":", ".")
    if len(readable) > _NAME_LIMIT:
        readable = readable[:_NAME_LIMIT] + "..."
    return readable


def comment(text: str) -> str:
    """Return a rule's ``comment`` clause; nft allows 128 bytes and no quotes."""
    clean = text.replace('"', "'")[:_COMMENT_LIMIT]
    return f'comment "{clean}"'


def of_family(family: Family, addresses: Iterable[str]) -> list[str]:
    """Return the addresses and prefixes that belong to `family`, in order."""
    return [text for text in addresses if (":" in text) is (family == "ip6")]


def braces(items: Iterable[str]) -> str:
    """Return an anonymous set."""
    return "{ " + ", ".join(items) + " }"


def one_of(items: Iterable[str]) -> str:
    """Return what matches any of `items`: the one, or an anonymous set (which costs more)."""
    found = list(items)
    return found[0] if len(found) == 1 else braces(found)


ADDRESS_TYPE: dict[Family, str] = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}
