"""Links, addresses, routes and neighbours by rtnetlink, without a program in between.

A function such as `veth` or `route` returns a `Message`: the bytes of one request and
the words for it. `Netlink.send` hands a batch of them to the kernel in one system call,
reads one acknowledgement for each, and raises `KernelError` with the words of the first
that failed. A socket belongs for good to the network namespace in which it was made.
Sources: rtnetlink(7), netlink(7), linux/if_link.h, linux/rtnetlink.h.
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded.linux import in_netns
from k8slab.embedded.network.attributes import (
    MESSAGE,
    attribute,
    split,
    split_messages,
    text,
    u32,
)
from k8slab.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable

_ERROR = 2
_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE, _NEWNEIGH = 20, 21, 24, 25, 28
_GETROUTE = 26
_GROUP_LINK = 1

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_OPERSTATE = 1, 3, 4, 10, 16
_IFLA_LINKINFO, _IFLA_AF_SPEC, _IFLA_NET_NS_FD, _IFLA_EXT_MASK = 18, 26, 28, 29
_INFO_KIND, _INFO_DATA, _VETH_PEER, _BR_MCAST_SNOOPING = 1, 2, 1, 23
_SKIP_STATISTICS = 1 << 3
_INET_CONF, _DEVCONF_PROXY_ARP = 1, 3
_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 8, 1
_OPER_UP = 6
_IFF_UP = 1

_ONLINK = 4
_RTN = {"unicast": 1, "local": 2, "blackhole": 6, "unreachable": 7}
_KINDS_OF_ROUTES = {1: "unicast", 2: "local", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_OIF, _RTA_GATEWAY = 1, 2, 3, 4, 5
_RTMSG_SIZE = 12
_MATCHED_ENTRY = 0x2000  # RTM_F_FIB_MATCH: the entry of the table, not the way made of it
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_HOST, _SCOPE_ANY = 0, 253, 254, 255
_TABLE_MAIN, _TABLE_LOCAL = 254, 255
_PERMANENT = 0x80
_PERMANENT_ADDRESS, _NO_DUPLICATE_DETECTION = 0x80, 0x02
_IFA_CACHEINFO, _FOR_EVER = 6, 0xFFFFFFFF

_LINK = struct.Struct("=BxHiII")
_SECONDS_FOR_UP = 5.0
"""A veth is up within 0.1 ms; the kernel's slow path for link events takes one second."""


@dataclass(frozen=True, slots=True)
class Message:
    """One request: what it asks for in words, its type, flags and body."""

    what: str
    kind: int
    flags: int
    body: bytes
    missing_is_fine: bool = False
    """True for a deletion that is content when there is nothing to delete."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface, as the kernel describes it."""

    index: int
    name: str
    mac: str
    up: bool
    """True when it can carry packets: IFLA_OPERSTATE is UP (RFC 2863)."""
    mtu: int = 0
    """Bytes of the largest packet that it takes; 0 where nobody asked."""


LOOPBACK = Link(1, "lo", "", up=False)
"""The first interface of every namespace (LOOPBACK_IFINDEX)."""


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _family(address: str) -> int:
    return socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6


