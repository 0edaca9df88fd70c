"""Command-line options of the apps, in the styles of the images they stand in for.

``--port 8080``, ``--port=8080``, ``-text=hello`` and repeated options are all understood.
argparse is not used: it imports more modules when it prints help, and an app cannot import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def parse(
    argv: list[str], known: Mapping[str, bool], *, program: str
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the values of each option, in order, and what is no option.

    `known` says for each option's name whether it takes a value. A flag's value is ``"true"``.
    Raises `UsageError` that names the options there are.
    """
    values: dict[str, list[str]] = {}
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name not in known:
            options = ", ".join(f"--{each}" for each in known)
            raise UsageError(f"{program}: unknown option {word}", hint=f"It knows {options}.")
        if known[name] and not equals:
            following = next(words, None)
            if following is None:
                raise UsageError(f"{program}: option {word} needs a value")
            value = following
        values.setdefault(name, []).append(value if known[name] or equals else "true")
    return values, rest


def port_number(text: str, *, program: str, option: str) -> int:
    """Read a port, 1 to 65535 (``:8080`` and ``0.0.0.0:8080`` are understood)."""
    digits = text.rpartition(":")[2]
    if not digits.isdecimal() or not 0 < int(digits) < 65536:
        raise UsageError(f"{program}: {option} {text}: a port is a number from 1 to 65535")
    return int(digits)
