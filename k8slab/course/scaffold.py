"""Begin a lab or an exercise: files that work at once, for their author to change.

The first exercise is small and whole: three pods, a wanted and an unwanted flow, the answer in
two forms and a wrong one. Every file can be released, graded and run before a word is changed,
so an author always starts from something that works.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from k8slab.course.lab import (
    FILE,
    LONGEST_LABEL,
    TO_COMPLETE,
    WORKED,
    load,
    own_namespace,
    read_yaml,
)
from k8slab.course.release import CORE, NOTEBOOKS
from k8slab.errors import UsageError
from k8slab.grading.result import STRETCH
from k8slab.objects.lines import line_of

if TYPE_CHECKING:
    from pathlib import Path

    from k8slab.course.lab import Lab

_LAB_NAME = re.compile(r"[0-9]{2}-[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ID = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

_NOTEBOOK = """\
---
jupytext:
  text_representation: {{extension: .md, format_name: myst}}
kernelspec: {{display_name: Python 3, language: python, name: python3}}
---

# {title}

What you will learn, in one sentence each.

```{{code-cell}} ipython3
from k8slab import lab
lab.start()
```
{part}"""

_PART = """
## {title}

What a learner must know for this exercise, in at most 120 words.

```{{code-cell}} ipython3
lab.begin("{id}")
```
{round}
```{{code-cell}} ipython3
%%apply
### BEGIN SOLUTION
{solution}### END SOLUTION
```

```{{code-cell}} ipython3
lab.check("{id}")
```
"""

_ROUND = """
```{{code-cell}} ipython3
lab.predict("{id}-before")
```

```{{code-cell}} ipython3
lab.observe("{id}-before")
lab.explain("{id}-before")
```
"""

_HEAD = """\
lab: {name}
title: {title}
minutes: 50

exercises:
"""

_EXERCISE = """\
  - id: {name}
    title: {title}
    task: |
      Only `client` of this namespace may reach `web`, on port 8080. Nothing else changes.
    setup: [manifests/{id}.yaml]
    flows:
      - {{from: client, to: web, port: 8080, want: open, because: client needs the answers of web}}
      - {{from: other, to: web, port: 8080, want: blocked, because: other has no business there}}
    may_change: ["networkpolicies.networking.k8s.io/*"]
    no_collateral: true
    canaries: [{{like: client, elsewhere: true, want: blocked}}]
    hints:
      - Which pods does a policy have to select, so that anything changes for `web`?
      - Its ingress rule names `client` by its label.
    solution: answers/{id}/reference.yaml
    topics: []
"""

_PREDICTION = """
predictions:
  - id: {id}-before
    question: Does `other` reach `web` on port 8080, before any policy?
    exercise: {id}
    choices: {{open: It connects., silent: Nothing answers., refused: It is refused.}}
    key: open
    observe:
      flows: [{{from: other, to: web, port: 8080}}]
    reasons:
      model: Without a policy every pod reaches every pod.
      node: They happen to run on one node.
    reason: model
    explanation: The network model asks for it. Isolation begins with the first policy.
    topics: []
"""

_MANIFEST = "# Where the exercise {id} starts from.\n" + "---\n".join(
    f"""\
apiVersion: v1
kind: Pod
metadata: {{{{name: {name}, labels: {{{{app: {name}}}}}}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{{{name: main, image: k8slab/app, ports: [{{{{containerPort: 8080}}}}]}}}}]
"""
    for name in ("web", "client", "other")
)

_POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: only-client}}
spec:
  podSelector: {target}
  ingress: [{{from: [{{podSelector: {peer}}}]}}]
"""


def _policy(peer: str, target: str = "{matchLabels: {app: web}}") -> str:
    return _POLICY.format(target=target, peer=peer)


_ANSWERS = {
    "reference": _policy("{matchLabels: {app: client}}"),
    "alternative-expression": _policy(
        "{matchExpressions: [{key: app, operator: In, values: [client]}]}"
    ),
    "wrong-everybody": _policy("{}"),
}


def new_lab(solutions: Path, name: str, title: str = "") -> list[Path]:
    """Make ``solutions/NAME`` with one exercise; returns the files.

    Raises `UsageError` when the name is not like ``08-cni``, or the number or directory is taken.
    """
    if not _LAB_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a lab's name", hint="two digits, a dash, a word: 08-cni"
        )
    for taken in sorted(solutions.glob(f"{name[:2]}-*")):
        raise UsageError(
            f"the number {name[:2]} is taken by {taken}",
            hint=f"to add to it: k8slab author new-exercise {taken.name} NAME",
        )
    title = title or f"Lab {name[:2]}: {name[3:].replace('-', ' ').capitalize()}"
    first = "first"
    files = {
        FILE: _HEAD.format(name=name, title=_quoted(title))
        + _entry(first, f"{WORKED} the first step")
        + _PREDICTION.format(id=first),
        "lab.md": _NOTEBOOK.format(
            title=title, part=_part(first, "Part 1: the first step", _ROUND.format(id=first))
        ),
        **_exercise_files(first),
    }
    return _write(solutions / name, files)


