"""Other answers with one mistake: objects, commands, and what is typed.

For an object of any kind these are changed, one at a time: the values of selectors, the
numbers of ports, labels that something reads, arguments that are numbers, the data of a
ConfigMap, choices between two words, and containers beyond the first. What nothing reads is left
alone: `Known.mentioned` tells, for a mistake that changes nothing is none.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from k8slab.course.mutants.edits import Path, at, cut, put, words
from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from k8slab.course.mutants.known import Known
    from k8slab.objects.meta import Object

PORT_KEYS = frozenset({"port", "targetPort", "hostPort", "number"})
"""Keys whose number traffic depends on; ``containerPort`` only tells people about a port."""

CHOICES = {
    ("externalTrafficPolicy", "Local"): "Cluster",
    ("internalTrafficPolicy", "Local"): "Cluster",
    ("sessionAffinity", "ClientIP"): "None",
    ("ipFamilyPolicy", "PreferDualStack"): "SingleStack",
    ("ipFamilyPolicy", "RequireDualStack"): "SingleStack",
    ("protocol", "UDP"): "TCP",
    ("hostNetwork", True): False,
    ("publishNotReadyAddresses", True): False,
}
"""What else a field could say: from key and value to the other value."""


def spoil_object(obj: Object, known: Known) -> Iterator[tuple[str, Object]]:
    """Yield objects that differ from `obj` in one place."""
    yield from _names(obj, known)
    for path, value in _leaves(obj):
        key = path[-1]
        if key in PORT_KEYS and isinstance(value, int) and not isinstance(value, bool):
            yield f"{words(path)} {value} -> {value + 1}", put(obj, path, value + 1)
        elif (key, value) in CHOICES:
            other = CHOICES[key, value]  # type: ignore[index]
            yield f"{words(path)} {value} -> {other}", put(obj, path, other)
        elif "args" in path and re.fullmatch(r"\d+", str(value)):
            other = str(int(value) + 1)
            yield f"{words(path)} {value} -> {other}", put(obj, path, other)
        elif _is_selector(path):
            other = known.other_label(str(key), str(value))
            yield f"{words(path)} {value} -> {other}", put(obj, path, other)
        elif path[:1] == ("data",):
            yield f"{words(path)} dropped", cut(obj, path)
    for path in ((), ("spec", "template")):
        yield from _containers(obj, (*path, "spec", "containers"))


def _names(obj: Object, known: Known) -> Iterator[tuple[str, Object]]:
    """Change the name, the namespace and the labels, where something reads them."""
    name, space = meta.name_of(obj), meta.namespace_of(obj)
    if name in known.mentioned:
        yield f"name {name} -> {name}-x", put(obj, ("metadata", "name"), f"{name}-x")
    if space and (other := known.other_namespace(space)):
        yield f"in namespace {other}", put(obj, ("metadata", "namespace"), other)
    for key, value in meta.labels_of(obj).items():
        if key not in known.mentioned:
            continue
        place = ("metadata", "labels", key)
        other = known.other_label(key, value)
        yield f"label {key} dropped", cut(obj, place)
        yield f"label {key}={value} -> {other}", put(obj, place, other)


def _containers(obj: Object, path: Path) -> Iterator[tuple[str, Object]]:
    containers = at(obj, path) or []
    for number, found in enumerate(containers if len(containers) > 1 else ()):
        yield f"container {found.get('name')} dropped", cut(obj, (*path, number))


def _is_selector(path: Path) -> bool:
    """Say whether a leaf is the value of a label that a Service's selector asks for.

    A workload's own ``matchLabels`` are left out: the API refuses other ones than its template's.
    """
    return len(path) > 1 and path[-2] == "selector"


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            if path or key not in ("metadata", "apiVersion", "kind"):
                yield from _leaves(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _leaves(one, (*path, number))
    else:
        yield path, value


_VALUE = re.compile(r"(?P<before>(?:^|.*[=,])[\w./-]+=)(?P<value>[\w.-]+)")


def spoil_commands(commands: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield lists of commands: one left out, or one with another value or number."""
    for number, command in enumerate(commands):
        rest = [*commands[:number], *commands[number + 1 :]]
        yield f"command {number + 1} left out", rest
        parts = shlex.split(command)
        for index, word in enumerate(parts):
            other = _other_word(word)
            if index and other:
                changed = shlex.join([*parts[:index], other, *parts[index + 1 :]])
                name = f"command {number + 1}: {word} -> {other}"
                yield name, [*commands[:number], changed, *commands[number + 1 :]]


def _other_word(word: str) -> str:
    if word.isdecimal():
        return str(int(word) + 1)
    if word.startswith("--image"):
        return ""  # an unknown image would only make everybody wait
    found = _VALUE.fullmatch(word)
    if not found:
        return ""
    value = found["value"]
    return found["before"] + (str(int(value) + 1) if value.isdecimal() else f"{value}-x")


FLIPPED = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
PLACES = {"status.podIP": "status.hostIP", "status.hostIP": "status.podIP"}


def spoil_typed(typed: dict[str, Any], pods: Sequence[str]) -> Iterator[tuple[str, dict]]:
    """Yield typed answers with one wrong: another pod's value, another address, not at all."""
    for question, value in typed.items():
        rest = {key: one for key, one in typed.items() if key != question}
        yield f"{question} not answered", rest
        for words_, other in _other_values(value, pods):
            yield f"{question} {words_}", {**typed, question: other}


def _other_values(value: Any, pods: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        resource, _, name = str(value.get("object", "")).partition("/")
        if resource == "pods" and name:
            for other in pods:
                if other != name:
                    yield f"of {other}", {**value, "object": f"pods/{other}"}
        if value.get("path") in PLACES:
            yield f"as {PLACES[value['path']]}", {**value, "path": PLACES[value["path"]]}
        return
    text = str(value).strip()
    flipped = FLIPPED.get(text.lower())
    if flipped:
        yield flipped, flipped
    elif text.isdecimal():
        yield str(int(text) + 1), str(int(text) + 1)
    else:
        yield f"{text}-x", f"{text}-x"
