"""The plugin chain: each plugin answers a query, or hands it to the next one.

A handler returns the response itself when it knows it at once, or an awaitable when it has
to ask somebody (`forward`). `then` lets a plugin change a response of either kind, so that the
common case, an answer from memory, never waits for the event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from k8slab.embedded.wire import REFUSED, SERVFAIL, Message

if TYPE_CHECKING:
    from k8slab.embedded.dns.catalogue import Catalogue
    from k8slab.embedded.dns.corefile import ServerBlock
    from k8slab.embedded.dns.metrics import Metrics


@dataclass(slots=True)
class Notes:
    """What a query met on its way, for the logs and the metrics."""

    plugin: str = ""
    """Who answered."""
    error: str = ""
    """Why the answer is SERVFAIL."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question, from whom and how."""

    message: Message
    client: tuple[str, int] = ("127.0.0.1", 0)
    protocol: str = "udp"
    size: int = 0
    depth: int = 0
    """How many CNAMEs led here."""
    notes: Notes = field(default_factory=Notes)

    def asking(self, message: Message) -> Query:
        """Return the same query with another question."""
        return replace(self, message=message)

    def reply(self, plugin: str, **changes: object) -> Message:
        """Return a response by this plugin; see `Message.reply`."""
        self.notes.plugin = plugin
        return self.message.reply(**changes)

    def fail(self, plugin: str, error: str) -> Message:
        """Return SERVFAIL; the `errors` plugin will log the reason."""
        self.notes.error = error
        return self.reply(plugin, rcode=SERVFAIL)


Result = Message | Awaitable[Message]
Handler = Callable[[Query], Result]
Wrap = Callable[[Handler], Handler]


def then(result: Result, step: Callable[[Message], Message]) -> Result:
    """Apply `step` to a response, now or when it comes."""
    return step(result) if isinstance(result, Message) else _after(result, step)


async def _after(result: Awaitable[Message], step: Callable[[Message], Message]) -> Message:
    return step(await result)


def refuse(query: Query) -> Message:
    """Answer what no plugin answered."""
    return query.reply("", rcode=REFUSED)


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a Corefile asks of the process, apart from answering."""

    catalogue: Catalogue
    metrics: Metrics
    file: str
    say: Callable[[str], None]
    dispatch: Callable[[Query], Result] = refuse
    """Answer a query through the whole server (for CNAME targets)."""
    health: list[str] = field(default_factory=list)
    lameduck: float = 0.0
    ready: list[str] = field(default_factory=list)
    prometheus: list[str] = field(default_factory=list)
    reload_seconds: float = 0.0
    """0 when the Corefile is not watched."""
    needs: set[str] = field(default_factory=set)
    """Resources to watch: ``services``, ..."""
    synced: Callable[[], bool] = lambda: True
    """Tell whether everything in `needs` has been listed once."""
    starters: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    closers: list[Callable[[], None]] = field(default_factory=list)


@dataclass(slots=True)
class Site:
    """One server block, ready to answer."""

    block: ServerBlock
    handler: Handler = refuse
    storable: bool = True
    """Whether answers may be repeated byte by byte: not while each one has to be logged."""
    balanced: bool = False

    @property
    def label(self) -> str:
        """Return the name that metrics give the server."""
        return f"dns://:{self.block.port}"
