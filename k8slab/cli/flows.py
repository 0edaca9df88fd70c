"""Flows as the commands read them: three words, or JSON lines.

{"from": "shop/web", "to": "svc:shop/db", "port": 5432, "protocol": "TCP"}
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from k8slab.cli.console import bad_path
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.policy import Flow


def from_words(words: tuple[str, ...]) -> Flow:
    """Read ``SRC DST PORT[/PROTOCOL]``; raises `UsageError`."""
    from k8slab.policy import Flow  # noqa: PLC0415

    if len(words) != 3:
        raise click.UsageError("a flow is SRC DST PORT[/PROTOCOL]")
    source, destination, port = words
    number, _, protocol = port.partition("/")
    return Flow.of(source, destination, _port(number), protocol or "TCP")


def read_flows(path: str) -> Iterator[tuple[int, Flow | UsageError]]:
    """Yield the number of each line that is not empty, and its flow or what is wrong with it.

    Raises `UsageError` when there is no such file.
    """
    try:
        opened = click.open_file(path, encoding="utf-8", errors="replace")
    except OSError as error:
        raise bad_path(error, path) from error
    with opened as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, _from_line(line)
                except UsageError as error:
                    yield number, error


def _from_line(line: str) -> Flow:
    from k8slab.policy import Flow  # noqa: PLC0415

    try:
        asked = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this is not JSON: {line.strip()[:60]}") from error
    if not isinstance(asked, dict):
        raise UsageError("a flow is a JSON object with from, to and port")
    if missing := [key for key in ("from", "to", "port") if key not in asked]:
        raise UsageError(f"the flow has no {' and no '.join(missing)}")
    port, protocol = asked["port"], asked.get("protocol") or "TCP"
    if isinstance(port, bool) or not isinstance(port, int | str):
        raise UsageError(f"port {port!r} is neither a number nor a name")
    if not all(isinstance(text, str) for text in (asked["from"], asked["to"], protocol)):
        raise UsageError("from, to and protocol are texts")
    port = _port(port) if isinstance(port, str) else port
    return Flow.of(asked["from"], asked["to"], port, protocol)


def _port(text: str) -> int | str:
    """Return a number as a number, anything else as a name."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else text
