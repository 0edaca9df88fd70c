"""Reading what the kernel reports of a dropped packet."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from k8slab.embedded.network.nflog import parse_packet

PORTS = struct.pack(">HH", 40000, 80)


def ipv4(protocol, rest, *, options=b"", fragment=0):
    head = bytes([0x40 | (5 + len(options) // 4), 0, 0, 0, 0, 0])
    head += struct.pack(">H", fragment) + bytes([64, protocol, 0, 0])
    return head + bytes([10, 244, 1, 2, 10, 244, 2, 3]) + options + rest


def ipv6(protocol, rest):
    source, destination = bytes(15) + b"\1", bytes(15) + b"\2"
    return bytes([0x60, 0, 0, 0, 0, 0, protocol, 64]) + source + destination + rest


def test_ports_are_read_of_tcp_udp_and_sctp():
    for number, name in ((6, "TCP"), (17, "UDP"), (132, "SCTP")):
        expected = (name, "10.244.1.2", 40000, "10.244.2.3", 80)
        assert parse_packet(ipv4(number, PORTS)) == expected


def test_ip_options_are_stepped_over():
    assert parse_packet(ipv4(6, PORTS, options=bytes(8)))[4] == 80


def test_what_has_no_ports_has_port_zero():
    assert parse_packet(ipv4(1, PORTS)) == ("ICMP", "10.244.1.2", 0, "10.244.2.3", 0)
    assert parse_packet(ipv4(6, PORTS, fragment=5))[4] == 0
    assert parse_packet(ipv4(89, PORTS))[0] == "89"


def test_ipv6_extension_headers_are_stepped_over():
    assert parse_packet(ipv6(6, PORTS)) == ("TCP", "::1", 40000, "::2", 80)
    assert parse_packet(ipv6(0, bytes([17, 0, 0, 0, 0, 0, 0, 0]) + PORTS))[0::4] == ("UDP", 80)


@given(st.binary(max_size=80))
def test_no_packet_however_torn_is_too_much(packet):
    parsed = parse_packet(packet)
    assert parsed is None or len(parsed) == 5