def new_exercise(source: Path, name: str, title: str = "", *, notebook: str = "lab") -> list[Path]:
    """Add an exercise to a lab's source; returns the files that were made or changed.

    The entry goes behind the others in ``exercises.yaml``, whose text stays as it is, and a part
    with the cells to the end of the notebook. Raises `UsageError` when the name is taken or no
    name, and `ExerciseError` when the lab's own file cannot be read.
    """
    if not _ID.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be an exercise's name", hint="lower-case letters, digits and dashes"
        )
    lab = load(source)
    if name in lab.exercises:
        raise UsageError(f"the lab {lab.name} has an exercise {name!r} already")
    space = own_namespace(lab.name, name)
    if len(space) > LONGEST_LABEL:
        raise UsageError(
            f"its namespace {space} would have {len(space)} characters",
            hint=f"a namespace has at most {LONGEST_LABEL} (RFC 1123): take a shorter name",
        )
    if notebook not in NOTEBOOKS:
        raise UsageError(
            f"there is no notebook {notebook!r}", hint=f"notebooks are {' and '.join(NOTEBOOKS)}"
        )
    page = source / f"{notebook}.md"
    before = _page(page, lab)
    title = title or f"{_kind(lab, notebook)} {name.replace('-', ' ')}"
    made = _write(source, _exercise_files(name))
    exercises = _with_entry(source / FILE, _entry(name, title))
    text = before.rstrip("\n") + "\n" + _part(name, title)
    (source / FILE).write_text(exercises, encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    return [*made, source / FILE, page]


def _page(page: Path, lab: Lab) -> str:
    """Return the text of a notebook; the second one of a lab begins with its first exercise."""
    if page.exists():
        return page.read_text(encoding="utf-8")
    if page.stem == CORE:
        raise UsageError(f"there is no {page}", hint="it is the notebook of the lab's core")
    return _NOTEBOOK.format(title=f"{lab.title}, {page.stem}", part="")


def _kind(lab: Lab, notebook: str) -> str:
    """Return how the title of the next exercise begins, as `review` wants it."""
    if notebook != CORE:
        return STRETCH
    return TO_COMPLETE if len(lab.core) == 1 else "Independent:"


def _entry(name: str, title: str) -> str:
    # A name such as `no` or `7` is another value to YAML, unless it is quoted.
    word = name if yaml.safe_load(name) == name else _quoted(name)
    return _EXERCISE.format(id=name, name=word, title=_quoted(title))


def _with_entry(file: Path, entry: str) -> str:
    """Return the text of an exercise file with an entry behind its last exercise."""
    data, lines = read_yaml(file), file.read_text(encoding="utf-8").splitlines(keepends=True)
    start = line_of(data, "exercises")
    following = sorted(number for number in data.lines.values() if number > start)
    end = following[0] - 1 if following else len(lines)
    while end > start and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1  # an empty line and the comment of what follows stay with it
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines[:end], "\n", entry, *lines[end:]])


def _exercise_files(name: str) -> dict[str, str]:
    answers = {f"answers/{name}/{kind}.yaml": text for kind, text in _ANSWERS.items()}
    return {f"manifests/{name}.yaml": _MANIFEST.format(id=name), **answers}


def _part(name: str, title: str, asked: str = "") -> str:
    return _PART.format(id=name, title=title, solution=_ANSWERS["reference"], round=asked)


def _quoted(title: str) -> str:
    return '"' + title.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write(directory: Path, files: dict[str, str]) -> list[Path]:
    """Write new files; raises `UsageError` before the first when one is there already."""
    paths = {directory / name: text for name, text in files.items()}
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} is there already; nothing was written")
    for path, text in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(paths)
