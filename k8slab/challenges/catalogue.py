"""The course's catalogue of faults, and which of them can be put into a cluster.

``book/course/faults.yaml`` tells of each fault what is broken, what is seen, the command that
reveals it, and the fix. A fault with a file in ``recipes/`` can be injected; every other one says
in the catalogue why not: it is ``told``, or it ``follows`` with a lab that is not there yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from k8slab.errors import UsageError
from k8slab.objects import manifests

INJECTABLE, TOLD, FOLLOWS = "injectable", "told", "follows"
PROVIDERS = {"both": "embedded, kind", "embedded": "embedded", "case": "case"}
RECIPES = Path(__file__).parent / "recipes"
_FILE = "faults.yaml"


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault as the course tells it."""

    id: str
    fault: str
    symptom: str
    reveals: str
    fix: str
    where: str
    """``both``: embedded and kind; ``embedded``; ``case``: told only."""
    told: str = ""
    """Why it is told and not injected; empty where it is injected."""
    follows: str = ""
    """The lab with which it comes."""
    note: str = ""
    """What is imitated here, or otherwise on a node of one's own; for the page and the answer."""

    @property
    def state(self) -> str:
        """Return ``injectable``, ``told`` or ``follows``."""
        if self.follows:
            return FOLLOWS
        return TOLD if self.told else INJECTABLE

    @property
    def recipe(self) -> Path:
        """Return the file that says how it is injected."""
        return RECIPES / f"{self.id}.yaml"


@cache
def entries() -> dict[str, Entry]:
    """Return all faults by id, in order."""
    (found,) = manifests.load_values(_text().encode(), _FILE)
    return {one["id"]: Entry(**one) for one in found}


def entry(fault: str) -> Entry:
    """Return one fault; `UsageError` for one that there is not, or that cannot be injected."""
    known = entries()
    name = fault.upper()
    if name not in known:
        raise UsageError(
            f"there is no fault {fault!r}", hint="k8slab challenge list shows the catalogue"
        )
    found = known[name]
    if found.state != INJECTABLE:
        why = found.told or f"it follows with lab {found.follows}"
        raise UsageError(f"{name} ({found.fault}) cannot be injected: {why}")
    return found


def injectable() -> list[Entry]:
    """Return the faults that can be injected somewhere."""
    return [one for one in entries().values() if one.state == INJECTABLE]


def _text() -> str:
    packaged = files("k8slab.challenges").joinpath(_FILE)
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    # A clone has the file where the course's other lists are.
    checkout = Path(__file__).parents[2] / "book" / "course" / _FILE
    return checkout.read_text(encoding="utf-8")
