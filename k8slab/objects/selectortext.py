"""Read and write a label selector as it stands in a query or after ``kubectl -l``.

The text is cut into tokens once and read once, so that the longest takes no longer than its
length. Grammar and messages are those of apimachinery's ``labels.Parse``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.objects.meta import Object

_TOKEN = re.compile(r"[ \t\r\n]*(?:(?P<word>[^=!(),<> \t\r\n]+)|(?P<sign>==|!=|[=!(),<>]))")
_OPERATORS = {"=": "In", "==": "In", "!=": "NotIn", "in": "In", "notin": "NotIn"}
END = ""

Term = tuple[str, str, tuple[str, ...]]
"""Key, operator and values of one requirement."""


def parse(text: str) -> list[Term]:
    """Return the requirements of a selector; `UsageError` says what was found and expected."""
    return list(_Parser(text).terms())


def written(selector: Object) -> str:
    """Return the text of a LabelSelector object; empty for one that selects everything.

    Source: ``metav1.FormatLabelSelector``; labels are sorted, expressions keep their order.
    """
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        key, values = expression.get("key", ""), ",".join(sorted(expression.get("values") or ()))
        match expression.get("operator"):
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(key)
            case _:
                parts.append(f"!{key}")
    return ",".join(parts)


class _Parser:
    """Reads tokens one after the other; a token is its text and whether it is a word."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = next(self._tokens)

    def _take(self) -> tuple[str, bool]:
        taken = self._next
        self._next = next(self._tokens, (END, False))
        return taken

    def terms(self) -> Iterator[Term]:
        mark, is_word = self._next
        if mark == END:
            return
        if not is_word and mark != "!":
            raise UsageError(f"found '{mark}', expected: !, identifier, or 'end of string'")
        while True:
            yield self._term()
            mark, _ = self._take()
            if mark == END:
                return
            if mark != ",":
                raise UsageError(f"found '{mark}', expected: ',' or 'end of string'")
            mark, is_word = self._next
            if not is_word and mark != "!":
                raise UsageError(f"found '{mark}', expected: identifier after ','")

    def _term(self) -> Term:
        key, is_word = self._take()
        absent = key == "!"
        if absent:
            key, is_word = self._take()
        if not is_word:
            raise _unread(f"found '{key}', expected: identifier")
        if absent:
            return key, "DoesNotExist", ()
        if self._next[0] in (END, ","):
            return key, "Exists", ()
        sign, _ = self._take()
        if sign not in _OPERATORS:
            raise _unread(f"found '{sign}', expected: in, notin, =, ==, !=")
        values = self._values() if sign in ("in", "notin") else (self._value(),)
        return key, _OPERATORS[sign], values

    def _value(self) -> str:
        if self._next[0] in (END, ","):
            return ""
        mark, is_word = self._take()
        if not is_word:
            raise _unread(f"found '{mark}', expected: identifier")
        return mark

    def _values(self) -> tuple[str, ...]:
        """Read ``(a,b)``; a comma without a word beside it stands for an empty value."""
        mark, _ = self._take()
        if mark != "(":
            raise _unread(f"found '{mark}' expected: '('")
        found: dict[str, None] = {}
        while True:
            word = ""
            if self._next[1]:
                word, _ = self._take()
            mark, _ = self._take()
            if mark not in (",", ")"):
                raise _unread(f"found '{mark}', expected: ',' or ')'")
            if mark == ")" and not word and not found:
                raise _unread("for 'in', 'notin' operators, values set can't be empty")
            found[word] = None
            if mark == ")":
                return tuple(found)


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    place, end = 0, len(text.rstrip(" \t\r\n"))
    while place < end:
        match = _TOKEN.match(text, place)
        assert match is not None  # every character begins a word or is a sign
        yield match["word"] or match["sign"], match["word"] is not None
        place = match.end()
    yield END, False


def _unread(why: str) -> UsageError:
    return UsageError(f"unable to parse requirement: {why}")
