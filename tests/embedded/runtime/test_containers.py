"""Who is attached to a container and does not read makes it wait, and nothing pile up."""

import asyncio
import os
from types import SimpleNamespace

from k8slab.embedded.runtime.containers import Attachment, Output


async def fill(descriptor, turns=100):
    """Write until the pipe has been full for so many turns of the loop that would read it.

    Return how many bytes went in.
    """
    os.set_blocking(descriptor, False)
    total = full = 0
    while full < turns:
        try:
            total += os.write(descriptor, bytes(65_536))
            full = 0
        except BlockingIOError:
            full += 1
        await asyncio.sleep(0)
    return total


def test_output_that_an_attached_client_does_not_read_waits_in_the_pipe():
    async def scene():
        reader, writer = os.pipe()
        output = Output(None)
        output.add("stdout", reader)
        container = SimpleNamespace(spec=SimpleNamespace(tty=False), output=output)
        attachment = Attachment(container, None)
        stuck = await fill(writer)
        assert 100_000 < stuck < 1_000_000
        attachment.kill()  # nobody is attached any more: all goes on
        assert await asyncio.wait_for(drained(writer), 30) == 2_000_000
        os.close(writer)
        await output.finish()

    async def drained(writer):
        os.set_blocking(writer, True)
        return await asyncio.to_thread(write_all, writer, 2_000_000)

    asyncio.run(scene())


def write_all(descriptor, count):
    left = count
    while left:
        left -= os.write(descriptor, bytes(min(left, 65_536)))
    return count
