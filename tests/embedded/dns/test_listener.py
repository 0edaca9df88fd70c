"""Connections of clients that misbehave, at a port in this process."""

import asyncio
import socket
import struct
from contextlib import asynccontextmanager, suppress

import pytest

from k8slab.embedded import wire
from k8slab.embedded.dns import listener
from k8slab.embedded.dns.catalogue import Catalogue
from k8slab.embedded.dns.chain import Plan
from k8slab.embedded.dns.corefile import parse
from k8slab.embedded.dns.metrics import Metrics
from k8slab.embedded.dns.plugins import build
from tests.embedded.processes import free_port

HOSTS = "\n".join(f"  10.0.0.{number} many.example" for number in range(200))
QUESTIONS = 100
COREFILE = f". {{\n hosts {{\n{HOSTS}\n }}\n}}\n"


@asynccontextmanager
async def serving():
    plan = Plan(catalogue=Catalogue(), metrics=Metrics(), file="Corefile", say=print)
    port = listener.DnsPort(free_port(), "127.0.0.1")
    port.serve([build(parse(COREFILE)[0], plan)], plan)
    await port.start()
    try:
        yield port
    finally:
        port.close()


@asynccontextmanager
async def connected(**how):
    """Be a client, whose connection is over at the end: a test process outlives its loop."""
    reader, writer = await asyncio.open_connection(**how)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


def question():
    query = wire.question("many.example", wire.A, number=1)
    return struct.pack("!H", len(query)) + query


async def asked(port):
    """Ask over a connection of its own, and return how many addresses were answered."""
    async with connected(host="127.0.0.1", port=port.port) as (reader, writer):
        writer.write(question())
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        return len(wire.read(await reader.readexactly(length)).answers)


async def ask_for_ever(writer):
    while True:
        writer.write(question() * 100)
        await writer.drain()


def test_a_client_that_reads_no_answer_is_cut_off_with_all_that_waits_for_it(monkeypatch):
    monkeypatch.setattr(listener, "TCP_WRITE_SECONDS", 0.05)

    async def scenario():
        async with serving() as port, asyncio.timeout(30):
            async with connected(host="127.0.0.1", port=port.port) as (reader, writer):
                reader._transport.pause_reading()
                with pytest.raises(OSError, match=r"reset|Broken pipe"):
                    await ask_for_ever(writer)
            assert port._clients == 0
            assert await asked(port) == 200

    asyncio.run(scenario())


@asynccontextmanager
async def asked_all_at_once(monkeypatch):
    """Ask for more than the kernel keeps and for nothing more; the server has read that."""
    readers, client = [], listener.DnsPort._client

    async def watched(self, reader, writer):
        writer.transport.set_write_buffer_limits(high=1 << 30)
        readers.append(reader)
        await client(self, reader, writer)

    monkeypatch.setattr(listener.DnsPort, "_client", watched)
    async with serving() as port, asyncio.timeout(30):
        port._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        mine = socket.socket()
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mine.connect(("127.0.0.1", port.port))
        mine.setblocking(False)
        async with connected(sock=mine) as (reader, writer):
            reader._transport.pause_reading()
            writer.write(question() * QUESTIONS)
            writer.write_eof()
            while not (readers and readers[0].at_eof()):  # noqa: ASYNC110  nobody tells of it
                await asyncio.sleep(0)
            yield port, reader


def test_a_client_that_has_asked_all_it_wants_gets_all_answers(monkeypatch):
    async def scenario():
        async with asked_all_at_once(monkeypatch) as (_, reader):
            reader._transport.resume_reading()
            for _ in range(QUESTIONS):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                assert len(wire.read(await reader.readexactly(length)).answers) == 200
            assert await reader.read() == b""

    asyncio.run(scenario())


def test_a_client_that_asks_no_more_and_never_reads_is_cut_off(monkeypatch):
    monkeypatch.setattr(listener, "TCP_WRITE_SECONDS", 0.05)

    async def scenario():
        async with asked_all_at_once(monkeypatch) as (port, _):
            while port._clients:  # noqa: ASYNC110  nobody tells when a connection is over
                await asyncio.sleep(0)

    asyncio.run(scenario())


def test_of_too_many_connections_the_last_ones_are_closed_and_there_is_room_again(monkeypatch):
    monkeypatch.setattr(listener, "MAX_CLIENTS", 2)

    async def scenario():
        async with serving() as port, asyncio.timeout(30):
            where = {"host": "127.0.0.1", "port": port.port}
            async with connected(**where):
                async with connected(**where):
                    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                        await asked(port)
                while port._clients == 2:  # noqa: ASYNC110  nobody tells when a connection is over
                    await asyncio.sleep(0)
                assert await asked(port) == 200

    asyncio.run(scenario())
