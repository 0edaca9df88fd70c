"""A table's changes as the kernel takes them: nfnetlink, without a program or library between.

libnftables reads every chain and set of the namespace before each command, to know what the
text refers to: with 1,000 Services that is 25 ms for any change, on each node. What changes
here needs no such knowledge: a step names its chain or set, a rule is complete in itself. So
the plan's steps are written as messages, each with the words of its command, and one
transaction carries exactly the difference. What is left is the kernel's own work: before it
takes a rule it follows all jumps of the table (nft_chain_validate), which with 1,000 Services
of three endpoints takes 1 ms, or 3 when they have left the processor's caches.

A transaction is all or nothing. The kernel has done it, or refused it, when `send` returns;
the answers are there to be read, and the first refusal is raised with the words of its step.
Sources: linux/netfilter/nfnetlink.h, nf_tables.h; nf_tables_api.c and nfnetlink.c of Linux.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from functools import lru_cache
from typing import TYPE_CHECKING

from k8slab.embedded.linux import in_netns
from k8slab.embedded.network import nftables_rules as rules
from k8slab.embedded.network.attributes import (
    MESSAGE,
    attribute,
    be32,
    be64,
    nested,
    split,
    split_messages,
    text,
)
from k8slab.embedded.network.netlink import Message
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from k8slab.embedded.network.ruleset import Command, Family, Plan, Step

_NETFILTER = 12
_NFTABLES = 10
_BEGIN, _END = 16, 17
_GET_GENERATION, _GENERATION = 16, 1
_ERROR = 2
_REQUEST, _ACKNOWLEDGE, _CREATE, _APPEND, _HAS_DETAILS = 1, 4, 0x400, 0x800, 0x200
_SOL_NETLINK, _SHORT_ANSWERS, _DETAILED_ANSWERS = 270, 10, 11
_DETAIL = 1

_KIND: Mapping[Command, tuple[int, int]] = {
    "add chain": (3, _CREATE),
    "delete chain": (5, 0),
    "add rule": (6, _CREATE | _APPEND),
    "flush chain": (8, 0),  # a deletion of rules that names none
    "add set": (9, _CREATE),
    "delete set": (11, 0),
    "add element": (12, _CREATE),
    "delete element": (14, 0),
}
"""Type (within nftables) and flags of the message for each command."""
_FAMILY: Mapping[Family, bytes] = {
    family: struct.pack(">BBH", number, 0, 0) for family, number in rules.ADDRESS_FAMILY.items()
}
_TABLE, _NAME = 1, 2
_CHAIN_NAME, _RULE_EXPRESSIONS, _RULE_USERDATA = 3, 4, 7
_SET_FLAGS, _SET_KEY_TYPE, _SET_KEY_LENGTH, _SET_DATA_TYPE, _SET_DATA_LENGTH = 3, 4, 5, 6, 7
_SET_DESCRIPTION, _SET_NUMBER, _SET_TIMEOUT, _SET_USERDATA = 9, 10, 11, 13
_DESCRIPTION_SIZE = 1
_ELEMENTS, _ELEMENTS_OF_NUMBER = 3, 4
_COMMENT, _KEY_ORDER = 0, 0
_FLAGS = {"interval": rules.INTERVAL, "timeout": rules.TIMEOUT, "dynamic": rules.DYNAMIC}
_NO_NUMBER = 0
"""The kernel wants a number even for a set that has a name; a rule's own sets count from 1."""

_ELEMENT_BYTES = 60_000
"""Elements in one message: the attribute that holds them has a length of 16 bits."""
_DECLARATION = (
    r"type (?P<types>[^;]+);(?: flags (?P<flags>[^;]+);)?(?: timeout (?P<timeout>\d+)s;)?"
    r"(?: elements = { (?P<elements>[^}]+) };)?"
)


def messages(plan: Plan) -> list[Message]:
    """Return the plan as netlink messages; `KernelError` for what cannot be written so."""
    found: list[Message] = []
    for step in plan.steps:
        words = f"{step.command} {plan.family} {plan.table} {step.name}"
        try:
            found += _WRITERS[step.command](plan.family, plan.table, step, words)
        except (ValueError, LookupError, OSError, struct.error) as error:
            raise KernelError(f"{words}: {error}", errno=errno.EINVAL) from error
    return found


def _message(command: Command, family: Family, words: str, *attributes: bytes) -> Message:
    kind, flags = _KIND[command]
    return Message(words, _NFTABLES << 8 | kind, flags, _FAMILY[family] + b"".join(attributes))


def _chain(family: Family, table: str, step: Step, words: str) -> list[Message]:
    place = 2 if step.command == "flush chain" else _CHAIN_NAME
    name = text(place, step.name)
    return [_message(step.command, family, words, text(_TABLE, table), name)]


def _rules(family: Family, table: str, step: Step, _words: str) -> Iterable[Message]:
    return _chain_rules(family, table, step.name, step.rest)


