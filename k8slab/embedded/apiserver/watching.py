"""Tell watchers: one subscription to the store for each resource, however many watch it.

A change is not told inside the write that made it: it is queued, and told in the next turn of the
event loop, so that the writer has its answer first. An event is encoded once for all watchers
that show it in the same way, and several events go to a watcher in one piece.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.http import chunk
from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.http import Channel
    from k8slab.embedded.apiserver.selection import Selection
    from k8slab.embedded.apiserver.store import Event, Store
    from k8slab.embedded.apiserver.views import View

BOOKMARK_SECONDS = 60.0
"""How often an idle watch is told the revision: a real server does about each minute."""

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
class Watcher:
    """One open watch."""

    channel: Channel
    selection: Selection
    view: View
    revision: int
    """Told up to here."""
    bookmarks: bool

    def line(self, event: Event, encoded: dict[tuple, bytes]) -> bytes:
        """Return the framed line for an event, empty when this watcher does not see it."""
        kind = self._seen_as(event)
        if not kind:
            return b""
        view = self.view
        key = (view.kind.resource, view.kind.version, view.form, view.include, event.revision, kind)
        if key not in encoded:
            encoded[key] = chunk(view.event(kind, event.object, event.raw))
        return encoded[key]

    def _seen_as(self, event: Event) -> str:
        matches = self.selection.matches
        if not self.selection.is_filtered:
            return event.type if matches(event.object) else ""
        before = event.old is not None and matches(event.old)
        now = event.type != "DELETED" and matches(event.object)
        if now:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else ""


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
    """The watchers of one resource."""

    def __init__(self, store: Store, resource: str) -> None:
        self._store = store
        self._resource = resource
        self._loop = asyncio.get_running_loop()
        self._watchers: set[Watcher] = set()
        self._events: deque[Event] = deque()
        self._unsubscribe = store.subscribe(resource, self._on_event)
        self._timer = self._loop.call_later(BOOKMARK_SECONDS, self._bookmark)

    def close(self) -> None:
        self._unsubscribe()
        self._timer.cancel()

    def begin(
        self, channel: Channel, selection: Selection, view: View, options: WatchOptions
    ) -> None:
        """Send what is there already, and keep the watcher."""
        watcher = Watcher(channel, selection, view, self._store.revision, options.bookmarks)
        try:
            self._send_first(watcher, options)
        except ApiStatusError as error:
            status = {"type": "ERROR", "object": statuses.status_object(error)}
            channel.write(chunk(orjson.dumps(status) + b"\n"))
            channel.finish()
            return
        seconds = options.timeout or LEAST_SECONDS * (1 + random.random())
        timer = self._loop.call_later(seconds, channel.finish)

        def forget() -> None:
            timer.cancel()
            self._watchers.discard(watcher)

        channel.on_close = forget
        if channel.open:
            self._watchers.add(watcher)

    def _send_first(self, watcher: Watcher, options: WatchOptions) -> None:
        view, selection = watcher.view, watcher.selection
        wants_initial = (
            options.initial_events
            if options.initial_events is not None
            else options.revision in (None, 0)
        )
        if wants_initial:
            lines = [
                chunk(view.event("ADDED", entry.object, entry.raw))
                for entry in self._store.entries(self._resource, selection.namespace)
                if selection.matches(entry.object)
            ]
            if options.initial_events and options.bookmarks:
                lines.append(chunk(view.bookmark(self._store.revision, initial_end=True)))
            watcher.channel.write(b"".join(lines))
        elif options.revision:
            if options.revision > self._store.revision:
                raise statuses.expired(
                    f"The resourceVersion for the provided watch is too new: {options.revision} "
                    f"({self._store.revision}); the cluster was reset. List again."
                )
            encoded: dict[tuple, bytes] = {}
            events = self._store.since(self._resource, options.revision)
            watcher.channel.write(b"".join(watcher.line(event, encoded) for event in events))

    def _on_event(self, event: Event) -> None:
        if not self._watchers:
            return
        if not self._events:
            self._loop.call_soon(self._flush)
        self._events.append(event)

    def _flush(self) -> None:
        events, self._events = self._events, deque()
        encoded: dict[tuple, bytes] = {}
        for watcher in tuple(self._watchers):
            fresh = [event for event in events if event.revision > watcher.revision]
            if not fresh:
                continue
            watcher.revision = fresh[-1].revision
            lines = b"".join(watcher.line(event, encoded) for event in fresh)
            if lines:
                watcher.channel.write(lines)

    def _bookmark(self) -> None:
        self._timer = self._loop.call_later(BOOKMARK_SECONDS, self._bookmark)
        if self._events:
            return
        for watcher in tuple(self._watchers):
            if watcher.bookmarks:
                watcher.channel.write(chunk(watcher.view.bookmark(self._store.revision)))
