"""Notice that a peer has gone, even while nobody reads from it.

A connection whose input is held back (the command does not read its stdin) shows no
end of file: its last bytes still wait to be read. The kernel knows nevertheless, as
EPOLLRDHUP (epoll_ctl(2)), which asyncio does not ask for. An epoll descriptor is
itself something that an event loop can wait for.
"""

from __future__ import annotations

import asyncio
import select


async def peer_closed(writer: asyncio.StreamWriter) -> None:
    """Return when the peer has closed its end, or the connection has broken."""
    socket = writer.get_extra_info("socket")
    if socket is None or socket.fileno() < 0:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    with select.epoll() as epoll:
        epoll.register(
            socket.fileno(), select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLET
        )
        loop.add_reader(epoll.fileno(), gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(epoll.fileno())
