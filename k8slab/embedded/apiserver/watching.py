"""Tell watchers: one subscription to the store for each resource, however many watch it.

A change is not told inside the write that made it: it is queued, and told in the next turn of the
event loop, so that the writer has its answer first. Watches that ask for the same (the same
selection shown in the same way) are one *audience*: a change is looked at and encoded once for all
of them, and several changes go to them in one piece.

What a watch begins with is encoded piece by piece, as its client reads: until then it is a list of
references to what the store has anyway. What comes later waits in the `Channel`, shared by the
audience; a client that falls too far behind is cut off, and lists again, as with a real server.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.http import chunk
from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from k8slab.embedded.apiserver.http import Channel
    from k8slab.embedded.apiserver.selection import Selection
    from k8slab.embedded.apiserver.store import Entry, Event, Store
    from k8slab.embedded.apiserver.views import View

BOOKMARK_SECONDS = 60.0
"""How often an idle watch is told the revision: a real server does about each minute."""

BATCH_BYTES = 64 * 1024
"""How much of what a watch begins with is encoded at once."""

LEAST_SECONDS = 1800
"""A watch without a time-out lasts between this and twice this (``--min-request-timeout``)."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What a watch request asks for; `revision` ``None`` is "from now, with what is there"."""

    revision: int | None
    initial_events: bool | None = None
    """``sendInitialEvents``; ``None`` when the request does not say."""
    bookmarks: bool = False
    timeout: float = 0.0


@dataclass(eq=False, slots=True)
class Audience:
    """The open watches that are told the same lines."""

    selection: Selection
    view: View
    bookmarks: bool
    channels: set[Channel] = field(default_factory=set)

    def lines(self, events: Iterable[Event]) -> Iterator[bytes]:
        """Yield the line of each event that is seen here."""
        for event in events:
            if kind := self._seen_as(event):
                left = kind == "DELETED" and event.type != "DELETED"
                told = _departure(event) if left else event
                yield self.view.event(kind, told.object, told.raw)

    def first_lines(self, entries: list[Entry]) -> Iterator[bytes]:
        """Yield the lines of what is there already."""
        for entry in entries:
            if self.selection.matches(entry.object):
                yield self.view.event("ADDED", entry.object, entry.raw)

    def _seen_as(self, event: Event) -> str:
        matches = self.selection.matches
        if not self.selection.is_filtered:
            return event.type if matches(event.object) else ""
        before = event.old is not None and matches(event.old)
        now = event.type != "DELETED" and matches(event.object)
        if now:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else ""

    def tell(self, lines: Iterable[bytes]) -> None:
        """Send lines to all, encoded once."""
        if data := b"".join(lines):
            framed = chunk(data)
            for channel in tuple(self.channels):
                channel.write(framed)


def _departure(event: Event) -> Event:
    """Return the change by which an object leaves a selection: as it was, at the new revision.

    So what a watch tells of an object is always within its selection (storage ``cacher``,
    convertToWatchEvent).
    """
    old = event.old or event.object
    metadata = {**old["metadata"], "resourceVersion": str(event.revision)}
    gone = {**old, "metadata": metadata}
    return replace(event, object=gone, raw=orjson.dumps(gone))


def batches(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Frame lines in chunks of about `BATCH_BYTES`."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if size >= BATCH_BYTES:
            yield chunk(b"".join(batch))
            batch, size = [], 0
    if batch:
        yield chunk(b"".join(batch))


class Watching:
    """All watches of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hubs: dict[str, _Hub] = {}

    def feed(
        self, resource: str, selection: Selection, view: View, options: WatchOptions
    ) -> Callable[[Channel], None]:
        """Return the feed that answers a watch request."""
        hub = self._hubs.get(resource)
        if hub is None:
            hub = self._hubs[resource] = _Hub(self._store, resource)

        def begin(channel: Channel) -> None:
            hub.begin(channel, selection, view, options)

        return begin

    def close(self) -> None:
        """Stop listening to the store."""
        for hub in self._hubs.values():
            hub.close()


class _Hub:
    """The watches of one resource, by audience."""

    def __init__(self, store: Store, resource: str) -> None:
        self._store = store
        self._resource = resource
        self._loop = asyncio.get_running_loop()
        self._audiences: dict[Hashable, Audience] = {}
        self._events: list[Event] = []
        self._unsubscribe = store.subscribe(resource, self._on_event)
        self._timer = self._loop.call_later(BOOKMARK_SECONDS, self._bookmark)

    def close(self) -> None:
        self._unsubscribe()
        self._timer.cancel()

    def begin(
        self, channel: Channel, selection: Selection, view: View, options: WatchOptions
    ) -> None:
        """Send what is there already, and keep the watch."""
        # What the others are still to be told is already in what this one begins with.
        self._flush()
        key = (selection, id(view.kind), view.form, view.include, options.bookmarks)
        audience = self._audiences.get(key) or Audience(selection, view, options.bookmarks)
        try:
            first = self._first_lines(audience, options)
        except ApiStatusError as error:
            status = {"type": "ERROR", "object": statuses.status_object(error)}
            channel.write(chunk(orjson.dumps(status) + b"\n"))
            channel.finish()
            return
        seconds = options.timeout or LEAST_SECONDS * (1 + random.random())
        timer = self._loop.call_later(seconds, channel.finish)

        def forget() -> None:
            timer.cancel()
            audience.channels.discard(channel)
            if not audience.channels:
                self._audiences.pop(key, None)

        channel.on_close = forget
        self._audiences[key] = audience
        audience.channels.add(channel)
        channel.begin(batches(first))

    def _first_lines(self, audience: Audience, options: WatchOptions) -> Iterator[bytes]:
        """Return what a watch begins with: objects and changes of now, lines made as it reads."""
        store, revision = self._store, self._store.revision
        wants_initial = (
            options.initial_events
            if options.initial_events is not None
            else options.revision in (None, 0)
        )
        if wants_initial:
            lines = audience.first_lines(
                store.entries(self._resource, audience.selection.namespace)
            )
            if options.initial_events and options.bookmarks:
                lines = chain(lines, [audience.view.bookmark(revision, initial_end=True)])
            return lines
        if not options.revision:
            return iter(())
        if options.revision > revision:
            raise statuses.expired(
                f"The resourceVersion for the provided watch is too new: {options.revision} "
                f"({revision}); the cluster was reset. List again."
            )
        return audience.lines(store.since(self._resource, options.revision))

    def _on_event(self, event: Event) -> None:
        if not self._audiences:
            return
        if not self._events:
            self._loop.call_soon(self._flush)
        self._events.append(event)

    def _flush(self) -> None:
        events, self._events = self._events, []
        for audience in tuple(self._audiences.values()) if events else ():
            audience.tell(audience.lines(events))

    def _bookmark(self) -> None:
        self._timer = self._loop.call_later(BOOKMARK_SECONDS, self._bookmark)
        self._flush()
        for audience in tuple(self._audiences.values()):
            if audience.bookmarks:
                audience.tell([audience.view.bookmark(self._store.revision)])
