"""What is not HTTP, or not quite: broken framing, and who is not known.

The server answers or closes within the deadline, and goes on serving; a request that was broken
off has changed nothing.
"""

from __future__ import annotations

import socket

import pytest

from tests.malformed.served import NAMESPACE
from tests.malformed.wire import Case

pytestmark = pytest.mark.usefixtures("running")

MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
HEAD = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
BODY = b'{"metadata":{"name":"framed"}}'

REFUSED = {
    "no path": b"GET\r\n\r\n",
    "a version of the future": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "binary": bytes(range(256)) + b"\r\n\r\n",
    "a bare line end in a header": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\n\r\n\r\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
    "a zero byte in the path": b"GET /a\x00b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a length that is no number": HEAD + b"Content-Length: ten\r\n\r\n" + BODY,
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n" + BODY,
    "a length beyond all bounds": HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 30\r\nContent-Length: 31\r\n\r\n" + BODY,
    "a length and chunks": HEAD
    + b"Content-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks of no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + BODY,
    "a chunk of a huge size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
    "a line without an end": b"GET /" + b"a" * 80_000,
    "headers without an end": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000,
}

BROKEN_OFF = {
    "in the line": b"GET /api",
    "in the headers": HEAD,
    "in the body": HEAD + b"Content-Length: 30\r\n\r\n" + BODY[:10],
    "in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1e\r\n" + BODY[:10],
    "before the last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1e\r\n" + BODY + b"\r\n",
}


@pytest.fixture
def fresh(served):
    """A connection of this test's own, and a look at the log afterwards."""
    wire = served.connect()
    yield wire
    wire.close()
    assert served.ask("GET", "/healthz").body == b"ok"
    assert not served.new_complaints()


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_http_is_refused(fresh, raw):
    answer = fresh.send(raw)
    # A server that has seen enough may reset the connection before all was sent.
    assert answer is None or answer.status in (400, 413, 431, 505)


@pytest.mark.parametrize("raw", BROKEN_OFF.values(), ids=BROKEN_OFF.keys())
def test_a_request_that_is_broken_off_changes_nothing(served, fresh, raw):
    with served.context.wrap_socket(
        socket.create_connection(("127.0.0.1", served.port), 10), server_hostname="127.0.0.1"
    ) as plain:
        plain.sendall(raw)
    assert served.ask("GET", f"{MAPS}/framed").status == 404


def test_many_requests_at_once_are_answered_in_order(fresh):
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = [fresh.send(one * 200 + last), *(fresh.send(b"") for _ in range(200))]
    assert all(answer is not None and answer.status == 200 for answer in answers)
    assert b"gitVersion" in answers[-1].body


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer a.b.c", "Bearer é.ü.ß", "Basic dTpw", "Bearer " + "a" * 5000],
)
def test_who_is_not_known_gets_401_whatever_the_request(served, authorization):
    wire = served.connect(served.stranger)
    headers = {"Authorization": authorization}
    for case in (Case("GET", "/api/v1/pods", headers=headers), Case("POST", MAPS, BODY, headers)):
        answer = wire.request(case)
        assert answer is not None
        assert (answer.status, answer.json["reason"]) == (401, "Unauthorized")
    wire.close()
    assert not served.new_complaints()


def test_who_speaks_no_tls_is_sent_away(served, fresh):
    del fresh
    with socket.create_connection(("127.0.0.1", served.port), 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            while plain.recv(1000):
                pass
        except ConnectionError:
            return


@pytest.mark.parametrize("subresource", ["exec", "attach", "portforward"])
@pytest.mark.parametrize("rest", [b"", b"\x00" * 100, b"\x80\x03\x00\x01\x00\xff\xff\xff" * 20])
def test_nonsense_after_an_upgrade_ends_the_stream_alone(served, fresh, subresource, rest):
    protocol = "portforward.k8s.io" if subresource == "portforward" else "v4.channel.k8s.io"
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/running/{subresource}?command=cat&stdin=1&ports=80"
    for upgrade, header in (
        ("websocket", "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\nSec-WebSocket-Key: eA==\r\n"),
        ("SPDY/3.1", f"X-Stream-Protocol-Version: {protocol}\r\n"),
    ):
        raw = (
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n"
            f"{header}\r\n"
        ).encode()
        answer = fresh.send(raw + rest)
        assert answer is not None
        assert answer.status in (101, 400)
