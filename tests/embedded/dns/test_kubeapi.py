"""How the DNS server follows the API."""

import asyncio
import socket
from pathlib import Path

from k8slab.embedded.dns.kubeapi import ApiAccess, _Connection


def test_a_connection_that_only_listens_asks_whether_the_server_is_still_there():
    async def options():
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        account = Path(__file__).parent
        access = ApiAccess(server.sockets[0].getsockname(), account)
        connection = await _Connection.open(access, None)
        sock = connection._writer.get_extra_info("socket")
        found = (
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        )
        connection.close()
        server.close()
        return found

    alive, idle = asyncio.run(options())
    assert alive == 1
    assert idle <= 30
