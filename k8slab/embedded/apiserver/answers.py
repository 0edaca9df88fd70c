"""What httptools has read so far of an HTTP answer that this server has asked for."""

from __future__ import annotations


class Answer:
    """Collects head and body; httptools calls what begins with ``on_``."""

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.body: list[bytes] = []
        """The pieces that have come; whoever passes them on may take them out."""
        self.has_head = self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Note that the head is there."""
        self.has_head = True

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        self.body.append(body)

    def on_message_complete(self) -> None:
        """Note that all is there."""
        self.is_complete = True
