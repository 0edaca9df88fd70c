"""One line of the battery."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One line, what it must say on both outputs (`re`, multi-line), and how it must end.

    `old` is what Debian 12's kubectl 1.20 says where its words differ, and `not_old` why it
    cannot do this with a real server of our version: then it is not asked.
    """

    line: str
    says: str
    code: int = 0
    old: str = ""
    not_old: str = ""


def since(version: str) -> str:
    """Return the reason of what kubectl 1.20 does not know yet."""
    return f"since kubectl {version}"


def removed(api: str, version: str) -> str:
    """Return the reason of what kubectl 1.20 asks of an API that is gone."""
    return f"asks for {api}, gone since {version}"
