"""A recipe: how a fault is put into a cluster, seen, diagnosed, and mended.

``recipes/F01.yaml`` and its ``scenes/`` are texts with ``<<words>>`` (see `words`); `read` fills
them for one seed and gives a `Case`, plain values that the rest of the room works with:

    level: 1                    1 one Service, 2 names and policies, 3 nodes and the kernel
    scenes: [shop]              what is set up: manifests, healthy
    needs: [world]              capabilities of the cluster, or its shape (`seeds.possible`)
    task: what a user of the shop would complain about
    broken: [...]               fields of the scene that are set up otherwise (`set`: path: value)
    inject: [...]               what is done to the running scene (`actions`)
    fix: [...]                  actions that mend it; without them: the broken objects as they were
    undo: [...]                 actions that bring nodes back when the challenge ends
    symptom: {flows, checks, fails}     what shows it; `fails`: checks that must fail
    flows, checks               what must hold when it is mended, in the words of exercises
    lost: 0                     the symptom's flow that is lost: "which hop dropped it" is asked;
                                or a flow, and what its packet must have: from_port, bytes
    may_change: [...]           what a fix may touch, RESOURCE/NAME
    causes: [{object, field}]   accepted diagnoses, the best one first
    evidence: [...]             regular expressions, one of which good evidence matches
    variants: [{...}, {...}]    the seed takes one, its keys come on top

A scene may name ``<<certificate>>``, ``<<key>>`` and ``<<authority>>``: those of a TLS server
behind the Service ``<<server>>`` (`certificates`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.challenges.certificates import certificate_words
from k8slab.challenges.paths import changed
from k8slab.course.lab import make_flow, placed
from k8slab.course.names import fill
from k8slab.errors import ExerciseError
from k8slab.grading import Want, Wishes
from k8slab.grading.checks import CHECKS
from k8slab.grading.fields import Field, Fields, text, validate
from k8slab.grading.watched import pattern_of
from k8slab.objects import manifests, meta
from k8slab.probes.journey import Packet

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from k8slab.challenges.catalogue import Entry
    from k8slab.objects.meta import Object
    from k8slab.policy import Flow

SCENES = Path(__file__).parent / "scenes"
Action = dict[str, Any]


class _Everything:
    """What a cluster has that lacks nothing."""

    def __contains__(self, _name: object) -> bool:
        return True


EVERYTHING = _Everything()

RECIPE: Fields = {
    "level": Field((int,), "how hard: 1, 2 or 3", required=True),
    "scenes": Field((list,), "names of files in scenes/", required=True),
    "needs": Field((list,), "capabilities of the cluster, or its shape"),
    "task": text("the complaint with which the challenge begins", required=True),
    "broken": Field((list,), "objects of the scenes that are set up otherwise"),
    "inject": Field((list,), "actions on the running scene"),
    "fix": Field((list,), "actions that mend it"),
    "undo": Field((list,), "actions that bring nodes back"),
    "symptom": Field((dict,), "flows, checks and failing checks that show it", required=True),
    "flows": Field((list,), "flows that must hold when it is mended"),
    "checks": Field((list,), "checks that must hold when it is mended"),
    "lost": Field((int, dict), "the symptom's flow that is lost on its way: number, or flow"),
    "may_change": Field((list,), "patterns RESOURCE/NAME that a fix may touch", required=True),
    "causes": Field((list,), "accepted diagnoses: object and field", required=True),
    "evidence": Field((list,), "regular expressions of good evidence", required=True),
    "variants": Field((list,), "alternatives, of which the seed takes one"),
}
LOST: Fields = {
    "from": text("who sends it", required=True),
    "to": text("who never gets it", required=True),
    "port": Field((int,), "the port", required=True),
    "protocol": text("UDP where it is not TCP"),
    "from_port": Field((int,), "the source port with which it is lost"),
    "bytes": Field((int,), "the size with which it is lost"),
}
SYMPTOM: Fields = {
    "flows": Field((list,), "flows with the outcome that is seen"),
    "checks": Field((list,), "checks that hold while it is broken"),
    "fails": Field((list,), "checks that do not hold while it is broken"),
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One accepted diagnosis: an object as RESOURCE/NAME and a field of it."""

    object: str
    field: str


@dataclass(frozen=True, slots=True)
class Symptom:
    """What shows that the fault is there."""

    wants: tuple[Want, ...] = ()
    checks: tuple[dict[str, Any], ...] = ()
    fails: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """What is lost on its way: a flow, or only such a packet of it."""

    flow: Flow
    packet: Packet = Packet()  # noqa: RUF009  frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fault made concrete by a seed."""

    fault: Entry
    seed: int
    namespace: str
    level: int
    task: str
    needs: tuple[str, ...]
    setup: tuple[Object, ...]
    """As it is set up, with what is broken."""
    mended: tuple[Object, ...]
    """The broken objects as they should be."""
    inject: tuple[Action, ...]
    fix: tuple[Action, ...]
    undo: tuple[Action, ...]
    symptom: Symptom
    wishes: Wishes
    lost: Lost | None
    causes: tuple[Cause, ...]
    evidence: tuple[str, ...]

    @property
    def namespaces(self) -> list[str]:
        """Return every namespace of the set-up, its own first."""
        made = [meta.name_of(obj) for obj in self.setup if obj["kind"] == "Namespace"]
        return list(dict.fromkeys([self.namespace, *made]))

    @property
    def sound(self) -> list[Object]:
        """Return the objects of the set-up that nothing is wrong with."""
        wrong = {(pattern_of(obj), meta.namespace_of(obj)) for obj in self.mended}
        return [o for o in self.setup if (pattern_of(o), meta.namespace_of(o)) not in wrong]


