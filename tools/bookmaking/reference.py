"""The reference page of what a notebook uses, made from the docstrings and signatures.

A docstring is for readers of the code and of this page alike, so a name in it stands between
grave accents, which is Markdown too.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import k8slab
from k8slab.notebook import judging, magics, pictures, places, views
from k8slab.notebook.face import Face
from k8slab.probes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# In notebooks

What a notebook can use of k8slab, from the docstrings. Everything shows what came of it at once,
and returns it. How parties of a flow are written stands in [Writing a lab](authoring.md), what the
words mean in the [glossary](glossary.md).

```python
from k8slab import lab

lab.start()
```
"""
_NOT_FOR_LEARNERS = frozenset({"session", "cluster", "use"})
"""Of a lab's face: what authors and tests use."""

_RETURNED = (
    places.Pod, places.Node, views.View, views.Output, views.ResultView, views.LookupView,
    judging.Judged, judging.Audited, pictures.JourneyView,
)  # fmt: skip
_FIRST = {"lab": "The lab of this notebook: the calls below."}


def page() -> str:
    """Return the text of the page."""
    parts = [_HEAD, "## The lab\n"]
    parts += [_entry(f"lab.{name}", found) for name, found in members(Face)]
    parts.append("## In a cell of its own\n")
    parts.append(f"`{magics._APPLY_HELP}`  \n{_summary(Face.apply)}\n")  # noqa: SLF001
    kubectl = "`%kubectl COMMAND`, and `%%kubectl` for several lines"
    parts.append(f"{kubectl}  \n{_summary(Face.kubectl)}\n")
    parts.append("## What is returned\n")
    for found in _RETURNED:
        parts.append(f"### {found.__name__}\n\n{_text(found)}\n")
        parts += [_entry(name, one) for name, one in members(found)]
    parts.append("## Outside of labs\n\n`from k8slab import ...`\n")
    parts += [_entry(name, getattr(k8slab, name)) for name in k8slab.__all__ if name[0] != "_"]
    parts.append(f"## Outcomes\n\n{_outcomes()}")
    return "\n".join(parts)


def members(owner: type) -> Iterator[tuple[str, Any]]:
    """Yield what is public in a class itself, in the order of its source."""
    for name, found in vars(owner).items():
        public = not name.startswith("_") and name not in _NOT_FOR_LEARNERS
        if public and (inspect.isfunction(found) or isinstance(found, property)):
            if found.__doc__ is None:
                raise ValueError(f"{owner.__name__}.{name} has no docstring")
            yield name, found


def _entry(name: str, found: Any) -> str:
    """Return a definition list's entry: the call, and what it does."""
    if not (inspect.isfunction(found) or isinstance(found, property)):
        text = _FIRST.get(name) or _text(found)
        return f"`{name}`\n: {_indented(text)}\n"
    call = name if isinstance(found, property) else f"{name}{_signature(found)}"
    return f"`{call}`\n: {_indented(_text(found))}\n"


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    kept = [
        one.replace(annotation=inspect.Parameter.empty)
        for one in signature.parameters.values()
        if one.name != "self"
    ]
    return str(signature.replace(parameters=kept, return_annotation=inspect.Signature.empty))


def _text(found: Any) -> str:
    # The grave accents of reStructuredText: two mean code, which Markdown has one for.
    return re.sub(r"``(.+?)``", r"`\1`", inspect.getdoc(found) or "")


def _summary(found: Any) -> str:
    return _text(found).partition("\n\n")[0]


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _outcomes() -> str:
    rows = ["| outcome | sign | what was seen |", "| --- | --- | --- |"]
    rows += [f"| `{one.value}` | `{one.sign}` | {one.meaning} |" for one in Outcome]
    return "\n".join(rows) + "\n"
