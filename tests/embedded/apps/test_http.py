"""The apps' HTTP server in this process, where its loop stands still until we say so."""

import socket
import ssl
import struct

from k8slab.embedded.apps.http import HttpServer
from k8slab.embedded.apps.loop import Loop
from k8slab.embedded.apps.world_certificates import (
    CERTIFICATE,
    KEY,
    make_world_certificates,
)

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset (socket(7))


def test_a_client_that_resets_before_it_is_accepted_ends_nothing(tmp_path):
    make_world_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / CERTIFICATE, tmp_path / KEY)
    server = HttpServer(Loop(), lambda _: None, lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        for kind in (None, context):
            with socket.create_connection(listener.getsockname()) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            server._accept(listener, kind)
        with socket.create_connection(listener.getsockname()):
            server._accept(listener, context)
            (kept,) = [c for c in server.connections if c.scheme == "https"]
            for connection in tuple(server.connections):
                connection.close()
    assert kept not in server.connections
