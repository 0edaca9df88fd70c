"""What the numbers of a packet can be, for whoever sends one, asks for one, or reads a request."""

from __future__ import annotations

MOST_PORT = 65535
"""Ports are numbers of 16 bits (RFC 9293, RFC 768); 0 is nobody's."""
MOST_DATAGRAM = 65507
"""Bytes that a datagram of IPv4 can carry: 65,535 less the headers of IP and UDP."""
LEAST_TRACED = 32
"""Bytes that a datagram must carry which is followed: it is known by its first ones."""
