"""The connection itself: keep-alive, pipelining, chunked bodies, limits, odd clients."""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest

from k8slab.embedded.apiserver.http import Response


@pytest.fixture
def raw(server):
    """A TLS connection to write bytes to."""
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    with server.context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
        yield wrapped


def read_answer(raw) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = raw.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += raw.recv(65536)
    return head + b"\r\n\r\n" + body


def test_requests_that_are_sent_at_once_are_answered_in_order(raw):
    raw.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    data = b""
    while not data.endswith(b"\r\n\r\nok"):
        data += raw.recv(65536)
    assert data.index(b"gitVersion") < data.rindex(b"\r\n\r\nok")


def test_a_chunked_body_is_read(server, namespace, raw):
    body = b'{"metadata":{"name":"chunked"}}'
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    raw.sendall(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
    )
    for piece in (body[:10], body[10:]):
        raw.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
    raw.sendall(b"0\r\n\r\n")
    assert read_answer(raw).startswith(b"HTTP/1.1 201 ")
    assert server.request("GET", f"{path}/chunked").status == 200


def test_expect_100_continue_is_answered(raw, namespace):
    body = b'{"metadata":{"name":"expected"}}'
    raw.sendall(
        f"POST /api/v1/namespaces/{namespace}/configmaps HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\n\r\n".encode()
    )
    assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.sendall(body)
    assert read_answer(raw).startswith(b"HTTP/1.1 201 ")


def test_an_announced_giant_body_is_refused_before_it_is_sent(raw, namespace):
    raw.sendall(
        f"POST /api/v1/namespaces/{namespace}/configmaps HTTP/1.1\r\nHost: x\r\n"
        "Content-Type: application/json\r\nContent-Length: 9999999999\r\n\r\n".encode()
    )
    answer = read_answer(raw)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in answer
    assert raw.recv(10) == b""


@pytest.mark.parametrize("data", [b"\x16\x03\x01nonsense\r\n\r\n", b"GET\r\n\r\n", b"{}\r\n\r\n"])
def test_what_is_not_http_is_refused(raw, data):
    raw.sendall(data)
    assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_endless_headers_are_cut_off(raw):
    raw.sendall(b"GET / HTTP/1.1\r\n")
    answer = b""
    try:
        for _ in range(40):
            raw.sendall(b"X-Filler: " + b"a" * 8192 + b"\r\n")
        answer = raw.recv(100)
    except (ConnectionError, ssl.SSLError):
        return
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_connection_close_is_obeyed(raw):
    raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert read_answer(raw).endswith(b"ok")
    assert raw.recv(10) == b""


def test_a_client_that_speaks_no_tls_does_no_harm(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            plain.recv(100)
    assert server.request("GET", "/healthz").data == b"ok"


def test_head_tells_the_length_of_a_body_that_it_does_not_send(raw):
    raw.sendall(
        b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    data = b""
    while not data.endswith(b"ok"):
        data += raw.recv(65536)
    head, get = data.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert b"Content-Length: 2\r\n" in head
    assert head.endswith(b"\r\n\r\n")
    assert get.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HEAD /api/v1/pods?watch=1 HTTP/1.1", b"HTTP/1.1 200 "),
        (b"GET /api/v1/pods?watch=1 HTTP/1.0", b"HTTP/1.1 505 "),
    ],
)
def test_a_stream_that_a_client_cannot_have_ends_at_once(raw, line, status):
    raw.sendall(line + b"\r\nHost: x\r\n\r\n")
    assert read_answer(raw).startswith(status)
    assert raw.recv(10) == b""


def test_what_follows_something_that_is_not_http_does_no_harm(server, raw, caplog):
    raw.sendall(b"nonsense\r\n\r\n")
    raw.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    answer = read_answer(raw)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\n400 Bad Request")
    raw.close()
    assert server.request("GET", "/healthz").data == b"ok"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_header_carries_no_line_ends():
    head = Response(headers=[("Location", "/a\r\nX-Injected: 1")]).head(keep_alive=True)
    assert b"Location: /a  X-Injected: 1\r\n" in head
