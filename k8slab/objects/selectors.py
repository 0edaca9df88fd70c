"""Label selectors: which labels match, and why they do not.

Source of the rules: apimachinery ``metav1.LabelSelector``. An empty selector
matches everything, an absent one (``None``) matches nothing. ``NotIn`` and
``DoesNotExist`` match objects that lack the key.

A selector can be asked about one object (`matches`, `mismatch`) or about all objects of a
`LabelIndex` at once (`bits`): there each label has the set of its objects as an integer, one
bit an object, and a selector is a few operations on such integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from k8slab.errors import UsageError
from k8slab.objects import selectortext

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


class LabelIndex(Protocol):
    """The labels of many objects, each object one bit."""

    @property
    def everything(self) -> int:
        """The bits of all objects."""

    def values(self, key: str) -> Mapping[str, int]:
        """Return the bits of the objects that have this key, by the label's value."""


def bits_having(index: LabelIndex, key: str) -> int:
    """Return the bits of the objects that have a label of this key."""
    found = 0
    for bits in index.values(key).values():
        found |= bits
    return found


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label key; `values` is empty for Exists and DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether the labels fulfil this condition."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case _:
                return value is None

    def mismatch(self, labels: Mapping[str, str]) -> str:
        """Say in words why the labels do not match; empty when they do."""
        if self.matches(labels):
            return ""
        value = labels.get(self.key)
        match self.operator:
            case "In" if value is None:
                return f"has no label {self.key}"
            case "In":
                wanted = (
                    self.values[0] if len(self.values) == 1 else "one of " + ", ".join(self.values)
                )
                return f"label {self.key}={value} is not {self.key}={wanted}"
            case "NotIn":
                return f"label {self.key}={value} is excluded"
            case "Exists":
                return f"has no label {self.key}"
            case _:
                return f"has the label {self.key}, which must be absent"

    def __str__(self) -> str:
        match self.operator:
            case "In" if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case "In" | "NotIn":
                return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"
            case "Exists":
                return self.key
            case _:
                return f"!{self.key}"

    def keys(self) -> Iterator[str]:
        """Yield the key."""
        yield self.key

    def bits(self, index: LabelIndex) -> int:
        """Return the bits of the objects that fulfil this condition."""
        if self.operator in ("Exists", "DoesNotExist"):
            found = bits_having(index, self.key)
        else:
            values, found = index.values(self.key), 0
            for value in self.values:
                found |= values.get(value, 0)
        return found if self.operator in ("In", "Exists") else index.everything & ~found


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements together (logical and); without any it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether the labels fulfil every requirement."""
        return all(r.matches(labels) for r in self.requirements)

    def mismatch(self, labels: Mapping[str, str]) -> str:
        """Say in words the first reason for which the labels do not match."""
        return next((text for r in self.requirements if (text := r.mismatch(labels))), "")

    def keys(self) -> Iterator[str]:
        """Yield the keys of the labels that the selector looks at."""
        return (requirement.key for requirement in self.requirements)

    def bits(self, index: LabelIndex) -> int:
        """Return the bits of the objects that fulfil every requirement."""
        found = index.everything
        for requirement in self.requirements:
            found &= requirement.bits(index)
        return found

    def __str__(self) -> str:
        """Return the query form, as `from_text` reads it; empty for everything."""
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()


def from_object(selector: Mapping | None) -> Selector | None:
    """Compile a ``metav1.LabelSelector``; ``None`` (absent) stays ``None``: it matches nothing."""
    if selector is None:
        return None
    requirements = [
        Requirement(key, "In", (value,))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    for expression in selector.get("matchExpressions") or ():
        operator = expression.get("operator")
        if operator not in OPERATORS:
            raise UsageError(
                f"unknown selector operator {operator!r}", hint=f"use one of {', '.join(OPERATORS)}"
            )
        requirements.append(
            Requirement(expression.get("key", ""), operator, tuple(expression.get("values") or ()))
        )
    return Selector(tuple(requirements))


def from_labels(labels: Mapping[str, str]) -> Selector:
    """Compile a plain map such as a Service's ``spec.selector``."""
    return Selector(tuple(Requirement(key, "In", (value,)) for key, value in labels.items()))


def from_text(text: str) -> Selector:
    """Compile the query form, as in ``kubectl -l 'app=web,tier in (a,b),!old'``."""
    return Selector(tuple(Requirement(*term) for term in selectortext.parse(text)))
