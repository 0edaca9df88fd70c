"""The daemon's end of the zygote's socket, with a zygote that only answers."""

import asyncio
import os
import socket
import subprocess
import threading

from k8slab.embedded.runtime.messages import (
    EXIT,
    JoinContainer,
    MakeSandbox,
    Program,
    receive_request,
)
from k8slab.embedded.runtime.processes import Zygote

MANY = 200


def channel():
    """Return both ends of a zygote's socket; the daemon's holds only a few requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel makes it its least
    return ours, theirs


def test_many_requests_at_once_are_all_answered_though_the_socket_is_full():
    ours, theirs = channel()
    full = threading.Event()

    def answer():
        full.wait(30)
        for _ in range(MANY):
            given = receive_request(theirs)
            with socket.socket(fileno=given.pop("status")) as status:
                status.send(b"namespaces")
            for descriptor in given.values():
                os.close(descriptor)

    async def main():
        zygote = Zygote(ours)
        zygote.start()
        launches = [
            asyncio.ensure_future(zygote.launch(MakeSandbox(hostname="x"), {})) for _ in range(MANY)
        ]
        for _ in range(3):
            await asyncio.sleep(0)
        full.set()
        async with asyncio.timeout(30):
            found = await asyncio.gather(*launches)
        for launched in found:
            launched.close()
        zygote.close()
        return found

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        assert len(asyncio.run(main())) == MANY
    finally:
        theirs.close()
        thread.join(30)


def test_what_was_launched_for_somebody_who_gave_up_is_killed_and_its_end_is_nobodys():
    ours, theirs = channel()
    child = subprocess.Popen(["sleep", "999"])

    def answer():
        """Say the child's pid, late."""
        given = receive_request(theirs)
        given_up.wait(30)
        with socket.socket(fileno=given.pop("status")) as status:
            pidfd = os.pidfd_open(child.pid)
            socket.send_fds(status, [f"pid {child.pid}".encode()], [pidfd])
            os.close(pidfd)
        for descriptor in given.values():
            os.close(descriptor)

    async def main():
        zygote = Zygote(ours)
        zygote.start()
        program = Program(argv=("sleep",), environment={})
        request = JoinContainer(program=program, processes=0, nested=True)
        launch = asyncio.ensure_future(zygote.launch(request, {}))
        await asyncio.sleep(0)
        launch.cancel()
        given_up.set()
        await asyncio.wait({launch})
        assert launch.cancelled()
        assert child.wait(30) == -9
        first = zygote.ended(child.pid)
        theirs.send(EXIT.pack(child.pid, 9))
        async with asyncio.timeout(30):
            assert await first == 137
        assert not zygote.ended(child.pid).done(), "the pid belongs to the next process now"
        zygote.close()

    given_up = threading.Event()
    thread = threading.Thread(target=answer)
    thread.start()
    try:
        asyncio.run(main())
    finally:
        theirs.close()
        thread.join(30)
        child.kill()
        child.wait()
