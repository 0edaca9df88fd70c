"""A Service, the rules of one node for it, and its endpoints: picture, table and text.

An endpoint to which connections lead has a full frame and an arrow; another one is dashed, and
its state says why. What stands at an arrow is the rule that rewrites the packet.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from k8slab.graphs.dot import ROOM, quote, render
from k8slab.graphs.svg import Picture, html_table

if TYPE_CHECKING:
    from k8slab.probes.services import Endpoint, Front, Rule

MOST = 12
"""Endpoints that are drawn; the table has all of them."""
_WIDTH = 60

_CHOICE = re.compile(r"(\d+) : goto (\S+?)(?=,|\s)")
_LONG = re.compile(r" vmap \{.*")

HEAD = ["endpoint", "pod", "node", "state"]


def summary(front: Front) -> str:
    """Say in one sentence where the Service is reached and how many endpoints are used."""
    used = sum(endpoint.used for endpoint in front.endpoints)
    by = f" by {front.node}" if front.node else ""
    return (
        f"Service {front.key} ({front.kind}): {', '.join(front.addresses) or 'no address'}; "
        f"{used} of {_count(len(front.endpoints), 'endpoint')} {_used(front)}{by}"
    )


def _used(front: Front) -> str:
    """Return the word for an endpoint to which connections lead: only a node's rules know it."""
    return "used" if front.node else "can be used"


def rows(front: Front) -> list[list[str]]:
    """Return the cells of the table of endpoints."""
    return [
        [one.address, one.name or "-", one.node or "-", one.state, _how(one)]
        for one in front.endpoints
    ]


def _how(endpoint: Endpoint) -> str:
    if not endpoint.used:
        return "no"
    return f"from {endpoint.only} only" if endpoint.only else "yes"


def table(front: Front) -> str:
    """Return endpoints and rules as HTML tables."""
    tables = html_table([*HEAD, _used(front)], rows(front), summary(front))
    if front.rules:
        told = [[rule.place, rule.text] for rule in front.rules]
        tables += html_table(["where", "rule"], told, f"Its rules on {front.node}")
    return tables


def text(front: Front) -> str:
    """Return the same as lines of text."""
    lines = [summary(front)]
    for address, name, node, state, used in rows(front):
        lines.append(f"  {address}  pod {name}  node {node}  {state}  {_used(front)}: {used}")
    if front.rules:
        lines.append(f"rules on {front.node}:")
    before = ""
    for rule in front.rules:
        lines += [f"  {rule.place}"] if rule.place != before else []
        lines.append(f"    {rule.text}")
        before = rule.place
    return "\n".join([*lines, *([front.note] if front.note else [])])


def alt(front: Front) -> str:
    """Say in words what the picture shows."""
    told = [
        f"{one.name or 'an address'} {one.address}, {one.state}{_exception(one)}"
        for one in front.endpoints[:MOST]
    ]
    rules = f" {_count(len(front.rules), 'rule')} on {front.node}." if front.rules else ""
    return f"{summary(front)}. {'; '.join(told) or 'Nobody is behind it'}.{rules}"


def _exception(endpoint: Endpoint) -> str:
    if not endpoint.used:
        return ", not used"
    return f", used {_how(endpoint)}" if endpoint.only else ""


def dot(front: Front) -> str:
    """Return the picture as DOT text."""
    head = "\n".join([f"Service {front.key}", front.kind, *front.addresses])
    lines = [
        "digraph service { rankdir=LR;",
        '  edge [color="#4b5563", fontname="Helvetica", fontsize=9];',
        '  node [fontname="Helvetica", fontsize=10, shape=box];',
        f'  front [shape=ellipse, style=filled, fillcolor="#eef2ff", label={quote(head)}];',
    ]
    begin = "front"
    if front.rules:
        lines.append(f"  rules [shape=note, {ROOM}, label={_rules(front)}]; front -> rules;")
        begin = "rules"
    for number, one in enumerate(front.endpoints[:MOST]):
        lines.append(f"  e{number} [{_style(one)}, label={quote(_label(one))}];")
        if one.used:
            told = [f"from {one.only} only"] if one.only else []
            label = "\n".join([*told, _rewriting(front, one)])
            lines.append(f"  {begin} -> e{number} [label={quote(label)}];")
        else:
            lines.append(
                f'  {begin} -> e{number} [style=dotted, arrowhead=none, label="not used"];'
            )
    if not front.endpoints:
        lines.append(f'  nobody [style=dashed, label="no endpoint"]; {begin} -> nobody;')
    return "\n".join([*lines, "}"])


def picture(front: Front) -> Picture:
    """Draw it with graphviz, within the budget."""
    drawn = min(len(front.endpoints), MOST)
    found = render(dot(front), alt(front), edges=drawn + 1)
    note = front.note
    if len(front.endpoints) > MOST:
        note = f"{MOST} of {len(front.endpoints)} endpoints are drawn. {note}".strip()
    return Picture(found.svg, found.alt, found.note or note)


def _rules(front: Front) -> str:
    """Return what a packet to the Service meets, without the endpoints' own chains."""
    lines = [f"rules on {front.node}"]
    before = ""
    for rule in front.rules:
        if _is_of_endpoint(rule):
            continue
        lines += [rule.place] if rule.place != before else []
        lines += textwrap.wrap(
            f"  {_LONG.sub(' ...', rule.text)}", _WIDTH, subsequent_indent="    "
        )
        before = rule.place
    return quote("\n".join([*lines, ""])).replace("\\n", "\\l")  # lines begin at the left


def _is_of_endpoint(rule: Rule) -> bool:
    return rule.place.startswith("chain endpoint-")


def _rewriting(front: Front, endpoint: Endpoint) -> str:
    """Return the number with which an endpoint is drawn, and the rule that leads to it."""
    dnat = next(
        (r for r in front.rules if _is_of_endpoint(r) and r.text.endswith(f" {endpoint.address}")),
        None,
    )
    if dnat is None:
        return ""
    chain = dnat.place.removeprefix("chain ")
    drawn = [n for rule in front.rules for n, to in _CHOICE.findall(rule.text) if to == chain]
    rule = dnat.text[dnat.text.index("dnat") :] if "dnat" in dnat.text else dnat.text
    return f"{drawn[0]}: {rule}" if drawn else rule


def _label(endpoint: Endpoint) -> str:
    parts = [endpoint.name, endpoint.address, endpoint.state]
    parts += [f"on {endpoint.node}"] if endpoint.node else ["outside the cluster's nodes"]
    return "\n".join(part for part in parts if part)


def _style(endpoint: Endpoint) -> str:
    fill = "#d7f0dd" if endpoint.used else "#f3f4f6"
    return f'style="filled,{"rounded" if endpoint.used else "dashed"}", fillcolor="{fill}"'


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