@lru_cache(maxsize=1024)
def _chain_rules(
    family: Family, table: str, chain: str, texts: tuple[str, ...]
) -> tuple[Message, ...]:
    """Return the rules of one chain; remembered, since the nodes have most chains in common."""
    words = f"add rule {family} {table} {chain}"
    found: list[Message] = []
    for rule in texts:
        one = rules.assemble(family, rule)
        found += [m for own in one.sets for m in _anonymous(family, table, own, words)]
        remark = b""
        if one.comment:
            note = one.comment.encode() + b"\0"
            remark = attribute(_RULE_USERDATA, bytes([_COMMENT, len(note)]) + note)
        place = text(_TABLE, table) + text(_NAME, chain)
        body = (place, nested(_RULE_EXPRESSIONS, one.expressions), remark)
        found.append(_message("add rule", family, f"{words} {rule}", *body))
    return tuple(found)


def _anonymous(
    family: Family, table: str, own: rules.AnonymousSet, words: str
) -> Iterator[Message]:
    """Return a set of one rule and its elements."""
    number, length = rules.key_type(own.types)
    place = text(_TABLE, table) + text(_NAME, own.name)
    to_verdicts = b""
    if own.flags & rules.MAP:
        to_verdicts = be32(_SET_DATA_TYPE, rules.VERDICT_TYPE) + be32(_SET_DATA_LENGTH, 0)
    yield _message(
        "add set",
        family,
        words,
        *(place, be32(_SET_FLAGS, own.flags)),
        *(be32(_SET_KEY_TYPE, number), be32(_SET_KEY_LENGTH, length), to_verdicts),
        be32(_SET_NUMBER, own.number),
        nested(_SET_DESCRIPTION, be32(_DESCRIPTION_SIZE, len(own.elements))),
        _byte_order(own.order),
    )
    ties = be32(_ELEMENTS_OF_NUMBER, own.number)
    for some in _portions(own.elements):
        yield _message("add element", family, words, place, nested(_ELEMENTS, *some), ties)


def _byte_order(order: int) -> bytes:
    return attribute(_SET_USERDATA, bytes([_KEY_ORDER, 4]) + struct.pack("=I", order))


def _set(family: Family, table: str, step: Step, words: str) -> Iterator[Message]:
    declared = re.fullmatch(_DECLARATION, step.rest[0])
    if declared is None:
        raise ValueError(f"not a declaration: {step.rest[0]}")
    number, length = rules.key_type(declared["types"].split(" . "))
    flags = sum(_FLAGS[word] for word in (declared["flags"] or "").split(",") if word)
    place = text(_TABLE, table) + text(_NAME, step.name)
    seconds = declared["timeout"]
    yield _message(
        "add set",
        family,
        words,
        *(place, be32(_SET_FLAGS, flags)),
        *(be32(_SET_KEY_TYPE, number), be32(_SET_KEY_LENGTH, length)),
        be32(_SET_NUMBER, _NO_NUMBER),
        be64(_SET_TIMEOUT, 1000 * int(seconds)) if seconds else b"",
        _byte_order(rules.NETWORK_ORDER),
    )
    if declared["elements"]:
        ranges = rules.prefixes(family, declared["elements"].split(", "))
        for some in _portions(ranges):
            yield _message("add element", family, words, place, nested(_ELEMENTS, *some))


def _set_gone(family: Family, table: str, step: Step, words: str) -> list[Message]:
    return [_message("delete set", family, words, text(_TABLE, table), text(_NAME, step.name))]


def _elements(family: Family, table: str, step: Step, words: str) -> Iterator[Message]:
    place = text(_TABLE, table) + text(_NAME, step.name)
    found = [
        rules.element(_key(family, key), _data(family, value))
        for key, value in step.elements.items()
    ]
    for some in _portions(found):
        what = f"{words} {{ {', '.join(step.elements)} }}"
        yield _message(step.command, family, what, place, nested(_ELEMENTS, *some))


def _key(family: Family, words: str) -> bytes:
    """Return a key, in the kernel's registers of four bytes when it has several parts."""
    parts = words.split(" . ")
    if len(parts) == 1:
        return _field(family, words)
    fields = [_field(family, part) for part in parts]
    return b"".join(field + bytes(-len(field) % 4) for field in fields)


def _field(family: Family, word: str) -> bytes:
    if word[0] == '"':
        return word.strip('"').encode().ljust(16, b"\0")  # an interface: IFNAMSIZ
    if word in rules.PROTOCOLS:
        return bytes([rules.PROTOCOLS[word]])
    return rules.packed_port(word) if word.isdigit() else rules.packed(family, word)


def _data(family: Family, words: str) -> bytes:
    """Return what a map has for a key: a verdict, or an address and port."""
    if not words:
        return b""
    first, *more = words.split()
    if first in rules.VERDICTS:
        return rules.verdict(first, *more)
    return rules.value(_key(family, words))


