"""DNS messages are read and written as dnspython does, and hostile bytes raise WireError only."""

import socket
from functools import partial

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8slab.embedded import wire
from k8slab.embedded.wire import Edns, Message, Record, WireError

label = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)
name = st.lists(label, min_size=1, max_size=5).map(lambda parts: ".".join(parts) + ".")
v4 = st.ip_addresses(v=4).map(str)
# Written as inet_ntop(3) does; ipaddress writes ::ffff:0.0.0.0 in another way.
v6 = st.binary(min_size=16, max_size=16).map(partial(socket.inet_ntop, socket.AF_INET6))
u16 = st.integers(0, 65535)
u32 = st.integers(0, 2**31 - 1)

data_by_type = {
    wire.A: v4,
    wire.AAAA: v6,
    wire.CNAME: name,
    wire.NS: name,
    wire.PTR: name,
    wire.MX: st.tuples(u16, name),
    wire.SRV: st.tuples(u16, u16, u16, name),
    wire.TXT: st.lists(st.binary(max_size=20), min_size=1, max_size=2).map(tuple),
    wire.SOA: st.tuples(name, name, u32, u32, u32, u32, u32),
}


@st.composite
def records(draw):
    kind = draw(st.sampled_from(sorted(data_by_type)))
    return Record(draw(name), kind, draw(u32), draw(data_by_type[kind]))


sections = st.lists(records(), max_size=3, unique=True).map(tuple)


edns = st.builds(Edns, st.integers(512, 65535), st.just(0), st.just(b""), st.integers(0, 255))


@st.composite
def messages(draw):
    return Message(
        id=draw(u16),
        flags=draw(st.sampled_from([0, wire.RD, wire.QR | wire.AA, wire.QR | wire.RD | wire.RA])),
        rcode=draw(st.integers(0, 5)),
        name=draw(name),
        type=draw(st.sampled_from(sorted(data_by_type))),
        answers=draw(sections),
        authority=draw(sections),
        additional=draw(sections),
        edns=draw(st.none() | edns),
    )


def as_set(section):
    """Flatten dnspython's rrsets; it merges records of one name and type under one TTL."""
    return {
        (str(rrset.name).lower(), rrset.rdtype, str(rdata).lower())
        for rrset in section
        for rdata in rrset
    }


@settings(max_examples=40, deadline=None, database=None)
@given(messages())
def test_what_is_written_reads_back_equal(message):
    assert wire.read(wire.write(message)) == message


@settings(max_examples=40, deadline=None, database=None)
@given(messages())
def test_dnspython_reads_what_is_written(message):
    theirs = dns.message.from_wire(wire.write(message))
    assert theirs.id == message.id
    assert theirs.rcode() == message.rcode
    assert str(theirs.question[0].name) == message.name
    for section, records_ in (
        (theirs.answer, message.answers),
        (theirs.authority, message.authority),
        (theirs.additional, message.additional),
    ):
        rrsets = [
            dns.rrset.from_text(r.name, r.ttl, "IN", wire.type_name(r.type), text_of(r))
            for r in records_
        ]
        assert as_set(section) == as_set(rrsets)
    assert (theirs.edns >= 0) == (message.edns is not None)


def text_of(record):
    data = record.data
    if record.type == wire.TXT:
        return " ".join('"' + "".join(f"\\{byte:03d}" for byte in text) + '"' for text in data)
    if isinstance(data, tuple):
        return " ".join(map(str, data))
    return data


@settings(max_examples=40, deadline=None, database=None)
@given(messages())
def test_what_dnspython_writes_is_read(message):
    theirs = dns.message.from_wire(wire.write(message))
    again = wire.read(theirs.to_wire(max_size=65535))
    assert (again.name, again.type, again.rcode) == (message.name, message.type, message.rcode)
    assert {r._replace(ttl=0) for r in again.answers} == {
        r._replace(ttl=0) for r in message.answers
    }


@settings(max_examples=80, deadline=None, database=None)
@given(st.binary(max_size=120))
def test_any_bytes_give_a_message_or_a_wire_error(data):
    try:
        wire.read(data)
    except WireError:
        return


@settings(max_examples=80, deadline=None, database=None)
@given(messages(), st.integers(12, 200), st.integers(0, 255))
def test_a_changed_byte_gives_a_message_or_a_wire_error(message, place, byte):
    data = bytearray(wire.write(message))
    data[place % len(data)] = byte
    try:
        wire.read(bytes(data))
    except WireError:
        return


def test_a_ring_of_compression_pointers_is_refused():
    ring = b"\0\1\0\0\0\1\0\0\0\0\0\0" + b"\xc0\x0c" + b"\0\1\0\1"
    with pytest.raises(WireError, match="lead back"):
        wire.read(ring)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (".", []),
        ("a.b.", [b"a", b"b"]),
        (r"a\.b.c.", [b"a.b", b"c"]),
        (r"\000\255.c.", [b"\x00\xff", b"c"]),
    ],
)
def test_odd_bytes_in_labels_are_escaped(text, labels):
    assert wire.labels(text) == tuple(labels)
    packed = b"".join(bytes([len(each)]) + each for each in labels) + b"\0"
    assert wire.read_name(packed, 0)[0] == text


@pytest.mark.parametrize("bad", ["a..b.", "x" * 64 + ".", ".".join(["abcdefg"] * 40) + "."])
def test_a_name_beyond_the_limits_cannot_be_written(bad):
    with pytest.raises(WireError):
        wire.labels(bad)


def test_the_letters_of_the_question_keep_their_case_in_the_answer():
    query = dns.message.make_query("WwW.ExAmple.com.", "A").to_wire()
    message = wire.read(query)
    assert message.name == "www.example.com."
    reply = wire.write(
        wire.replace(message.reply(), answers=(Record(message.name, wire.A, 5, "192.0.2.1"),))
    )
    theirs = dns.message.from_wire(reply)
    assert str(theirs.question[0].name) == "WwW.ExAmple.com."
    assert str(theirs.answer[0].name) == "WwW.ExAmple.com."


def test_an_answer_that_is_too_long_is_cut_and_says_so():
    many = tuple(Record("a.example.", wire.A, 5, f"10.0.{i // 250}.{i % 250}") for i in range(100))
    message = Message(name="a.example.", flags=wire.QR, answers=many, edns=Edns(600))
    data = wire.write(message, 512)
    cut = wire.read(data)
    assert len(data) <= 512
    assert cut.flags & wire.TC
    assert 0 < len(cut.answers) < 100
    assert cut.answers == many[: len(cut.answers)]
    assert cut.edns is not None


def test_additional_records_are_left_out_before_answers_are():
    extra = tuple(Record(f"h{i}.example.", wire.A, 5, "10.0.0.1") for i in range(60))
    answer = (Record("a.example.", wire.SRV, 5, (0, 1, 80, "h1.example.")),)
    message = Message(name="a.example.", flags=wire.QR, answers=answer, additional=extra)
    cut = wire.read(wire.write(message, 512))
    assert cut.answers == answer
    assert not cut.additional
    assert not cut.flags & wire.TC


def test_a_question_asks_for_recursion_with_edns():
    theirs = dns.message.from_wire(wire.question("Example.COM", wire.AAAA, number=77))
    assert theirs.id == 77
    assert theirs.flags & dns.flags.RD
    assert theirs.question[0].rdtype == dns.rdatatype.AAAA
    assert theirs.payload == 1232
