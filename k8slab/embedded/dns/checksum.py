"""The checksum by which CoreDNS names a Corefile in its log.

    [INFO] plugin/reload: Running configuration SHA512 = 591cf328...

It is that of the server blocks as Go writes them in JSON (CoreDNS 1.9 and later, plugin/reload):
words and the numbers of their lines, by directive. So what comments and spaces change within a
line does not count, and the text of a Corefile tells what a CoreDNS that took it has logged.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from k8slab.embedded.dns.corefile import CorefileError, Line, Word, words

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""What Go's encoding/json escapes besides what JSON wants."""


def checksum(text: str, *, file: str = "/etc/coredns/Corefile") -> str:
    """Return the SHA-512 that CoreDNS logs for a Corefile; empty where its text does not tell.

    Raises `CorefileError` for braces that do not match.
    """
    found = list(words(text))
    if any(map(_stands_for_more, found)):
        return ""
    blocks = list(_blocks(found, file))
    plain = json.dumps(blocks or None, separators=(",", ":"), ensure_ascii=False)
    for char, escaped in _ESCAPES.items():
        plain = plain.replace(char, escaped)
    return hashlib.sha512(plain.encode()).hexdigest()


def _stands_for_more(word: Word) -> bool:
    """Say whether a word may stand for another file or snippet, or for the environment."""
    return word.text == "import" or "{$" in word.text or "{%" in word.text


def _blocks(found: list[Word], file: str) -> Iterator[dict[str, Any]]:
    at = 0
    while at < len(found):
        opened = next((n for n in range(at, len(found)) if found[n].text == "{"), None)
        if opened is None or opened == at:
            raise _error(found[at], file, "a server block has zones, and braces around the rest")
        keys = [word.text.removesuffix(",") for word in found[at:opened]]
        tokens: dict[str, list[Word]] = {}
        at = opened + 1
        while at < len(found) and found[at].text != "}":
            end = _end_of_directive(found, at, file)
            tokens.setdefault(found[at].text, []).extend(found[at:end])
            at = end
        if at == len(found):
            raise _error(found[-1], file, "Unexpected EOF, expecting '}'")
        at += 1
        told = {
            name: [{"File": "", "Line": word.number, "Text": word.text} for word in tokens[name]]
            for name in sorted(tokens)
        }
        yield {"Keys": keys, "Tokens": told}


def _end_of_directive(found: list[Word], at: int, file: str) -> int:
    """Return where the directive that begins at `at` ends: with its line, or with its braces."""
    depth = 0
    for number in range(at + 1, len(found)):
        word, before = found[number], found[number - 1]
        if word.text == "{":
            depth += 1
        elif not depth and word.number > before.number + before.text.count("\n"):
            return number
        elif word.text == "}":
            if not depth:
                raise _error(word, file, "Unexpected '}' because no matching opening brace")
            depth -= 1
    raise _error(found[-1], file, "Unexpected EOF, expecting '}'")


def _error(word: Word, file: str, message: str) -> CorefileError:
    return Line((word.text,), file, word.number).error(message)
