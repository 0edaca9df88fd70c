"""What an exercise's objects already say, so that what is changed stays plausible.

A label that becomes another pod's label is a likelier mistake than one that nobody has, and
the port of a Service in place of the pod's is one that everybody makes once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from k8slab.objects.meta import Object

_WORDS = re.compile(r"[\w./-]+")


@dataclass(frozen=True)
class Known:
    """Labels, ports and names of a set-up; `mentioned` are the words that something reads."""

    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values by key, of pods, templates and namespaces."""
    service_ports: Mapping[int | str, int] = field(default_factory=dict)
    """From the port of a pod to that of a Service before it, where they differ."""
    namespaces: tuple[str, ...] = ()
    mentioned: frozenset[str] = frozenset()
    """Words of selectors, flows and checks: what none of them names, nothing depends on."""

    @classmethod
    def of(cls, objects: Iterable[Object], namespaces: Iterable[str], read: Any) -> Known:
        """Collect what `objects` say; `read` is what flows and checks look at, as plain values."""
        labels: dict[str, dict[str, None]] = defaultdict(dict)
        ports: dict[int | str, int] = {}
        mentioned = set(_all_words(read))
        for obj in objects:
            for found in _label_sets(obj):
                for key, value in found.items():
                    labels[key][value] = None
            mentioned.update(_all_words(list(_selectors(obj))))
            if obj.get("kind") == "Service":
                for port in (obj.get("spec") or {}).get("ports") or ():
                    target = port.get("targetPort", port.get("port"))
                    if target != port.get("port"):
                        ports[target] = port["port"]
        values = {key: tuple(sorted(found)) for key, found in labels.items()}
        return cls(values, ports, tuple(namespaces), frozenset(mentioned))

    def other_label(self, key: str, value: str) -> str:
        """Return another value that a label has somewhere, or one that nobody has."""
        return next((v for v in self.labels.get(key, ()) if v != value), f"{value}-x")

    def other_namespace(self, name: str) -> str:
        """Return another namespace of the exercise; empty where there is none."""
        return next((space for space in self.namespaces if space != name), "")


def _label_sets(obj: Object) -> Iterator[dict[str, str]]:
    if obj.get("kind") in ("Namespace", "Pod"):
        yield meta.labels_of(obj)
    if obj.get("kind") == "Namespace":
        yield {"kubernetes.io/metadata.name": meta.name_of(obj)}
    template = (obj.get("spec") or {}).get("template")
    if isinstance(template, dict):
        yield meta.labels_of(template)


def _selectors(value: Any) -> Iterator[Any]:
    """Yield everything under a key that ends in "selector", at any depth."""
    if isinstance(value, dict):
        for key, one in value.items():
            if str(key).lower().endswith("selector"):
                yield one
            else:
                yield from _selectors(one)
    elif isinstance(value, list):
        for one in value:
            yield from _selectors(one)


def _all_words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _all_words(key)
            yield from _all_words(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _all_words(one)
    elif value is not None and not isinstance(value, bool):
        for word in _WORDS.findall(str(value)):
            yield word
            yield from re.split(r"[./=-]", word)
