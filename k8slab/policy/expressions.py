"""Calico's selector expressions, parsed: ``app == 'web' && !has(old) || tier in {'a', 'b'}``.

Source: Calico's reference, "Selectors" of NetworkPolicy. Or binds weakest, then and, then
not. ``!=`` and ``not in`` match objects without the label, ``contains``, ``starts with`` and
``ends with`` do not. ``all()`` is every endpoint; ``global()`` is what is in no namespace,
which no pod is. An empty expression is no condition at all; whoever asks decides that.

A recursive descent over tokens: each function below reads one level of binding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from k8slab.errors import UsageError
from k8slab.objects.selectors import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k8slab.objects.selectors import LabelIndex

MAX_TOKENS = 10_000
MAX_DEPTH = 100
"""How deep parentheses and ``!`` may nest, so that recursion stays bounded."""


class Expression(Protocol):
    """What a selector can be asked; `objects.selectors.Selector` answers the same."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether the labels fulfil it."""

    def mismatch(self, labels: Mapping[str, str]) -> str:
        """Say in words the first reason why not; empty when they do."""

    def keys(self) -> Iterator[str]:
        """Yield the keys that it looks at."""

    def bits(self, index: LabelIndex) -> int:
        """Return the objects of an index that fulfil it."""


@dataclass(frozen=True, slots=True)
class Constant:
    """``all()`` and ``global()``: every endpoint, and no pod."""

    value: bool

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return the constant."""
        del labels
        return self.value

    def mismatch(self, labels: Mapping[str, str]) -> str:
        """Say that pods are in namespaces."""
        del labels
        return "" if self.value else "is in a namespace, and global() means what is in none"

    def keys(self) -> Iterator[str]:
        """Yield nothing."""
        return iter(())

    def bits(self, index: LabelIndex) -> int:
        """Return all or nothing."""
        return index.everything if self.value else 0


_PATTERNS = {
    "contains": lambda value, text: text in value,
    "starts with": str.startswith,
    "ends with": str.endswith,
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """``key contains 'text'`` and its two sisters."""

    key: str
    how: str
    text: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Compare the label's value; a missing label does not match."""
        value = labels.get(self.key)
        return value is not None and _PATTERNS[self.how](value, self.text)

    def mismatch(self, labels: Mapping[str, str]) -> str:
        """Say what the value is instead."""
        if self.matches(labels):
            return ""
        if self.key not in labels:
            return f"has no label {self.key}"
        return f"label {self.key}={labels[self.key]}: not {self.how} '{self.text}'"

    def keys(self) -> Iterator[str]:
        """Yield the key."""
        yield self.key

    def bits(self, index: LabelIndex) -> int:
        """Try the values that exist."""
        found = 0
        for value, bits in index.values(self.key).items():
            if _PATTERNS[self.how](value, self.text):
                found |= bits
        return found


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    inner: Expression
    text: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether the inner expression does not."""
        return not self.inner.matches(labels)

    def mismatch(self, labels: Mapping[str, str]) -> str:
        """Quote what must not match."""
        return f"matches {self.text}, which must not be" if self.inner.matches(labels) else ""

    def keys(self) -> Iterator[str]:
        """Yield the inner keys."""
        return self.inner.keys()

    def bits(self, index: LabelIndex) -> int:
        """Return everything else."""
        return index.everything & ~self.inner.bits(index)


@dataclass(frozen=True, slots=True)
class And:
    """All parts."""

    parts: tuple[Expression, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Ask every part."""
        return all(part.matches(labels) for part in self.parts)

    def mismatch(self, labels: Mapping[str, str]) -> str:
        """Return the first part's reason."""
        return next((why for part in self.parts if (why := part.mismatch(labels))), "")

    def keys(self) -> Iterator[str]:
        """Yield the keys of all parts."""
        return (key for part in self.parts for key in part.keys())  # noqa: SIM118  not a mapping

    def bits(self, index: LabelIndex) -> int:
        """Return what is in all parts."""
        found = index.everything
        for part in self.parts:
            found &= part.bits(index)
        return found


