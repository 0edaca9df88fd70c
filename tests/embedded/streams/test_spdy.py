"""The SPDY frames themselves, without any connection."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8slab.embedded.apiserver.streams import spdy


def pair():
    return spdy.SpdyConnection(client=True), spdy.SpdyConnection()


def test_the_dictionary_is_the_one_of_the_specification():
    assert len(spdy.DICTIONARY) == 1423
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


def test_a_syn_stream_has_the_layout_of_the_specification():
    client, _ = pair()
    client.open({"streamType": "stdin"}, fin=True)
    frame = client.take()
    assert frame[:4] == b"\x80\x03\x00\x01"
    assert frame[4] == spdy.FIN
    assert int.from_bytes(frame[5:8]) == len(frame) - 8
    assert frame[8:12] == b"\x00\x00\x00\x01"
    inflate = zlib.decompressobj(zdict=spdy.DICTIONARY)
    assert inflate.decompress(frame[18:]) == (
        b"\x00\x00\x00\x01\x00\x00\x00\x0astreamtype\x00\x00\x00\x05stdin"
    )


def test_a_stream_is_opened_answered_used_and_half_closed():
    client, server = pair()
    stream = client.open({"streamtype": "data", "port": "80"})
    assert server.receive(client.take()) == [
        spdy.StreamOpened(1, {"streamtype": "data", "port": "80"}, fin=False)
    ]
    server.reply(stream)
    server.send(stream, b"answer", fin=True)
    assert client.receive(server.take()) == [
        spdy.StreamReplied(1),
        spdy.DataReceived(1, b"answer", fin=True),
    ]


def test_header_blocks_of_one_connection_share_their_compression():
    client, server = pair()
    sizes = []
    for number in (1, 3, 5):
        client.open({"streamtype": "data", "port": "8080", "requestid": str(number)})
        data = client.take()
        sizes.append(len(data))
        [event] = server.receive(data)
        assert (event.stream, event.headers["requestid"]) == (number, str(number))
    assert sizes[2] < sizes[0]


@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(1, 700), max_size=20))
def test_any_cutting_of_the_bytes_gives_the_same_data(data, cuts):
    client, server = pair()
    stream = client.open({"a": "b"})
    client.send(stream, data)
    client.send(stream, b"tail", fin=True)
    wire, events = client.take(), []
    for cut in [*cuts, len(wire)]:
        events += server.receive(wire[:cut])
        wire = wire[cut:]
    got = [event for event in events if isinstance(event, spdy.DataReceived)]
    assert b"".join(event.data for event in got) == data + b"tail"
    assert [event.fin for event in got] == [False] * (len(got) - 1) + [True]


def test_a_ping_of_the_peer_is_answered_and_an_answer_is_not():
    _, server = pair()
    ping = b"\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01"
    assert server.receive(ping) == []
    assert server.take() == ping
    server.receive(ping[:-1] + b"\x02")
    assert server.take() == b""


def test_large_data_is_cut_into_frames_and_only_the_last_one_ends_the_stream():
    client, server = pair()
    client.open({"a": "b"})
    client.send(1, bytes(5 << 19), fin=True)
    events = server.receive(client.take())[1:]
    assert [event.fin for event in events] == [False, False, True]
    assert sum(len(event.data) for event in events) == 5 << 19


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b"\x80\x02\x00\x01\x00\x00\x00\x00", "SPDY version 2"),
        (b"\x80\x03\x00\x63\x00\x00\x00\x00", "unknown type 99"),
        (b"\x80\x03\x00\x01\x00\xff\xff\xff", "16777215 bytes"),
        (b"\x80\x03\x00\x03\x00\x00\x00\x02\x00\x00", "too short"),
        (b"\x80\x03\x00\x01\x00\x00\x00\x0e\x00\x00\x00\x01" + bytes(6) + b"junk", "header block"),
    ],
)
def test_what_breaks_the_protocol_is_refused(wire, message):
    with pytest.raises(spdy.SpdyError, match=message):
        spdy.SpdyConnection().receive(wire)


def test_a_header_block_that_inflates_without_end_is_refused():
    deflate = zlib.compressobj(9, zdict=spdy.DICTIONARY)
    block = deflate.compress(bytes(50 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    block = block[: spdy.MAX_CONTROL_FRAME - 100]
    frame = b"\x80\x03\x00\x01\x00" + (len(block) + 10).to_bytes(3) + b"\x00\x00\x00\x01" + bytes(6)
    with pytest.raises(spdy.SpdyError, match="header block of more than"):
        spdy.SpdyConnection().receive(frame + block)


def test_a_stream_number_may_not_come_twice():
    client, server = pair()
    client.open({})
    server.receive(client.take())
    again = spdy.SpdyConnection(client=True)
    again._deflate = client._deflate
    again.open({})
    with pytest.raises(spdy.SpdyError, match="stream 1 after stream 1"):
        server.receive(again.take())
