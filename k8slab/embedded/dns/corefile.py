"""The Corefile: server blocks, each with zones, a port and directives.

    .:53 {                      zones and port of the block
        forward . 172.18.0.1 {  a directive, its arguments
            max_concurrent 1000     and its properties
        }
    }

The syntax and the wording of its errors are those of CoreDNS (the Caddyfile of Caddy v1),
because learners meet them in ``kubectl logs`` on any cluster.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from k8slab.embedded.config import CLUSTER_DOMAIN
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = f""".:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success {CLUSTER_DOMAIN}
       disable denial {CLUSTER_DOMAIN}
    }}
    loop
    reload
    loadbalance
}}
"""
"""The Corefile of a new cluster: the one that kubeadm gives CoreDNS."""

DEFAULT_PORT = 53


class CorefileError(UsageError):
    """A Corefile that cannot be served; the message is the one that CoreDNS prints."""


@dataclass(frozen=True, slots=True)
class Line:
    """The words of one line, and where it is."""

    words: tuple[str, ...]
    file: str
    number: int

    def error(self, message: str, *, plugin: str = "") -> CorefileError:
        """Return the error that names this line."""
        prefix = f"plugin/{plugin}: " if plugin else ""
        return CorefileError(f"{prefix}{self.file}:{self.number} - Error during parsing: {message}")


@dataclass(frozen=True, slots=True)
class Directive:
    """One plugin in a server block: its arguments and, in braces, its properties."""

    name: str
    line: Line
    properties: tuple[Line, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the words after the plugin's name."""
        return self.line.words[1:]

    def error(self, message: str, line: Line | None = None) -> CorefileError:
        """Return an error of this plugin at `line`, or at its first."""
        return (line or self.line).error(message, plugin=self.name)


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """Zones (with the final dot) that are served on one port by a chain of plugins."""

    zones: tuple[str, ...]
    port: int
    directives: tuple[Directive, ...]

    def find(self, name: str) -> Directive | None:
        """Return the first directive of this name."""
        return next((each for each in self.directives if each.name == name), None)


def parse(
    text: str, *, file: str = "/etc/coredns/Corefile", default_port: int = DEFAULT_PORT
) -> list[ServerBlock]:
    """Return the server blocks of a Corefile; raises `CorefileError`.

    A block whose zones name several ports becomes one block for each port.
    """
    lines = _lines(text, file)
    blocks: list[ServerBlock] = []
    taken: dict[tuple[str, int], str] = {}
    at = 0
    while at < len(lines):
        header = lines[at]
        if header.words[-1] != "{":
            raise header.error(f"Unknown directive '{header.words[0]}'")
        directives, at = _directives(lines, at + 1)
        for port, zones in _keys(header, default_port).items():
            for zone in zones:
                if (zone, port) in taken:
                    where = f"{zone}:{port}"
                    raise header.error(f"cannot serve dns://{where} - it is already defined")
                taken[zone, port] = file
            blocks.append(ServerBlock(tuple(zones), port, directives))
    return blocks


def _keys(header: Line, default_port: int) -> dict[int, list[str]]:
    keys: dict[int, list[str]] = {}
    for word in " ".join(header.words[:-1]).replace(",", " ").split():
        zone, _, port = word.removeprefix("dns://").rpartition(":")
        if (not zone and not port.isdecimal()) or not port.isdecimal():
            zone, port = word.removeprefix("dns://"), str(default_port)
        elif not 0 < int(port) < 65536:
            raise header.error(f"invalid port in {word}")
        keys.setdefault(int(port), []).extend(zones_of(zone or "."))
    if not keys:
        raise header.error("a server block needs a zone before its '{'")
    return keys


def zones_of(text: str) -> list[str]:
    """Return the zone's name in lower case with its dot; ``10.0.0.0/8`` gives its reverse zone."""
    if "/" in text:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return [text.lower().rstrip(".") + "."]
        return [_reverse_zone(network)]
    return [text.lower().rstrip(".") + "."]


def _reverse_zone(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    step, digits = (8, 4) if network.version == 4 else (4, 32)
    parts = network.network_address.reverse_pointer.split(".")
    return ".".join(parts[digits - network.prefixlen // step :]) + "."


def _directives(lines: list[Line], at: int) -> tuple[tuple[Directive, ...], int]:
    """Read until the block's closing brace; return its directives and the next line's index."""
    found: list[Directive] = []
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.words == ("}",):
            return tuple(found), at
        if "{" in line.words[:-1] or "}" in line.words:
            raise line.error("Unexpected '{' or '}': it ends a line, or has one of its own")
        if line.words[-1] != "{":
            found.append(Directive(line.words[0], line))
            continue
        opened = Line(line.words[:-1], line.file, line.number)
        if not opened.words:
            raise line.error("Unexpected '{' because no matching closing brace")
        properties = []
        while at < len(lines) and lines[at].words != ("}",):
            if "{" in lines[at].words or "}" in lines[at].words:
                raise lines[at].error("Unexpected '{' or '}' inside the properties of a plugin")
            properties.append(lines[at])
            at += 1
        if at == len(lines):
            raise _unexpected_end(lines)
        at += 1
        found.append(Directive(opened.words[0], opened, tuple(properties)))
    raise _unexpected_end(lines)


def _unexpected_end(lines: list[Line]) -> CorefileError:
    return lines[-1].error("Unexpected EOF, expecting '}'")


def _lines(text: str, file: str) -> list[Line]:
    """Put the words of each line together."""
    return [
        Line(tuple(word.text for word in found), file, number)
        for number, found in groupby(words(text), key=lambda word: word.number)
    ]


class Word(NamedTuple):
    """One word of a Corefile, and the number of the line on which it begins."""

    number: int
    text: str


def words(text: str) -> Iterator[Word]:
    """Yield the words, which spaces part: ``#`` begins a comment, quotes hold words together.

    The rules are those of Caddy's lexer: inside quotes a backslash escapes a quote, and a brace
    at the end of a word is lost.
    """
    number = begun = 1
    found, quoted, escaped, comment = "", False, False, False
    for char in text.removeprefix("\ufeff"):
        if quoted:
            if escaped:
                found, escaped = found + (char if char == '"' else "\\" + char), False
            elif char == "\\":
                escaped = True
            elif char == '"':
                yield Word(begun, found)
                found, quoted = "", False
            else:
                found += char
        elif char.isspace():
            if found and char != "\r":
                yield Word(begun, found[:-1] if found[1:].endswith("{") else found)
                found = ""
            comment = comment and char != "\n"
        elif comment or char == "#":
            comment = True
        elif found:
            found += char
        else:
            begun, quoted = number, char == '"'
            found = "" if quoted else char
        number += char == "\n"
    if found:
        yield Word(begun, found)
