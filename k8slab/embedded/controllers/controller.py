"""What most controllers are: a loop, and what follows the API to fill its queue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol, TypeVar

from k8slab.embedded.controllers.loop import Loop
from k8slab.objects.meta import key_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context


class Closing(Protocol):
    """An index or another part that follows the API until it is closed."""

    @property
    def close(self) -> Callable[[], None]:
        """Return what ends it."""


Part = TypeVar("Part", bound=Closing)


class Controller(ABC):
    """A `Loop` over keys: an heir gives `_reconcile` and says at its start what it follows."""

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._api = context.api
        self.loop = Loop(name, self._reconcile)
        self._ends: list[Callable[[], None]] = []

    async def close(self) -> None:
        """Follow nothing any more and stop the loop."""
        for end in self._ends:
            end()
        await self.loop.close()

    def _own(self, part: Part) -> Part:
        """Return `part`, which will be closed with this controller."""
        self._ends.append(part.close)
        return part

    def _follow(self, resource: str, changed: Callable[[Event], None]) -> None:
        """Call `changed` for each change of these objects."""
        self._ends.append(self._api.subscribe(resource, changed))

    def _look_at(self, resource: str) -> None:
        """Add the key of each of these objects, now and whenever one changes."""
        self._follow(resource, lambda event: self.loop.add(key_of(event.object)))
        for obj in self._api.list(resource):
            self.loop.add(key_of(obj))

    @abstractmethod
    def _reconcile(self, key: str) -> float | Awaitable[float | None] | None:
        """Make one key right; return (or a coroutine does) in how many seconds to look again."""
