"""The interval algebra: what plain sets say, and one form for equal sets."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8slab.errors import UsageError
from k8slab.policy.addresses import EVERYWHERE, AddressSet, network, point, text_of
from k8slab.policy.intervals import IntervalSet
from k8slab.policy.ports import ALL, NONE, PortSet

NUMBERS = st.sets(st.integers(0, 40))
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a machine that is busy with other tests nothing is fast, and that is no finding."""


def made(numbers):
    return IntervalSet.union(IntervalSet.span(n, n) for n in numbers)


def members(intervals):
    return {n for n in range(45) if n in intervals}


@patient
@given(NUMBERS, NUMBERS)
def test_every_operation_is_that_of_sets(one, other):
    left, right = made(one), made(other)
    assert members(left | right) == one | other
    assert members(left & right) == one & other
    assert members(left - right) == one - other
    assert left.covers(right) == (one >= other)
    assert bool(left) == bool(one)


@patient
@given(NUMBERS, NUMBERS)
def test_equal_sets_are_equal_however_they_were_made(one, other):
    assert made(one) | made(other) == made(one | other)
    assert hash(made(one) - made(other)) == hash(made(one - other))


@patient
@given(NUMBERS)
def test_ranges_are_as_few_as_possible(numbers):
    starts = [n for n in numbers if n - 1 not in numbers]
    spans = list(made(numbers).spans())
    assert len(spans) == len(made(numbers)) == len(starts)
    assert {n for first, last in spans for n in range(first, last + 1)} == numbers


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        (NONE, "none"),
        (ALL, "all"),
        (PortSet.of("TCP", 80), "TCP 80"),
        (PortSet.of("TCP", 80, 90) | PortSet.of("TCP", 91), "TCP 80-91"),
        (PortSet.of("TCP", 80) | PortSet.of("UDP", 53), "TCP 80 UDP 53"),
        (PortSet.of("UDP") | PortSet.of("SCTP", 7), "UDP SCTP 7"),
        (ALL - PortSet.of("TCP", 22), "all but TCP 22"),
        (PortSet.of("TCP", 1, 65535), "TCP"),
        (PortSet.of("ICMP") | PortSet.of(47), "ICMP 47"),
    ],
)  # fmt: skip
def test_ports_are_told_in_few_words(ports, text):
    assert str(ports) == text


def test_ports_one_to_the_last_are_the_whole_protocol():
    assert PortSet.of("TCP", 1, 65535) == PortSet.of("TCP")
    assert [str(each) for each in PortSet.of("TCP").ranges()] == ["TCP"]


def test_ranges_never_cross_protocols():
    found = list((ALL - PortSet.of("UDP", 53)).ranges())
    assert all(each.first <= each.last for each in found)
    assert [str(r) for r in found if r.protocol == "UDP"] == ["UDP 1-52", "UDP 54-65535"]


@pytest.mark.parametrize("protocol", ["tcp", "IGMP", 256, -1, True, None, "999"])
def test_an_unknown_protocol_is_refused(protocol):
    with pytest.raises(UsageError, match="protocol"):
        PortSet.of(protocol)


@pytest.mark.parametrize(
    "text", ["0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "fd00::1", "::ffff:1.2.3.4"]
)
def test_addresses_are_read_and_written_back(text):
    assert point(text_of(point(text))) == point(text)


@pytest.mark.parametrize(
    "text", ["10.0.0", "10.0.0.256", "010.0.0.1", "a", "", None, 5, "1.2.3.4 "]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UsageError, match="is not an IP address"):
        point(text)


def test_address_sets_are_told_in_the_fewest_cidrs():
    assert str(network("10.0.0.0/8") - network("10.128.0.0/9")) == "10.0.0.0/9"
    assert str(network("10.0.0.0/25") | network("10.0.0.128/25")) == "10.0.0.0/24"
    assert str(EVERYWHERE[4] - network("10.0.0.0/8")) == "0.0.0.0/0 but 10.0.0.0/8"
    assert str(EVERYWHERE[4] | EVERYWHERE[6]) == "0.0.0.0/0, ::/0"
    assert str(AddressSet()) == "none"


def test_families_never_meet():
    assert not network("0.0.0.0/0") & network("::/0")
    assert network("::1/128") != network("0.0.0.1/32")
    assert list(network("10.0.0.4/30").ranges()) == [("10.0.0.4", "10.0.0.7")]


def test_host_bits_of_a_cidr_are_ignored():
    assert network("10.1.2.3/8") == network("10.0.0.0/8")
    with pytest.raises(UsageError, match="is not an address range"):
        network(["10.0.0.0/8"])