@dataclass(frozen=True, slots=True)
class Or:
    """Any part."""

    parts: tuple[Expression, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Ask until one says yes."""
        return any(part.matches(labels) for part in self.parts)

    def mismatch(self, labels: Mapping[str, str]) -> str:
        """Return every part's reason: each would have been enough."""
        found = [part.mismatch(labels) for part in self.parts]
        return "" if "" in found else ", and ".join(found)

    def keys(self) -> Iterator[str]:
        """Yield the keys of all parts."""
        return (key for part in self.parts for key in part.keys())  # noqa: SIM118  not a mapping

    def bits(self, index: LabelIndex) -> int:
        """Return what is in any part."""
        found = 0
        for part in self.parts:
            found |= part.bits(index)
        return found


class Token(NamedTuple):
    """A word of the language and where it begins."""

    kind: str
    text: str
    place: int


_TOKEN = re.compile(
    r"(?P<space>[ \t]+)"
    r"|(?P<call>all|global)\([ \t]*\)"
    r"|has\([ \t]*(?P<has>[a-zA-Z0-9_./-]{1,512})[ \t]*\)"
    r"|(?P<op>==|!=|&&|\|\||[!(){},])"
    r"|\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)'"
    r"|(?P<word>[a-zA-Z0-9_./-]{1,512})"
)
_AFTER_LABEL = re.compile(
    r"[ \t]*(?:(?P<op>==|!=)|(?P<word>not[ \t]*in|in|contains|starts[ \t]*with|ends[ \t]*with))"
)


def parse(text: str) -> Expression:
    """Read an expression; raises `UsageError` that shows where it could not go on."""
    if not isinstance(text, str):
        raise UsageError(f"a selector expression is text, not {text!r}")
    parser = _Parser(text, _tokens(text))
    found = parser.either(0)
    if parser.peek().kind != "end":
        raise parser.error("the expression should end here")
    return found


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or len(found) > MAX_TOKENS:
            raise _error(text, place, "cannot read this")
        kind = match.lastgroup or ""
        if kind in ("double", "single"):
            found.append(Token("string", match[kind], place))
        elif kind == "op":
            found.append(Token(match[kind], match[kind], place))
        elif kind != "space":
            found.append(Token(kind, match[kind], place))
        place = match.end()
        if kind == "word":
            place = _operator(text, place, found)
    return [*found, Token("end", "", len(text))]


def _operator(text: str, place: int, found: list[Token]) -> int:
    """Read what follows a label: here ``in`` and ``contains`` are operators and no labels."""
    match = _AFTER_LABEL.match(text, place)
    if match is None:
        raise _error(text, place, "after a label comes ==, !=, in, not in, contains, ...")
    words = match["op"] or " ".join(match["word"].split())
    spaced = {"notin": "not in", "startswith": "starts with", "endswith": "ends with"}
    found.append(Token("compare", spaced.get(words, words), place))
    return match.end()


def _error(text: str, place: int, why: str) -> UsageError:
    shown = text[max(0, place - 30) : place] + " >>> " + text[place : place + 30]
    return UsageError(f"selector expression: {why}, at character {place + 1}: {shown.strip()}")


@dataclass
class _Parser:
    text: str
    tokens: list[Token]
    position: int = 0

    def peek(self) -> Token:
        return self.tokens[self.position]

    def take(self, *kinds: str) -> Token:
        token = self.peek()
        if token.kind not in kinds:
            raise self.error(f"expected {' or '.join(kinds)}")
        self.position += 1
        return token

    def error(self, why: str) -> UsageError:
        return _error(self.text, self.peek().place, why)

    def either(self, depth: int) -> Expression:
        parts = [self.both(depth)]
        while self.peek().kind == "||":
            self.take("||")
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def both(self, depth: int) -> Expression:
        parts = [self.single(depth)]
        while self.peek().kind == "&&":
            self.take("&&")
            parts.append(self.single(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def single(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels")
        token = self.take("!", "(", "call", "has", "word")
        match token.kind:
            case "!":
                return self.opposite(depth)
            case "(":
                inner = self.either(depth + 1)
                self.take(")")
                return inner
            case "call":
                return Constant(token.text == "all")
            case "has":
                return Requirement(token.text, "Exists")
            case _:
                return self.comparison(token.text)

    def opposite(self, depth: int) -> Expression:
        start = self.peek().place
        inner = self.single(depth + 1)
        if isinstance(inner, Requirement) and inner.operator == "Exists":
            return Requirement(inner.key, "DoesNotExist")
        return Not(inner, self.text[start : self.peek().place].strip())

    def comparison(self, key: str) -> Expression:
        how = self.take("compare").text
        if how in ("in", "not in"):
            return Requirement(key, "In" if how == "in" else "NotIn", self.values())
        value = self.take("string").text
        if how in ("==", "!="):
            return Requirement(key, "In" if how == "==" else "NotIn", (value,))
        return Pattern(key, how, value)

    def values(self) -> tuple[str, ...]:
        self.take("{")
        found = []
        while self.peek().kind == "string":
            found.append(self.take("string").text)
            if self.peek().kind != ",":
                break
            self.take(",")
        self.take("}")
        return tuple(found)
