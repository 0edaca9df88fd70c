"""The `rewrite` plugin: names changed on their way in, and back on their way out.

    rewrite name web.example.com web.shop.svc.cluster.local
    rewrite name suffix .example.com .shop.svc.cluster.local answer auto

The question in the response is always the one that was asked. The names of the answers are
changed back for ``exact`` rules, and for others with ``answer auto``: without it a strict
client drops an answer for a name that it did not ask for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from k8slab.embedded.dns.chain import then
from k8slab.embedded.wire import CNAME, NS, PTR, TYPES, Message, Record, canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.embedded.dns.chain import Handler, Plan, Query, Result, Site, Wrap
    from k8slab.embedded.dns.corefile import Directive

_MATCHES = ("exact", "prefix", "suffix", "substring", "regex")
_GROUP = re.compile(r"\{(\d+)\}")


@dataclass(frozen=True, slots=True)
class _Rule:
    """Change a question, or return ``None`` when it does not match; `auto` changes answers back."""

    change: Callable[[Message], Message | None]
    stop: bool
    auto: bool


def rewrite(directive: Directive, site: Site, _plan: Plan) -> Wrap:
    """Ask the rest of the chain another question than the client did."""
    # Every `rewrite` line of a block is one rule; they are tried in the order of the file.
    rules = [_rule(each) for each in site.block.directives if each.name == "rewrite"]
    del directive

    def wrap(following: Handler) -> Handler:
        def handle(query: Query) -> Result:
            message, auto = query.message, True
            for rule in rules:
                changed = rule.change(message)
                if changed is not None:
                    message, auto = changed, auto and rule.auto
                    if rule.stop:
                        break
            if message is query.message:
                return following(query)
            asked = query.message
            result = following(query.asking(replace(message, question=b"")))
            return then(result, lambda reply: _back(reply, asked, message.name, auto=auto))

        return handle

    return wrap


def _back(reply: Message, asked: Message, inner: str, *, auto: bool) -> Message:
    reply = replace(reply, name=asked.name, type=asked.type, question=asked.question)
    if not auto or inner == asked.name:
        return reply

    def back(records: tuple[Record, ...]) -> tuple[Record, ...]:
        return tuple(_renamed(record, inner, asked.name) for record in records)

    return replace(reply, answers=back(reply.answers), additional=back(reply.additional))


def _renamed(record: Record, old: str, new: str) -> Record:
    data = new if record.type in (CNAME, NS, PTR) and record.data == old else record.data
    return record._replace(name=new if record.name == old else record.name, data=data)


def _rule(directive: Directive) -> _Rule:
    words = list(directive.arguments)
    stop = True
    if words and words[0] in ("stop", "continue"):
        stop = words.pop(0) == "stop"
    what = words.pop(0) if words else ""
    if what == "type" and len(words) == 2:
        return _Rule(_type_rule(directive, words), stop, auto=True)
    if what != "name":
        raise directive.error(f"invalid rule type {what!r}: this server has name and type")
    return _name_rule(directive, words, stop=stop)


def _name_rule(directive: Directive, words: list[str], *, stop: bool) -> _Rule:
    match = words.pop(0) if words and words[0] in _MATCHES else "exact"
    if len(words) not in (2, 4) or words[2:] not in ([], ["answer", "auto"]):
        raise directive.error("a name rule is: name [MATCH] FROM TO [answer auto]")
    auto = match == "exact" or words[2:] == ["answer", "auto"]
    try:
        change = _matcher(match, words[0], words[1])
    except re.error as error:
        raise directive.error(f"invalid regex pattern {words[0]}: {error}") from error

    def renamed(message: Message) -> Message | None:
        name = change(message.name)
        return None if name is None else replace(message, name=name)

    return _Rule(renamed, stop, auto)


def _matcher(match: str, old: str, new: str) -> Callable[[str], str | None]:
    """Return the function from a name to its new name, or to ``None``."""
    if match == "exact":
        first, second = canonical(old), canonical(new)
        return lambda name: second if name == first else None
    if match == "regex":
        pattern = re.compile(old)

        def by_regex(name: str) -> str | None:
            found = pattern.search(name.removesuffix("."))
            if found is None:
                return None
            groups = (found[0], *found.groups(""))
            return canonical(_GROUP.sub(lambda one: _group(one, groups), new))

        return by_regex
    old, new = old.lower(), new.lower()
    if match == "suffix":
        old, new = canonical(old), canonical(new)
        return lambda name: name.removesuffix(old) + new if name.endswith(old) else None
    if match == "prefix":
        return lambda name: new + name.removeprefix(old) if name.startswith(old) else None
    return lambda name: name.replace(old, new) if old in name else None


def _group(number: re.Match[str], groups: Sequence[str]) -> str:
    """Return the group of a ``{1}``; one that the pattern has not stays as it is written."""
    at = int(number[1])
    return groups[at] if at < len(groups) else number[0]


def _type_rule(directive: Directive, words: list[str]) -> Callable[[Message], Message | None]:
    for word in words:
        if word.upper() not in TYPES:
            raise directive.error(f"invalid type {word!r}")
    old, new = (TYPES[word.upper()] for word in words)
    return lambda message: replace(message, type=new) if message.type == old else None
