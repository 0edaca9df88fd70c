"""One look-up of a name in a pod, query by query: what was asked, of whom, and the answer.

The resolver is the pod's own, with its own ``/etc/resolv.conf``; the queries are the packets
that it really sent, and the answers those that came back (`dnswatch`, which runs in the pod).
Nothing is computed from rules. The pod needs python3, and the capability NET_RAW that
containers have unless somebody took it away.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.embedded import wire
from k8slab.errors import ProbeError
from k8slab.probes.targets import run_in_pod

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.policy import Party

SECONDS = 30.0
"""How long a look-up may take: resolv.conf(5) allows 5 s for each server, twice."""

PORT = 53
NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Query:
    """One query, and what came back."""

    name: str
    """As it was asked, with the final dot."""
    type: str
    """``A``, ``AAAA``, ``SRV``, ..."""
    server: str
    """The address that was asked, as the pod sees it."""
    answer: str = NO_ANSWER
    """The response code, ``NOERROR`` or ``NXDOMAIN``; `NO_ANSWER` when nothing came."""
    records: tuple[str, ...] = ()
    """What the answer holds: ``A 10.96.0.20``."""
    truncated: bool = False
    """Whether the answer did not fit: then it is asked for again by TCP (RFC 7766)."""
    size: int = 0
    """Bytes of the answer."""

    @property
    def told(self) -> str:
        """Return the answer in words: its records, or why there are none."""
        if self.records:
            return ", ".join(self.records) + (" (truncated)" if self.truncated else "")
        if self.answer == "NOERROR":
            return f"no {self.type} record"
        return f"{self.answer} (no such name)" if self.answer == "NXDOMAIN" else self.answer


@dataclass(frozen=True, slots=True)
class Lookup:
    """What became of one look-up."""

    pod: str
    name: str
    command: str
    """What looked it up; empty for the C library's resolver."""
    code: int
    """0 when all went well."""
    said: str
    """The addresses, line by line, or what the resolver or the command said."""
    seconds: float
    search: tuple[str, ...]
    """The search list of the pod's resolv.conf."""
    options: str
    """Its options, such as ``ndots:5``."""
    queries: tuple[Query, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return what was found: what the resolver says, or the answers that a command got."""
        if not self.command:
            return tuple(self.said.splitlines()) if self.code == 0 else ()
        records = (record.partition(" ") for query in self.queries for record in query.records)
        return tuple(dict.fromkeys(data for kind, _, data in records if kind in ("A", "AAAA")))

    def steps(self) -> list[tuple[str, list[Query]]]:
        """Return what was asked for, in order: a name, and its queries to one server."""
        found: list[tuple[str, list[Query]]] = []
        for query in self.queries:
            before = found[-1][1][-1] if found else None
            if not before or (before.name, before.server) != (query.name, query.server):
                found.append((query.name, []))
            found[-1][1].append(query)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return asdict(self)


def look_up(
    cluster: Any, pod: Party, name: str, *, command: Sequence[str] = (), deadline: float = SECONDS
) -> Lookup:
    """Look a name up in a pod and return every query that it cost.

    With `command` that command looks it up; its queries for other names are left out. Raises
    `ProbeError` when the pod cannot tell: it is not there, has no python3, lost packets.
    """
    program = Path(__file__).with_name("dnswatch.py").read_text(encoding="utf-8")
    words = ["python3", "-c", program, str(deadline), name, *command]
    script = 'cat /etc/resolv.conf; printf "\\n"; exec "$@"'
    done = run_in_pod(cluster, pod, ["sh", "-c", script, "sh", *words], deadline=deadline + 15)
    conf, brace, rest = done.stdout.rpartition('{"code"')
    try:
        seen = json.loads(brace + rest)
    except ValueError as error:
        said = (done.stderr or done.stdout).strip().rpartition("\n")[2][-300:]
        raise ProbeError(
            f"the queries of {pod} cannot be watched: {said or f'exit code {done.code}'}",
            hint="its image must have python3, and its container the capability NET_RAW",
        ) from error
    if seen["lost"]:
        raise ProbeError(
            f"{seen['lost']} packets passed {pod} unseen", hint="try again when less goes on there"
        )
    search, options = _resolv_conf(conf)
    return Lookup(
        pod=str(pod),
        name=name,
        command=" ".join(command),
        code=seen["code"],
        said=seen["said"].strip(),
        seconds=seen["seconds"],
        search=search,
        options=options,
        queries=tuple(_queries(seen["packets"], name)),
    )


def _resolv_conf(text: str) -> tuple[tuple[str, ...], str]:
    """Return search list and options of a resolv.conf(5); the last line of a kind counts."""
    lines = {words[0]: words[1:] for line in text.splitlines() if (words := line.split())}
    return tuple(lines.get("search", ())), " ".join(lines.get("options", ()))


def _queries(packets: Iterable[Sequence[Any]], name: str) -> list[Query]:
    """Pair queries with their answers, by the asker's port, id and question."""
    wanted = wire.canonical(name)
    found: list[Query] = []
    waiting: dict[tuple[int, int, str, int], int] = {}
    for leaving, source, source_port, destination, port, payload in packets:
        message = _message(payload)
        if message is None or not _concerns(message, wanted):
            continue
        question = (message.id, message.name, message.type)
        if not message.flags & wire.QR and leaving and port == PORT:
            waiting[source_port, *question] = len(found)
            found.append(Query(message.name, wire.type_name(message.type), destination))
        elif message.flags & wire.QR and not leaving and source_port == PORT:
            number = waiting.pop((port, *question), None)
            if number is not None:
                found[number] = _answered(found[number], source, message, len(payload) // 2)
    return found


def _message(payload: str) -> wire.Message | None:
    try:
        return wire.read(bytes.fromhex(payload))
    except wire.WireError:
        return None


def _concerns(message: wire.Message, wanted: str) -> bool:
    """Say whether a message is about the name, or the name with a search domain behind it."""
    return message.name == wanted or message.name.startswith(wanted)


def _answered(query: Query, server: str, reply: wire.Message, size: int) -> Query:
    code = wire.RCODES[reply.rcode] if reply.rcode < len(wire.RCODES) else str(reply.rcode)
    records = tuple(f"{wire.type_name(one.type)} {_data(one.data)}" for one in reply.answers)
    return Query(
        name=query.name,
        type=query.type,
        server=server,
        answer=code,
        records=records,
        truncated=bool(reply.flags & wire.TC),
        size=size,
    )


def _data(data: Any) -> str:
    return " ".join(map(str, data)) if isinstance(data, tuple) else str(data)