def _ifinfo(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _LINK.pack(socket.AF_UNSPEC, 0, index, flags, change)


def _new_link(what: str, body: bytes) -> Message:
    return Message(what, _NEWLINK, _CREATE | _EXCL, body)


def bridge(name: str, mac: str) -> Message:
    """Make a bridge without spanning tree, so that its ports forward at once."""
    options = attribute(_BR_MCAST_SNOOPING, b"\0")
    info = text(_INFO_KIND, "bridge") + attribute(_INFO_DATA, options)
    body = text(_IFLA_IFNAME, name) + attribute(_IFLA_ADDRESS, _mac(mac))
    body += attribute(_IFLA_LINKINFO, info)
    return _new_link(f"add bridge {name}", _ifinfo() + body)


@dataclass(frozen=True, slots=True, kw_only=True)
class VethEnd:
    """One end of a veth pair; `netns` is a descriptor, or -1 for the namespace asked."""

    name: str
    mac: str
    netns: int = -1

    def _attributes(self, mtu: int) -> bytes:
        body = text(_IFLA_IFNAME, self.name) + attribute(_IFLA_ADDRESS, _mac(self.mac))
        body += u32(_IFLA_MTU, mtu)
        return body + (u32(_IFLA_NET_NS_FD, self.netns) if self.netns >= 0 else b"")


def veth(near: VethEnd, far: VethEnd, *, mtu: int = 1500) -> Message:
    """Make a pair of connected interfaces, each where it belongs from the first moment."""
    peer = attribute(_VETH_PEER, _ifinfo() + far._attributes(mtu))  # noqa: SLF001 - one idea
    info = text(_INFO_KIND, "veth") + attribute(_INFO_DATA, peer)
    body = near._attributes(mtu) + attribute(_IFLA_LINKINFO, info)  # noqa: SLF001
    return _new_link(f"add veth pair {near.name} - {far.name}", _ifinfo() + body)


def up(link: Link) -> Message:
    """Set a link administratively up; it carries packets once `Netlink.wait_up` returns."""
    return Message(f"set {link.name} up", _NEWLINK, 0, _ifinfo(link.index, _IFF_UP, _IFF_UP))


def down(link: Link) -> Message:
    """Set a link down: nothing passes any more, and its routes go."""
    return Message(f"set {link.name} down", _NEWLINK, 0, _ifinfo(link.index, 0, _IFF_UP), True)


def join_bridge(link: Link, master: Link) -> Message:
    """Make a link a port of a bridge."""
    body = _ifinfo(link.index) + u32(_IFLA_MASTER, master.index)
    return Message(f"make {link.name} a port of {master.name}", _NEWLINK, 0, body)


def without_own_ipv6(link: Link) -> Message:
    """Give a link no link-local IPv6 address: no solicitations, no duplicate detection."""
    mode = attribute(_INET6_ADDR_GEN_MODE, bytes([_ADDR_GEN_NONE]))
    body = attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))
    what = f"set the IPv6 address mode of {link.name}"
    return Message(what, _NEWLINK, 0, _ifinfo(link.index) + body)


def with_proxy_arp(link: Link) -> Message:
    """Let a link answer ARP for every address that this namespace can route to."""
    conf = attribute(_INET_CONF, u32(_DEVCONF_PROXY_ARP, 1))
    body = attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET, conf))
    return Message(f"set proxy_arp on {link.name}", _NEWLINK, 0, _ifinfo(link.index) + body)


def delete_link(link: Link) -> Message:
    """Delete a link and, for a veth, its other end. Blocks for some 30 ms in the kernel."""
    return Message(f"delete link {link.name}", _DELLINK, 0, _ifinfo(link.index), True)


def address(link: Link, interface: str) -> Message:
    """Give `link` an address with its prefix length, for example ``172.18.0.2/16``."""
    value = ip_interface(interface)
    family = socket.AF_INET if value.version == 4 else socket.AF_INET6
    flags = _PERMANENT_ADDRESS | _NO_DUPLICATE_DETECTION
    head = struct.pack("=BBBBi", family, value.network.prefixlen, flags, 0, link.index)
    body = attribute(1, value.ip.packed) + attribute(2, value.ip.packed)
    what = f"add address {interface} to {link.name}"
    return Message(what, _NEWADDR, _CREATE | _REPLACE, head + body)


@dataclass(frozen=True, slots=True)
class FoundRoute:
    """An entry of a routing table, as the kernel found it for a packet."""

    to: str
    via: str
    link: int
    """Index of the interface; 0 for none."""
    kind: str
    """``unicast``, ``local``, ``blackhole``, ``unreachable``, ``prohibit``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route of the main table (of the local table for `kind` ``local``)."""

    to: str
    """A prefix, or ``default`` as ``0.0.0.0/0`` or ``::/0``."""
    link: Link | None = None
    via: str = ""
    source: str = ""
    kind: str = "unicast"
    onlink: bool = False
    """Believe that `via` is reachable on `link`, although no route says so."""
    protocol: int = 80
    """Who made it (rtm_protocol): 80 is Calico's Felix; iproute2 prints it as ``proto 80``."""

    def _body(self, *, wanted: bool = True) -> bytes:
        network = ip_network(self.to)
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        scope = _SCOPE_UNIVERSE
        if not wanted:
            scope = _SCOPE_ANY
        elif self.kind == "local":
            scope = _SCOPE_HOST
        elif self.link and not self.via and network.version == 4:
            scope = _SCOPE_LINK
        head = struct.pack(
            "=BBBBBBBBI",
            *(family, network.prefixlen, 0, 0),
            _TABLE_LOCAL if self.kind == "local" else _TABLE_MAIN,
            *(self.protocol, scope, _RTN[self.kind], _ONLINK if self.onlink else 0),
        )
        body = attribute(1, network.network_address.packed) if network.prefixlen else b""
        body += attribute(5, ip_address(self.via).packed) if self.via else b""
        body += attribute(7, ip_address(self.source).packed) if self.source else b""
        return head + body + (u32(4, self.link.index) if self.link else b"")

    def __str__(self) -> str:
        via = f" via {self.via}" if self.via else ""
        return f"{self.kind} route {self.to}{via}" + (f" dev {self.link.name}" if self.link else "")


