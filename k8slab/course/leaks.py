"""Say whether a text gives an exercise's solution away, in whatever layout.

The parts of a solution are what its manifests say besides their names (labels, ``spec``,
``data``, ``rules``), and its commands. A text gives it away when it contains half of them or
more, once quotes, brackets, dashes and white space are taken out of both, so that neither flow
style nor indentation hides it. Less may be said: a hint names a field, a counterexample a label,
and a policy that denies everything is one of many solutions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k8slab.objects import manifests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.course.lab import Exercise

SHORTEST = 24
"""Characters below which a part says too little to be a solution: an empty selector, a port."""

_LAYOUT = re.compile(r"[\s\"'{}\[\],\-`\\]+")
_OTHERS = ("apiVersion", "kind", "answers", "kubectl")
_NAME = re.compile(r"\b(name|namespace): *[^\s,}]+,?|^metadata:\s*(\{\s*\})?", re.MULTILINE)
"""In the metadata: what an answer may call as it likes."""


def leaks(text: str, exercise: Exercise) -> list[str]:
    """Return the parts of a solution that a text gives away; empty when it does not."""
    told, every = _bare(text), parts(exercise.solution)
    found = [part for part in every if _bare(part) in told]
    return found if 2 * len(found) >= len(every) else []


def parts(solution: str) -> list[str]:
    """Return what must not be told: what each document says, as its author wrote it."""
    found = [*_written(solution), *_commands(solution)]
    return [part for part in dict.fromkeys(found) if len(_bare(part)) >= SHORTEST]


def _bare(text: str) -> str:
    return _LAYOUT.sub("", text)


def _written(solution: str) -> Iterator[str]:
    """Yield what each document says, without comments and names."""
    field = re.compile(r"^(\w+):", re.MULTILINE)
    for document in re.split(r"^---.*$", solution, flags=re.MULTILINE):
        text = re.sub(r"(^|\s)#.*$", "", document, flags=re.MULTILINE)
        places = [*field.finditer(text)]
        ends = [*(place.start() for place in places[1:]), len(text)]
        said = ""
        for place, end in zip(places, ends, strict=False):  # of an empty document there is no place
            part = text[place.start() : end]
            if place[1] == "metadata":
                said += _NAME.sub("", part)
            elif place[1] not in _OTHERS:
                said += part
        yield said.strip()


def _commands(solution: str) -> Iterator[str]:
    documents: list[Any] = manifests.load_values(solution.encode(), "the solution")
    for document in documents:
        if isinstance(document, dict):
            yield from (str(command) for command in document.get("kubectl") or ())
