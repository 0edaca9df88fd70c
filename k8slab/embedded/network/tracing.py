"""What the kernel's rules do with one flow: ``meta nftrace``, read from netlink.

While a `Tracer` is open, a table of ours in a namespace marks the packets of one flow, and the
kernel then tells of each rule that such a packet matches, and of each chain that it leaves
(``nft monitor trace`` shows the same). Marking decides nothing: the table's chains accept, and
the mark is no part of what other rules can see.

The flow is known by its source port in the direction in which its connection began, which
connection tracking keeps when addresses are rewritten (so the chains come just after it). On a
node that gets the flow from another node, masqueraded, the port is a new one: what comes from
the other nodes' addresses is marked too, and whoever reads tells by the packet what is his.

The table is one of the flow's own family. With one of both (``inet``) the kernel would track the
connections of a family that nobody uses here, and for that go through the table of all connections
(nf_ct_netns_do_get), twice for each journey.

The table has an owner, the socket that made it (NFT_TABLE_F_OWNER, Linux 5.12): the kernel
removes it when that socket goes, whatever ends this process.

Sources: linux/netfilter/nf_tables.h (NFT_MSG_TRACE), nft_meta.c, nf_tables_trace.c of Linux.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from k8slab.embedded.linux import in_netns
from k8slab.embedded.network import nftables_rules as rules
from k8slab.embedded.network.attributes import attribute, be32, nested, split, split_messages, text
from k8slab.embedded.network.netlink import Message
from k8slab.embedded.network.nftables import Transactions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TABLE = "k8slab-trace"
_NETFILTER = 12
_TRACE_GROUP = 1 << 8  # NFNLGRP_NFTRACE, the ninth
_TRACE = 10 << 8 | 17
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _NEW_RULE = (10 << 8 | kind for kind in (0, 2, 3, 6))
_CREATE, _APPEND = 0x400, 0x800
_HEADS = {4: struct.pack(">BBH", 2, 0, 0), 6: struct.pack(">BBH", 10, 0, 0)}
"""Heads of messages (nfgenmsg) by the version of IP: NFPROTO_IPV4, NFPROTO_IPV6."""
_OWNED = 2  # NFT_TABLE_F_OWNER
_HOOKS = {"prerouting": 0, "output": 3}
_AFTER_CONNTRACK = -199
"""Priority of the chains: connection tracking has -200 (NF_IP_PRI_CONNTRACK)."""

_CT_SOURCE = {4: 19, 6: 21}  # NFT_CT_SRC_IP, NFT_CT_SRC_IP6
_CT_SOURCE_PORT, _ORIGINAL = 11, 0
_META_TRACE = 12  # NFT_META_NFTRACE

_T_TABLE, _T_CHAIN, _T_HANDLE, _T_KIND, _T_VERDICT, _T_ID = 1, 2, 3, 4, 5, 6
_T_NETWORK, _T_TRANSPORT, _T_FAMILY, _T_POLICY = 8, 9, 15, 16
_POLICY, _RETURN, _RULE = 1, 2, 3
_KINDS = {_POLICY: "policy", _RETURN: "return", _RULE: "rule"}
_VERDICTS = {
    0: "drop", 1: "accept", 0xFFFFFFFF: "continue", 0xFFFFFFFD: "jump", 0xFFFFFFFC: "goto",
    0xFFFFFFFB: "return",
}  # fmt: skip
_FAMILIES = {2: "ip", 10: "ip6", 1: "inet", 5: "netdev", 7: "bridge"}
_RECEIVE_BUFFER = 4 << 20

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Mark:
    """Which packets are told of."""

    protocol: str
    source_port: int
    masqueraded: tuple[str, ...] = ()
    """Addresses from which the flow may come with another source port: the other nodes'."""
    version: int = 4
    """Of IP: what rules are told of."""


@dataclass(frozen=True, slots=True)
class Met:
    """One rule that a packet matched, or a base chain's policy that it was left to."""

    packet: int
    """What the kernel calls the packet: the same through all hooks, used again later."""
    family: str
    table: str
    chain: str
    handle: int
    """The rule's; 0 for a chain's policy, or its end."""
    kind: str
    """``rule``, ``policy``, ``return``."""
    verdict: str
    target: str = ""
    """The chain of a jump or goto."""
    headers: tuple[bytes, bytes] | None = None
    """Network and transport header, at most 20 bytes of the latter; told once for each hook."""


