"""Names that differ from learner to learner, so that a transfer cannot be copied.

An exercise lists choices for a word (``names: {sender: [anna, boris]}``) and writes
``<<sender>>`` wherever the name stands: in its own texts, its manifests, its solution. The
learner's seed picks; the same seed always picks the same.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from k8slab.errors import ExerciseError
from k8slab.objects.lines import keep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACE = re.compile(r"<<([a-z][a-z0-9-]*)>>")


def choose(names: Mapping[str, Sequence[str]], seed: int, scope: str) -> dict[str, str]:
    """Pick a name for each word, never the same twice; `scope` keeps exercises apart."""
    picked: dict[str, str] = {}
    for word, choices in names.items():
        left = [str(choice) for choice in choices if str(choice) not in picked.values()]
        if not left:
            raise ExerciseError(f"{scope}: names: no choice is left for {word!r}")
        picked[word] = random.Random(f"{seed}/{scope}/{word}").choice(left)
    return picked


def fill(value: Any, names: Mapping[str, str], place: str) -> Any:
    """Put the names into every text of a value; an unknown word raises `ExerciseError`."""
    if isinstance(value, dict):
        return keep(value, {fill(k, names, place): fill(v, names, place) for k, v in value.items()})
    if isinstance(value, list):
        return [fill(item, names, place) for item in value]
    if not isinstance(value, str):
        return value

    def name(found: re.Match) -> str:
        if found[1] not in names:
            raise ExerciseError(
                f"{place}: {found[0]} is not among its names",
                hint=f"allowed are {', '.join(names) or 'none: give the exercise names:'}",
            )
        return names[found[1]]

    return _PLACE.sub(name, value)