def route(value: Route) -> Message:
    """Add a route, or replace the one to the same prefix."""
    return Message(f"add {value}", _NEWROUTE, _CREATE | _REPLACE, value._body())  # noqa: SLF001


def delete_route(value: Route) -> Message:
    """Delete a route; fine when it has gone already."""
    return Message(f"delete {value}", _DELROUTE, 0, value._body(wanted=False), True)  # noqa: SLF001


def own_address(link: Link, interface: str) -> list[Message]:
    """Give `link` an address at which packets arrive once this is done.

    The kernel adds the local route of an IPv6 address from a work queue, even without
    duplicate detection: what arrives before that is dropped, and a first connection takes a
    second. So the route is made here; the kernel's own comes to stand beside it.
    """
    value = ip_interface(interface)
    added = address(link, interface)
    if value.version == 4:
        return [added]
    return [added, route(_local(link, str(value.ip)))]


def _local(link: Link, ip: str) -> Route:
    return Route(to=f"{ip}/128", link=link, kind="local", protocol=2)


def extra_address(link: Link, ip: str) -> list[Message]:
    """Give `link` one more IPv6 address, which is never chosen as a source (deprecated)."""
    flags = _PERMANENT_ADDRESS | _NO_DUPLICATE_DETECTION
    head = struct.pack("=BBBBi", socket.AF_INET6, 128, flags, 0, link.index)
    lifetimes = struct.pack("=IIII", 0, _FOR_EVER, 0, 0)  # preferred, valid
    body = attribute(1, ip_address(ip).packed) + attribute(_IFA_CACHEINFO, lifetimes)
    added = Message(f"add address {ip} to {link.name}", _NEWADDR, _CREATE | _REPLACE, head + body)
    return [added, route(_local(link, ip))]


def delete_address(link: Link, ip: str) -> list[Message]:
    """Take an IPv6 address from a link; fine when it is not there."""
    head = struct.pack("=BBBBi", socket.AF_INET6, 128, 0, 0, link.index)
    body = attribute(1, ip_address(ip).packed)
    gone = Message(f"delete address {ip} of {link.name}", _DELADDR, 0, head + body, True)
    return [gone, delete_route(_local(link, ip))]


def neighbour(link: Link, ip: str, mac: str) -> Message:
    """Tell for good which hardware address has `ip` on `link`: nothing is ever asked."""
    head = struct.pack("=BxxxiHBB", _family(ip), link.index, _PERMANENT, 0, 0)
    body = attribute(1, ip_address(ip).packed) + attribute(2, _mac(mac))
    what = f"add neighbour {ip} is {mac} on {link.name}"
    return Message(what, _NEWNEIGH, _CREATE | _REPLACE, head + body)


@cache
def ipv6_exists() -> bool:
    """Tell whether this kernel has IPv6 at all."""
    return Path("/proc/sys/net/ipv6").exists()


def quiet(link: Link) -> list[Message]:
    """Keep IPv6 from talking on `link` by itself, where there is IPv6."""
    return [without_own_ipv6(link)] if ipv6_exists() else []


_GONE = {errno.ENODEV, errno.ESRCH, errno.ENOENT, errno.ENXIO, errno.EADDRNOTAVAIL}


