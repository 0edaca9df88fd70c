"""Which lab practises which topic, claim and fault: what is promised beside what is kept.

What is promised stands in ``book/course/*.yaml``, each entry with the number of the lab that
keeps it. What is kept stands in the labs: exercises and predictions name topics and claims,
and faults are those that `k8slab challenge` can make. A lab that is not written yet keeps
nothing, and that is said; a lab that is there and does not keep what is promised is a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bookmaking import chapters
from k8slab.course.lab import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from k8slab.course import Lab

FILES = {"topic": "topics.yaml", "claim": "claims.yaml", "fault": "faults.yaml"}
FAULTS_LAB = "07"
"""Whose challenges the faults are."""
NOT_THERE = frozenset({"dual-stack"})
"""What a cluster lacks that somebody started without any option: who needs it practises nothing."""

EVIDENCE = {
    "kernel": "measured: packets and the kernel",
    "envoy": "measured: the real Envoy",
    "standin": "shown on k8slab's stand-in of the component",
    "case": "told, from the source",
}
WHERE = {"both": "embedded, kind", "embedded": "embedded", "case": "told"}

_HEAD = """\
# Coverage

What the course promises, and where it is practised: each topic, each claim that circulates, and
each fault, with the exercises (E), predictions (P) and quizzes (Q) that are about it. Made from the
metadata of the labs when the book is built.

A prediction names the claims that it puts to the test in its question, as "(claim C01)".

`core` is the notebook that everybody works through, `stretch` the second one of the same lab. A
`case` cannot run on a local cluster: it is told, and says so.
"""


@dataclass(frozen=True, slots=True)
class Promise:
    """One entry of the course's lists."""

    kind: str
    id: str
    lab: str
    """The number of the lab that keeps it."""
    notes: str
    what: str
    case: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Something in a lab that is about a topic or claim; `text` is what a page shows of it."""

    text: str
    anchor: str
    practises: bool = True
    """A question about what is known already practises nothing, nor what the cluster cannot do."""
    foretold: bool = False
    """A prediction: what puts a claim to the test. An exercise alone tests what learners can do."""


Kept = dict[str, dict[str, list[Place]]]
"""Places by the number of a lab and by id."""


def promises(course: Path) -> list[Promise]:
    """Read what is promised, in the order of the files; a list that is missing promises nothing."""
    found: list[Promise] = []
    for kind, name in FILES.items():
        if (course / name).exists():
            data = read_yaml(course / name)
            entries = data["topics"] if kind == "topic" else data
            found += [_promise(kind, entry) for entry in entries]
    return found


def _promise(kind: str, entry: Mapping[str, Any]) -> Promise:
    if kind == "topic":
        case = "case" in entry
        notes = "case" if case else entry.get("level", "")
        what = entry.get("case") or entry.get("do", "")
        return Promise(kind, entry["id"], entry["lab"], notes, what, case)
    if kind == "claim":
        case = entry["evidence"] == "case"
        notes = EVIDENCE[entry["evidence"]]
        return Promise(kind, entry["id"], entry["lab"], notes, f'"{entry["claim"]}"', case)
    what = f"{entry['fault']}: {entry['symptom']}"
    told = entry.get("told", "")
    notes = f"told: {told}" if told else WHERE[entry["where"]]
    lab = entry.get("follows") or FAULTS_LAB  # of what it needs, or of all faults
    return Promise(kind, entry["id"], lab, notes, what, bool(told) or entry["where"] == "case")


def kept(labs: Sequence[Lab], faults: Sequence[str] = ()) -> Kept:
    """Return what the labs practise; `faults` are those that a challenge can make."""
    found: Kept = {}
    for lab in labs:
        number = lab.name.partition("-")[0]
        own = found.setdefault(number, {})
        for names, place in _places(lab):
            for name in names:
                own.setdefault(name, []).append(place)
        if number == FAULTS_LAB:
            for fault in faults:
                own[fault] = [Place(f"`k8slab challenge --fault {fault}`", "")]
    return found


def _places(lab: Lab) -> Iterator[tuple[tuple[str, ...], Place]]:
    for exercise in lab.exercises.values():
        names = (*exercise.topics, *exercise.claims)
        place = chapters.anchor(lab.name, "exercise", exercise.id)
        wanted = sorted(NOT_THERE.intersection(exercise.wishes.needs))
        needs = f" (needs a {' and '.join(wanted)} cluster)" if wanted else ""
        yield names, Place(f"E {exercise.title}{needs}", place, practises=not wanted)
    for found in lab.predictions.values():
        names = (*found.topics, *found.claims)
        if found.quiz:
            place = chapters.anchor(lab.name, "quiz", found.quiz)
            yield names, Place(f"Q {found.quiz}", place, practises=False)
        else:
            place = chapters.anchor(lab.name, "prediction", found.id)
            yield names, Place(f"P {found.id}", place, foretold=True)


def gaps(promised: Sequence[Promise], found: Kept) -> list[Promise]:
    """Return what a lab that is there was to practise, and does not."""
    return [one for one in promised if one.lab in found and not _practised(one, found)]


def _practised(one: Promise, found: Kept) -> bool:
    if one.kind == "fault" and one.case:
        return True  # a challenge makes what it can; a fault that is told only is told here
    places = found[one.lab].get(one.id, ())
    return any(place.foretold if one.kind == "claim" else place.practises for place in places)


def anchor(number: str) -> str:
    """Return the name by which pages refer to what a lab covers."""
    return f"coverage-{number}"


def page(titles: Mapping[str, str], promised: Sequence[Promise], found: Kept) -> str:
    """Return the page; `titles` are those of the course's labs by number."""
    parts = [_HEAD]
    for number, title in titles.items():
        parts.append(f"({anchor(number)})=\n## {title}\n")
        if number not in found:
            parts.append("This lab is not written yet; what it is going to keep:\n")
        for kind in FILES:
            own = [one for one in promised if (one.lab, one.kind) == (number, kind)]
            if own:
                parts.append(_table(kind, own, found))
    missing = [one.id for one in promised if one.lab not in found]
    parts.append(f"## Not written yet\n\n{len(missing)} of {len(promised)} entries belong to labs")
    parts[-1] += f" that are not written yet: {', '.join(missing)}.\n" if missing else ".\n"
    return "\n".join(parts)


def _table(kind: str, own: Sequence[Promise], found: Kept) -> str:
    rows = [f"| {kind} | what | how | where |", "| --- | --- | --- | --- |"]
    for one in own:
        cells = (one.id, _cell(one.what), one.notes, _where(one, found))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _where(one: Promise, found: Kept) -> str:
    numbers = [one.lab, *(number for number in found if number != one.lab)]
    places = [place for number in numbers for place in found.get(number, {}).get(one.id, ())]
    links = [_link(place) for place in dict.fromkeys(places)]
    if one.lab not in found:
        return ", ".join(["not written yet", *links])
    if not links and one.kind == "fault" and one.case:
        return "told here"
    return ", ".join(links) or "**missing**"


def _link(place: Place) -> str:
    return f"[{_cell(place.text)}](#{place.anchor})" if place.anchor else place.text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("[", "\\[").replace("<", "\\<").replace("*", "\\*")