@cache
def level_and_needs(entry: Entry) -> tuple[int, frozenset[str]]:
    """Return how hard a fault is and what it needs, before it is made concrete."""
    # All recipes are asked when a seed picks: only what stands before the task is parsed.
    head = entry.recipe.read_text(encoding="utf-8").partition("\ntask:")[0]
    (found,) = manifests.load_values(head.encode(), entry.recipe.name)
    return found["level"], frozenset(found.get("needs") or ())


def read(
    entry: Entry, seed: int, words: Mapping[str, str], capabilities: Container[str] = EVERYTHING
) -> Case:
    """Return the case of a fault for one seed; raises `ExerciseError` for a wrong recipe.

    Of its variants those count that a cluster with these capabilities can have.
    """
    place = entry.recipe.name
    filled = fill(entry.recipe.read_text(encoding="utf-8"), words, place)
    (found,) = manifests.load_values(filled.encode(), place)
    validate(found, RECIPE, place)
    if variants := found.get("variants"):
        fit = [one for one in variants if all(n in capabilities for n in one.get("needs") or ())]
        needs = found.get("needs") or []
        found = found | random.Random(f"variant/{seed}").choice(fit)
        found["needs"] = list(dict.fromkeys([*needs, *(found.get("needs") or ())]))
    validate(found["symptom"], SYMPTOM, f"{place}, symptom")
    space = words["namespace"]
    healthy = [obj for name in found["scenes"] for obj in _scene(name, words, space)]
    setup, mended = _break(healthy, found.get("broken") or (), place)
    shown = found["symptom"]
    symptom = Symptom(
        tuple(_wants(shown, space, f"{place}, symptom")),
        tuple(_checks(shown, "checks", place)),
        tuple(_checks(shown, "fails", place)),
    )
    return Case(
        fault=entry,
        seed=seed,
        namespace=space,
        level=found["level"],
        task=found["task"].strip(),
        needs=tuple(found.get("needs") or ()),
        setup=tuple(setup),
        mended=tuple(mended),
        inject=tuple(found.get("inject") or ()),
        fix=tuple(found.get("fix") or ()),
        undo=tuple(found.get("undo") or ()),
        symptom=symptom,
        wishes=Wishes(
            "challenge",
            entry.fault,
            wants=tuple(_wants(found, space, place)),
            checks=tuple(_checks(found, "checks", place)),
            may_change=found["may_change"],
        ),
        lost=_lost(found.get("lost"), symptom, space, place),
        causes=tuple(Cause(**one) for one in found["causes"]),
        evidence=tuple(found["evidence"]),
    )


def _scene(name: str, words: Mapping[str, str], namespace: str) -> list[Object]:
    file = SCENES / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    if "<<certificate>>" in text:
        server = f"{words['server']}.{namespace}.svc"
        words = {**words, **certificate_words(words["seed"], server)}
    filled = fill(text, words, file.name)
    return [placed(one.object, namespace) for one in manifests.load_text(filled)]


def _break(
    healthy: Sequence[Object], broken: Sequence[Mapping[str, Any]], place: str
) -> tuple[list[Object], list[Object]]:
    """Return the scene with what is wrong in it, and those objects as they should be."""
    wrong = {one["object"]: one for one in broken}
    if missing := wrong.keys() - {pattern_of(obj) for obj in healthy}:
        raise ExerciseError(f"{place}: broken: no scene has {', '.join(sorted(missing))}")
    setup = []
    for obj in healthy:
        here = wrong.get(pattern_of(obj))
        setup.append(changed(obj, here["set"]) if here else obj)
    return setup, [obj for obj in healthy if pattern_of(obj) in wrong]


def _wants(found: Mapping[str, Any], namespace: str, place: str) -> list[Want]:
    return [
        Want(
            make_flow(entry, namespace, place),
            entry["want"],
            predicted=entry.get("predicted", True),
        )
        for entry in found.get("flows") or ()
    ]


def _lost(
    given: int | Mapping[str, Any] | None, symptom: Symptom, namespace: str, place: str
) -> Lost | None:
    if given is None:
        return None
    if isinstance(given, int):
        return Lost(symptom.wants[given].flow)
    validate(given, LOST, f"{place}, lost")
    flow = make_flow(given, namespace, f"{place}, lost")
    return Lost(flow, Packet(given.get("from_port", 0), given.get("bytes", 0)).of(flow))


def _checks(found: Mapping[str, Any], key: str, place: str) -> list[dict[str, Any]]:
    specs = found.get(key) or []
    for number, spec in enumerate(specs, 1):
        kind = spec.get("check")
        if kind not in CHECKS:
            raise ExerciseError(f"{place}, {key} {number}: there is no check {kind!r}")
        CHECKS[kind].validate(spec, f"{place}, {key} {number}")
    return specs