class Netlink:
    """A socket for requests in one network namespace; not for several threads at once."""

    def __init__(self, netns: int) -> None:
        self.netns = netns
        with in_netns(netns):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
            )
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, messages: Iterable[Message]) -> None:
        """Do all of it, in order; raise `KernelError` for the first that was refused."""
        batch = list(messages)
        first = self._sequence + 1
        data = b"".join(self._pack(message, _ACK) for message in batch)
        self._socket.sendall(data)
        failure: KernelError | None = None
        waiting = len(batch)
        while waiting:
            for sequence, kind, _flags, body in split_messages(self._socket.recv(1 << 16)):
                if kind != _ERROR or not first <= sequence < first + len(batch):
                    continue
                waiting -= 1
                failure = failure or _refusal(batch[sequence - first], body)
        if failure:
            raise failure

    def _ask(self, request: Message, wanted: int) -> bytes:
        """Return the body of the one answer of the wanted kind; raise what was refused."""
        self._socket.sendall(self._pack(request, 0))
        while True:
            for sequence, kind, _flags, answer in split_messages(self._socket.recv(1 << 16)):
                if sequence != self._sequence:
                    continue
                if kind == _ERROR and (failure := _refusal(request, answer)):
                    raise failure
                if kind == wanted:
                    return answer

    def link(self, name: str) -> Link:
        """Return the link with this name."""
        body = _ifinfo() + text(_IFLA_IFNAME, name) + u32(_IFLA_EXT_MASK, _SKIP_STATISTICS)
        request = Message(f"look up link {name}", _GETLINK, 0, body)
        return _link(self._ask(request, _NEWLINK))

    def find(self, name: str) -> Link | None:
        """Return the link with this name if there is one."""
        try:
            return self.link(name)
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise
            return None

    def numbered(self, index: int) -> Link:
        """Return the link with this number."""
        body = _ifinfo(index) + u32(_IFLA_EXT_MASK, _SKIP_STATISTICS)
        request = Message(f"look up link number {index}", _GETLINK, 0, body)
        return _link(self._ask(request, _NEWLINK))

    def find_route(self, to: str, source: str, came_by: Link | None = None) -> FoundRoute:
        """Return the route that a packet takes: one that came in by a link, or one's own.

        Raises `KernelError` for what the kernel does with a packet that it does not send on:
        ENETUNREACH without a route, EINVAL for a blackhole, EHOSTUNREACH, EACCES (prohibit).
        """
        family, whole = _family(to), 8 * len(ip_address(to).packed)
        body = struct.pack("=BBBBBBBBI", family, whole, whole, 0, 0, 0, 0, 0, _MATCHED_ENTRY)
        body += attribute(_RTA_DST, ip_address(to).packed)
        body += attribute(_RTA_SRC, ip_address(source).packed)
        body += u32(_RTA_IIF, came_by.index) if came_by else b""
        request = Message(f"look up the route to {to}", _GETROUTE, 0, body)
        return _found_route(self._ask(request, _NEWROUTE))

    def wait_up(self, name: str) -> Link:
        """Return the link once it can carry packets; `KernelError` when it cannot.

        ``ip link set up`` returns before that, and the first packets then wait a second.
        """
        link = self.link(name)
        if link.up:
            return link
        with in_netns(self.netns):
            events = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
            )
        with events:
            events.bind((0, _GROUP_LINK))
            deadline = time.monotonic() + _SECONDS_FOR_UP
            while not (link := self.link(name)).up:
                left = deadline - time.monotonic()
                if left <= 0 or not _readable(events, left):
                    what = f"link {name} did not come up within {_SECONDS_FOR_UP:.0f} s"
                    raise KernelError(what, errno=errno.ETIMEDOUT)
                events.recv(1 << 16)
        return link

    def _pack(self, message: Message, flags: int) -> bytes:
        self._sequence += 1
        size = MESSAGE.size + len(message.body)
        flags |= _REQUEST | message.flags
        head = MESSAGE.pack(size, message.kind, flags, self._sequence, 0)
        return head + message.body + bytes(-size % 4)


def _readable(channel: socket.socket, seconds: float) -> bool:
    """Wait until there is something to read, at most so long.

    A daemon of many pods has more descriptors than select(2) knows.
    """
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(math.ceil(1000 * seconds)))


def _refusal(message: Message, body: bytes) -> KernelError | None:
    number = -struct.unpack_from("=i", body)[0]
    if number == 0 or (message.missing_is_fine and number in _GONE):
        return None
    return KernelError(f"{message.what}: {os.strerror(number)}", errno=number)


def _found_route(body: bytes) -> FoundRoute:
    family, length, kind = body[0], body[1], body[7]
    found = dict(split(body[_RTMSG_SIZE:]))
    size = 4 if family == socket.AF_INET else 16
    prefix = f"{socket.inet_ntop(family, found.get(_RTA_DST, bytes(size)))}/{length}"
    via = socket.inet_ntop(family, found[_RTA_GATEWAY]) if _RTA_GATEWAY in found else ""
    link = struct.unpack("=I", found[_RTA_OIF])[0] if _RTA_OIF in found else 0
    return FoundRoute(prefix, via, link, _KINDS_OF_ROUTES.get(kind, str(kind)))


def _link(body: bytes) -> Link:
    index = _LINK.unpack_from(body)[2]
    attributes = dict(split(body[_LINK.size :]))
    name = attributes[_IFLA_IFNAME].rstrip(b"\0").decode()
    mac = attributes.get(_IFLA_ADDRESS, b"").hex(":")
    (mtu,) = struct.unpack("=I", attributes[_IFLA_MTU])
    return Link(index, name, mac, attributes[_IFLA_OPERSTATE][0] == _OPER_UP, mtu)