class Tracer:
    """Marks the packets of one flow in one namespace and reads what rules they meet."""

    def __init__(self, netns: int, mark: Mark) -> None:
        self.lost = 0
        """How often the kernel told faster than we read."""
        with in_netns(netns):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER
            )
        # Two at once on one node are two tables; the name only tells them apart.
        self._name = f"{TABLE}-{os.getpid()}-{next(_numbers)}"
        self._head = _HEADS[mark.version]
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._socket.setblocking(False)
            self._socket.bind((0, _TRACE_GROUP))
            owner = Transactions(netns)
            try:
                owner.run(_table(self._name, mark))
            except BaseException:
                owner.close()
                raise
            self._rules = owner
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> Iterator[Met]:
        """Yield what has been told since, without waiting; our own table has the name `TABLE`."""
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1
                continue
            for _sequence, kind, _flags, body in split_messages(data):
                if kind == _TRACE:
                    met = _met(body[4:])
                    yield replace(met, table=TABLE) if met.table == self._name else met

    def close(self) -> None:
        """Take the table away and close both sockets.

        Left to the kernel, which takes it away with its owner, it would be 17 ms for each.
        """
        try:
            body = self._head + text(1, self._name)
            gone = Message(f"delete table {self._name}", _DELETE_TABLE, 0, body, True)
            self._rules.run([gone])
        finally:
            self._rules.close()
            self._socket.close()


def _met(body: bytes) -> Met:
    found = dict(split(body))
    verdict = dict(split(found.get(_T_VERDICT, b"")))
    code = _number(verdict.get(1, b""))
    if _T_POLICY in found and _T_VERDICT not in found:
        code = _number(found[_T_POLICY])
    network = found.get(_T_NETWORK)
    return Met(
        packet=_number(found[_T_ID]),
        family=_FAMILIES.get(_number(found[_T_FAMILY]), "?"),
        table=_name(found.get(_T_TABLE, b"")),
        chain=_name(found.get(_T_CHAIN, b"")),
        handle=_number(found.get(_T_HANDLE, b"")),
        kind=_KINDS.get(_number(found[_T_KIND]), "?"),
        verdict=_VERDICTS.get(code, str(code)),
        target=_name(verdict.get(2, b"")),
        headers=None if network is None else (network, found.get(_T_TRANSPORT, b"")),
    )


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _name(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _table(name: str, mark: Mark) -> list[Message]:
    """Return what makes the table; its words appear where the kernel refuses one."""
    head, table = _HEADS[mark.version], text(1, name)
    found = [Message(f"add table {name}", _NEW_TABLE, _CREATE, head + table + be32(2, _OWNED))]
    for chain, hook in _HOOKS.items():
        place = nested(4, be32(1, hook), be32(2, _AFTER_CONNTRACK))
        body = table + text(3, chain) + place + be32(5, 1) + text(7, "filter")
        found.append(Message(f"add chain {name} {chain}", _NEW_CHAIN, _CREATE, head + body))
        for expressions in _marks(mark, chain):
            body = table + text(2, chain) + nested(4, expressions)
            words = f"add a rule that marks packets to {name} {chain}"
            found.append(Message(words, _NEW_RULE, _CREATE | _APPEND, head + body))
    return found


def _marks(mark: Mark, chain: str) -> Iterable[bytes]:
    protocol = rules.is_protocol(mark.protocol.lower())
    port = _original(_CT_SOURCE_PORT) + rules.compare(struct.pack(">H", mark.source_port))
    yield protocol + port + _SET_TRACE
    if chain == "prerouting":
        for address in (one for one in mark.masqueraded if (":" in one) is (mark.version == 6)):
            packed = rules.packed("ip6" if mark.version == 6 else "ip", address)
            source = _original(_CT_SOURCE[mark.version])
            yield protocol + source + rules.compare(packed) + _SET_TRACE


def _original(key: int) -> bytes:
    """Load what connection tracking knows of the first direction into the register."""
    direction = attribute(3, bytes([_ORIGINAL]))
    return rules.expression("ct", be32(1, 1), be32(2, key), direction)


_SET_TRACE = rules.expression("immediate", be32(1, 1), nested(2, rules.value(b"\1"))) + (
    rules.expression("meta", be32(2, _META_TRACE), be32(3, 1))
)
