"""Plain TCP conversations on the apps' `Loop`: a greeting, then an answer for each message.

What a message is, a line or a frame with its length before it, is the conversation's own
business: it takes from the front of a buffer what is complete.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

from k8slab.embedded.apps.loop import READ, Loop
from k8slab.embedded.apps.sockets import Address, plain

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

MAX_UNREAD = 70_000
"""Bytes of one message; a DNS message over TCP has at most 65,537."""


class Conversation(Protocol):
    """One client's side of a protocol."""

    greeting: bytes
    ended: bool
    """Whether to hang up after the answers."""

    def hear(self, buffer: bytearray) -> bytes:
        """Take complete messages from `buffer`; return the answers."""


class Lines:
    """Answers each line; ``quit`` ends the conversation."""

    def __init__(self, greeting: str, answer: Callable[[str], str]) -> None:
        self.greeting = greeting.encode() + b"\n" if greeting else b""
        self.ended = False
        self._answer = answer

    def hear(self, buffer: bytearray) -> bytes:
        """Answer the complete lines in `buffer`."""
        answers = b""
        while (end := buffer.find(b"\n")) >= 0:
            line = buffer[:end].decode("utf-8", "replace").strip()
            del buffer[: end + 1]
            if line.lower() == "quit":
                self.ended = True
                break
            answers += self._answer(line).encode() + b"\n"
        return answers


class Frames:
    """Answers messages with their length in two bytes before them, as DNS has over TCP."""

    greeting = b""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self.ended = False
        self._answer = answer

    def hear(self, buffer: bytearray) -> bytes:
        """Answer the complete frames in `buffer`; what has no answer ends the conversation."""
        answers = b""
        while len(buffer) >= 2:
            (length,) = struct.unpack_from("!H", buffer)
            if len(buffer) < length + 2:
                break
            answer = self._answer(bytes(buffer[2 : length + 2]))
            del buffer[: length + 2]
            if answer is None:
                self.ended = True
                break
            answers += struct.pack("!H", len(answer)) + answer
        return answers


def serve_tcp(
    loop: Loop, listener: socket.socket, start: Callable[[Address], Conversation]
) -> None:
    """Hold a conversation with each client of `listener`."""

    def accept(_events: int) -> None:
        try:
            sock, peer = listener.accept()
        except OSError:  # the client has gone again, or no descriptor is left
            return
        sock.setblocking(False)
        _Client(loop, sock, start(plain(peer)))

    loop.watch(listener, READ, accept)


class _Client:
    """One connection."""

    def __init__(self, loop: Loop, sock: socket.socket, conversation: Conversation) -> None:
        self._loop, self._sock, self._conversation = loop, sock, conversation
        self._buffer = bytearray()
        loop.watch(sock, READ, self._ready)
        if not self._say(conversation.greeting):
            self._close()

    def _ready(self, _events: int) -> None:
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._buffer += data
        if not data or not self._answer():
            self._close()

    def _answer(self) -> bool:
        """Answer what is complete; return whether the conversation goes on."""
        said = self._say(self._conversation.hear(self._buffer))
        return said and not self._conversation.ended and len(self._buffer) <= MAX_UNREAD

    def _say(self, data: bytes) -> bool:
        """Send short answers; return False if the client reads so little that they do not fit."""
        try:
            self._sock.sendall(data)
        except OSError:
            return False
        return True

    def _close(self) -> None:
        self._loop.unwatch(self._sock)
        self._sock.close()