def _portions(elements: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Split elements into lists that fit one message each."""
    some: list[bytes] = []
    size = 0
    for one in elements:
        if some and size + len(one) > _ELEMENT_BYTES:
            yield some
            some, size = [], 0
        some.append(one)
        size += len(one)
    if some:
        yield some


_WRITERS = {
    "add set": _set,
    "delete set": _set_gone,
    "add chain": _chain,
    "flush chain": _chain,
    "delete chain": _chain,
    "add rule": _rules,
    "add element": _elements,
    "delete element": _elements,
}


class Transactions:
    """A socket for changes of rules in one network namespace; not for several threads at once."""

    def __init__(self, netns: int) -> None:
        with in_netns(netns):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER
            )
        self._socket.setsockopt(_SOL_NETLINK, _SHORT_ANSWERS, 1)
        self._socket.setsockopt(_SOL_NETLINK, _DETAILED_ANSWERS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)  # all it may have
        self._sequence = 0

    def close(self) -> None:
        """Close the socket; the kernel keeps the rules."""
        self._socket.close()

    def run(self, batch: Sequence[Message]) -> None:
        """Do all of it or nothing; raise `KernelError` for the first that was refused.

        EMSGSIZE: it is more than the kernel takes from a socket at once.
        """
        if not batch:
            return
        first = self._sequence + 1
        self._sequence += len(batch) + 2
        begin, end = _frame(_BEGIN, first), _frame(_END, self._sequence)
        parts = [begin]
        last = len(batch)
        for number, message in enumerate(batch, 1):
            flags = _REQUEST | message.flags | (_ACKNOWLEDGE if number == last else 0)
            size = MESSAGE.size + len(message.body)
            parts += (MESSAGE.pack(size, message.kind, flags, first + number, 0), message.body)
        try:
            self._socket.send(b"".join([*parts, end]))
            self._read(batch, first)
        except OSError as error:
            what = f"{_whole(batch)}: {error.strerror}"
            raise KernelError(what, errno=error.errno or 0) from error

    def generation(self) -> int:
        """Return the number of the namespace's last transaction, whoever made it.

        Source: ``NFT_MSG_GETGEN``; nf_tables_commit counts on with each transaction, by one.
        """
        self._sequence += 1
        head = (MESSAGE.size + 4, _NFTABLES << 8 | _GET_GENERATION, _REQUEST, self._sequence, 0)
        try:
            self._socket.send(MESSAGE.pack(*head) + struct.pack(">BBH", socket.AF_UNSPEC, 0, 0))
            [(_, _, _, body)] = split_messages(self._socket.recv(1 << 16))
        except OSError as error:
            what = f"asking for the number of the last transaction: {error.strerror}"
            raise KernelError(what, errno=error.errno or 0) from error
        return int(struct.unpack(">I", dict(split(body[4:]))[_GENERATION])[0])

    def _read(self, batch: Sequence[Message], first: int) -> None:
        refusal: KernelError | None = None
        acknowledged = False
        for sequence, flags, body in self._answers():
            number = -struct.unpack_from("=i", body)[0]
            if number:
                refusal = refusal or _refusal(batch, sequence - first, number, _detail(flags, body))
            elif sequence == first + len(batch):
                acknowledged = True
        if refusal:
            raise refusal
        if not acknowledged:
            what = f"{_whole(batch)}: the kernel's answer was lost"
            raise KernelError(what, errno=errno.ENOBUFS)

    def _answers(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield sequence number, flags and body of each answer until none is left."""
        while True:
            try:
                data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                # More refusals than fit into the socket: those that did come first tell why.
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            for sequence, kind, flags, body in split_messages(data):
                if kind == _ERROR:
                    yield sequence, flags, body


def _refusal(batch: Sequence[Message], place: int, number: int, detail: str) -> KernelError:
    # What is wrong with all of it together (a loop of jumps) is said of its beginning.
    what = batch[place - 1].what if 1 <= place <= len(batch) else _whole(batch)
    return KernelError(f"the kernel refused: {what}: {os.strerror(number)}{detail}", errno=number)


def _whole(batch: Sequence[Message]) -> str:
    return f"{len(batch)} commands from {batch[0].what!r} to {batch[-1].what!r}"


def _detail(flags: int, body: bytes) -> str:
    """Return what the kernel says besides the number; most refusals have nothing more."""
    if not flags & _HAS_DETAILS:
        return ""
    details = dict(split(body[4 + MESSAGE.size :]))
    return f" ({details[_DETAIL].rstrip(bytes(1)).decode()})" if _DETAIL in details else ""


def _frame(kind: int, sequence: int) -> bytes:
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, _NFTABLES)
    return MESSAGE.pack(MESSAGE.size + len(body), kind, _REQUEST, sequence, 0) + body
