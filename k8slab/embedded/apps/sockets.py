"""Listening sockets for both IP families, and addresses as people write them."""

from __future__ import annotations

import socket

_IP_FREEBIND = 15
"""Bind an address that is not (yet) on an interface (ip(7)); Python 3.11 lacks the name."""

Address = tuple[str, int]


def plain(address: tuple) -> Address:
    """Return host and port; an IPv4 address that came through an IPv6 socket loses ``::ffff:``."""
    host = str(address[0]).partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host, int(address[1])


def written(address: Address) -> str:
    """Write ``10.0.0.1:80`` or ``[fd00::1]:80``."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(port: int, *, kind: socket.SocketKind, host: str = "") -> socket.socket:
    """Make a non-blocking socket that is bound, and listening if it is a stream.

    Without `host` it serves every address of both families (``*:port`` in ``ss``),
    or IPv4 alone where the kernel has no IPv6. Raises `OSError` with the address.
    """
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return _bound(family, host, port, kind)
    try:
        return _bound(socket.AF_INET6, "::", port, kind)
    except OSError as error:
        if socket.has_ipv6 and error.errno in _ADDRESS_TAKEN:
            raise
        return _bound(socket.AF_INET, "0.0.0.0", port, kind)


_ADDRESS_TAKEN = (98, 13)
"""EADDRINUSE and EACCES: another family would not help."""


def _bound(
    family: socket.AddressFamily, host: str, port: int, kind: socket.SocketKind
) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        sock.bind((host, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(512)
    except OSError as error:
        sock.close()
        protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
        raise OSError(
            error.errno, f"cannot listen on {protocol} {written((host, port))}: {error.strerror}"
        ) from error
    return sock
