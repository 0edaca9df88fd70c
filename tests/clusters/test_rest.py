"""Watches whose server goes in the middle."""

import socket
import threading
from types import SimpleNamespace

import pytest

from k8slab.clusters.connection import Answer
from k8slab.clusters.rest import Rest
from k8slab.errors import ClusterNotReadyError

EVENT = b'{"type": "ADDED"}\n'
ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n5\r\n{" % (
    len(EVENT),
    EVENT,
)


def test_a_watch_whose_server_is_killed_within_an_event_ends_with_an_error_of_ours():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            opened, _ = listener.accept()
            with opened:
                opened.recv(65_536)
                opened.sendall(ANSWER)

        thread = threading.Thread(target=serve)
        thread.start()
        server = f"http://127.0.0.1:{listener.getsockname()[1]}"
        rest = Rest(SimpleNamespace(server=server, token="", token_file=""))
        events = rest.stream("/api/v1/pods", query={"watch": "1"}, deadline=10)
        assert next(events) == {"type": "ADDED"}
        with pytest.raises(ClusterNotReadyError):
            next(events)
        thread.join(10)


def test_the_answer_to_an_interrupted_request_is_nobody_elses(monkeypatch):
    def answer(opened, number):
        opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)

    def serve(listener):
        opened, _ = listener.accept()
        with opened:
            opened.recv(65_536)
            if opened.recv(65_536):  # the next request, over the same connection
                answer(opened, 1)
                return
        opened, _ = listener.accept()
        with opened:
            opened.recv(65_536)
            answer(opened, 2)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        server = f"http://127.0.0.1:{listener.getsockname()[1]}"
        rest = Rest(SimpleNamespace(server=server, token="", token_file=""))
        with monkeypatch.context() as patched:
            patched.setattr(Answer, "_read_more", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                rest.get("/first")
        assert rest.get("/second") == "2"
        thread.join(30)
        rest.close()


def _interrupt(*_given, **_more):
    raise KeyboardInterrupt
