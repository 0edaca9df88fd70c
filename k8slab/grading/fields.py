"""What a part of an exercise file may hold: a table of fields, and a reader that explains.

Every mapping of the format has such a table. It is the schema, the source of the messages,
and of the reference page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.errors import ExerciseError
from k8slab.objects.lines import line_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: the types of its value, and what it means in a sentence."""

    types: tuple[type, ...]
    meaning: str
    required: bool = False
    allowed: tuple[str, ...] = ()
    """The only values allowed; empty for any."""

    def fault(self, value: Any) -> str:
        """Say what is wrong with a value; empty when nothing is."""
        if isinstance(value, bool) and bool not in self.types:
            return f"must be {self.expected}, not true or false"
        if not isinstance(value, self.types):
            return f"must be {self.expected}, not {_word(value)}"
        if self.allowed and value not in self.allowed:
            return f"is {value!r}; allowed are {', '.join(self.allowed)}"
        return ""

    @property
    def expected(self) -> str:
        """Say in words what a value must be."""
        return " or ".join(_WORDS[kind] for kind in self.types)


Fields = dict[str, Field]


def text(meaning: str, *, required: bool = False, allowed: tuple[str, ...] = ()) -> Field:
    """Describe a field that holds text."""
    return Field((str,), meaning, required, allowed)


def validate(value: Any, fields: Mapping[str, Field], place: str) -> None:
    """Compare a mapping with its table; raises `ExerciseError` that begins with `place`."""
    if not isinstance(value, dict):
        raise ExerciseError(f"{place}: must be a mapping, not {_word(value)}")
    for name, content in value.items():
        field = fields.get(name)
        if field is None:
            raise ExerciseError(
                f"{at(place, value, name)}: unknown field {name!r}",
                hint=f"allowed are {', '.join(sorted(fields))}",
            )
        if fault := field.fault(content):
            raise ExerciseError(
                f"{at(place, value, name)}: field {name!r} {fault}", hint=field.meaning
            )
    for name, field in fields.items():
        if field.required and name not in value:
            raise ExerciseError(
                f"{at(place, value, name)}: field {name!r} is missing", hint=field.meaning
            )


MEANING: Fields = {
    "meaning": text("what the regular expression wants, in the words in which learners read it")
}
"""Stands beside each regular expression whose result learners are told."""


def pattern_fault(value: Mapping[str, Any], name: str) -> str:
    """Say what is wrong with a field that holds a regular expression; empty when nothing is."""
    if (name in value) != ("meaning" in value):
        return f"fields {name!r} and 'meaning' need each other: learners read no expressions"
    try:
        re.compile(value.get(name, ""))
    except re.error as error:
        return f"field {name!r}: {error} in {value[name]!r}"
    return ""


def at(place: str, value: Any, key: str) -> str:
    """Put the line of a key behind the file that a place begins with, where it is known."""
    number = line_of(value, key)
    file, colon, rest = place.partition(": ")
    return f"{file}:{number}{colon}{rest}" if number else place


def _word(value: Any) -> str:
    kind = dict if isinstance(value, dict) else type(value)
    return _WORDS.get(kind, "nothing")
