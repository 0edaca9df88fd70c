"""Answers of HTTP in all the forms that a server may give them, and broken ones."""

import socket
import threading
from contextlib import contextmanager

import pytest

from k8slab.clusters.connection import Connection


@contextmanager
def answering(data):
    """Give a connection to a server that says these bytes, whatever it is asked, and goes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            opened, _ = listener.accept()
            with opened:
                opened.recv(65_536)
                opened.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        connection = Connection("127.0.0.1", listener.getsockname()[1], 30)
        try:
            yield connection
        finally:
            connection.close()
            thread.join(30)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
CHUNKS = b"3;name=value\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"


def ask(connection):
    return connection.ask("GET", "/", {}, b"")


@pytest.mark.parametrize(
    ("data", "status", "body", "ends"),
    [
        (OK + b"Content-Length: 2\r\n\r\n{}", 200, b"{}", False),
        (b"HTTP/1.1 200 \r\nCONTENT-LENGTH:0\r\nConnection: Close\r\n\r\n", 200, b"", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", False),
        (b"HTTP/1.1 404 Not Found\r\n\r\nnobody", 404, b"nobody", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x", True),
        (HINTS + OK + b"Content-Length: 1\r\n\r\nx", 200, b"x", False),
        (CHUNKED + CHUNKS, 200, b"abc0123456789", False),
    ],
)
def test_a_body_is_read_to_its_end_and_no_further(data, status, body, ends):
    with answering(data) as connection:
        answer = ask(connection)
        assert (answer.status, answer.body(), answer.ends) == (status, body, ends)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        OK + b"Content-Len",
        b"SSH-2.0-OpenSSH\r\n",
        OK + b"Content-Length: 10\r\n\r\nabc",
        CHUNKED + b"5\r\nab",
        CHUNKED + b"-5\r\nab\r\n0\r\n\r\n",
        CHUNKED + b"2\r\nab\r\n",
    ],
)
def test_an_answer_that_is_none_or_breaks_off_is_an_error_of_the_connection(data):
    with answering(data) as connection, pytest.raises(ConnectionError):
        ask(connection).body()


def test_lines_end_with_a_server_that_goes_between_two_of_them():
    with answering(CHUNKED + b"5\r\na\nb\nc\r\n2\r\nc\n\r\n") as connection:
        assert list(ask(connection).lines()) == [b"a", b"b", b"cc"]


def test_lines_of_a_server_that_goes_within_a_chunk_are_an_error_of_the_connection():
    with answering(CHUNKED + b"5\r\na\nb\nc\r\n9\r\nc") as connection:
        found = ask(connection).lines()
        assert [next(found), next(found)] == [b"a", b"b"]
        with pytest.raises(ConnectionError, match="ended before the answer did"):
            list(found)
