"""Connections: how many there may be, how they end, and that TLS says so."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl

import pytest

from k8slab.embedded.apiserver import tls as tls_module


@pytest.fixture
def connect(server):
    """Open TLS connections that a test's end closes."""
    with contextlib.ExitStack() as opened:

        def one(context=None):
            raw = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            made = (context or server.context).wrap_socket(raw, server_hostname="127.0.0.1")
            return opened.enter_context(made)

        yield one


def ask(connection, path="/healthz", more=""):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())


def to_the_end(connection) -> bytes:
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def test_what_is_written_in_two_parts_waits_for_no_acknowledgement_between_them(server, connect):
    client = connect()
    ask(client)
    assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    held = [one._transport.get_extra_info("socket") for one in set(server._server._connections)]
    assert held
    assert all(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for sock in held)


def test_connections_above_the_limit_are_told_so_and_then_broken_off(small_server):
    assert small_server._server.most == 8
    with contextlib.ExitStack() as stack:

        def one():
            raw = socket.create_connection(("127.0.0.1", small_server.port), timeout=30)
            return stack.enter_context(
                small_server.context.wrap_socket(raw, server_hostname="127.0.0.1")
            )

        held = [one() for _ in range(8)]
        for connection in held:
            ask(connection)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        crowd = [one() for _ in range(2)]
        with pytest.raises((ConnectionError, ssl.SSLError)):
            one().recv(1)
        ask(crowd[0])
        head, _, body = to_the_end(crowd[0]).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests")
        assert b"Retry-After: 1" in head
        assert b"Connection: close" in head
        status = json.loads(body)
        assert (status["reason"], status["code"]) == ("TooManyRequests", 429)
        assert "room for 8" in status["message"]
        ask(held[0])
        assert held[0].recv(1000).startswith(b"HTTP/1.1 200 ")
        for connection in held:
            connection.close()
        crowd[0].close()
        ask(answered := until_admitted(one))
        assert answered.recv(1000).startswith(b"HTTP/1.1 200 ")


def until_admitted(one):
    """Open a connection as soon as the server has noticed that others went."""
    for _ in range(100):
        try:
            made = one()
            ask(made)
            if made.recv(1000).startswith(b"HTTP/1.1 200 "):
                return made
        except (ConnectionError, ssl.SSLError):
            continue
    raise AssertionError("nobody was admitted again")


def test_a_quiet_connection_is_closed_in_order_and_a_watch_is_not_quiet(server, namespace, connect):
    quiet, watching = connect(), connect()
    ask(quiet)
    assert quiet.recv(1000).endswith(b"ok")
    ask(watching, f"/api/v1/namespaces/{namespace}/configmaps?watch=1")
    assert watching.recv(1000).startswith(b"HTTP/1.1 200 ")

    def close_all():
        now = server.loop.time()
        for connection in tuple(server._server._connections):
            connection.close_if_quiet(now + 1)

    server.call(close_all)
    assert quiet.recv(10) == b""  # SSLEOFError would be an end without close_notify
    metadata = {"name": "told", "namespace": namespace}
    server.call(server.api.create, "configmaps", {"metadata": metadata})
    assert b"told" in watching.recv(65536)


def test_an_answer_before_a_close_arrives_whole_though_the_client_still_sends(connect):
    connection = connect()
    connection.sendall(
        b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
    )
    for _ in range(20):
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"x" * 100_000)
    answer = to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"reason":"RequestEntityTooLarge"' in answer


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_carry_large_answers(server, namespace, connect, version):
    text = "x" * 500_000
    metadata = {"name": "large", "namespace": namespace}
    server.call(server.api.create, "configmaps", {"metadata": metadata, "data": {"text": text}})
    context = ssl.create_default_context(cafile=str(server.directory / "pki" / "ca.crt"))
    context.load_cert_chain(
        server.directory / "pki" / "admin.crt", server.directory / "pki" / "admin.key"
    )
    context.minimum_version = context.maximum_version = version
    connection = connect(context)
    path = f"/api/v1/namespaces/{namespace}/configmaps/large"
    ask(connection, path, "Connection: close\r\n")
    answer = to_the_end(connection)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["data"]["text"] == text
    assert connection.version() == version.name.replace("_", ".")


def test_a_handshake_that_never_comes_is_given_up(server, monkeypatch):
    monkeypatch.setattr(tls_module, "HANDSHAKE_SECONDS", 0.05)
    mute = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    with mute, contextlib.suppress(ConnectionError):  # a reset is an end too
        assert mute.recv(10) == b""


def test_a_pipeline_is_read_only_as_its_answers_are_taken(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for number in range(20):
        metadata = {"name": f"n{number}", "namespace": namespace}
        obj = {"metadata": metadata, "data": {"text": "x" * 100_000}}
        server.call(server.api.create, "configmaps", obj)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", server.port))
    raw.settimeout(30)
    with server.context.wrap_socket(raw, server_hostname="127.0.0.1") as deaf:
        deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 50)
        deaf.recv(1)

        def buffered():
            return max(
                connection._transport.get_write_buffer_size()
                for connection in server._server._connections
            )

        assert server.call(buffered) < 5_000_000  # one answer of 2 MB, not 50
        ends = 0
        body = b""
        while ends < 50:
            data = deaf.recv(65536)
            assert data
            ends += (body[-20:] + data).count(b'"kind":"ConfigMapList"') - body[-20:].count(
                b'"kind":"ConfigMapList"'
            )
            body = data
