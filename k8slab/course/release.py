"""Build what a learner opens from what an author edits: ``solutions/`` makes ``labs/``.

An author edits one directory, ``solutions/NN-name/``: the notebook with answers as MyST
Markdown (``lab.md``, and ``stretch.md`` where there is one), ``exercises.yaml``, manifests.
The release makes ``labs/NN-name/`` of it, completely: nothing in there is edited by hand. It
removes what it is known to have made (`made`), and nothing else.

A release is a short list of passes over the notebook: solution regions go, outputs go, ids
and metadata become fixed. Cell ids are hashes of place and source, because jupytext draws
random ones and a build must give the same bytes twice. Of ``exercises.yaml`` the keys,
hints and solutions are sealed (`sealing`).

A built notebook is called after its lab, since the tab of an editor shows no more than the file's
name; sources have the same names in each lab, as their rules are the same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

from k8slab.course import made, schema
from k8slab.course.lab import FILE, load, read_yaml
from k8slab.course.sealing import seal
from k8slab.errors import EnvironmentLacksError, ExerciseError, UsageError
from k8slab.objects import yamlwriting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

CORE = "lab"
NOTEBOOKS = (CORE, "stretch")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
PLACE = "# your answer"
NEVER_COPIED = frozenset({FILE, "answers"})

Notebook = Any
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook_name(lab: str, notebook: str = CORE) -> str:
    """Return what a built notebook and its page in the book are called, without an ending."""
    return lab if notebook == CORE else f"{lab}-{notebook}"


def notebook_file(lab: str, notebook: str = CORE) -> str:
    """Return the name of a built notebook's file, which lies in the lab's directory."""
    return f"{notebook_name(lab, notebook)}.ipynb"


def sources(solutions: Path) -> list[Path]:
    """Return the directories of the labs' sources, in order; `UsageError` where there is none.

    A directory that was mistyped is not a course without labs.
    """
    found = sorted(path.parent for path in solutions.glob(f"*/{FILE}"))
    if not found:
        raise UsageError(
            f"there is no lab's source in {solutions.absolute()}",
            hint="change to the clone of the course, or name the directory with --solutions",
        )
    return found


def build(solutions: Path, labs: Path, *, withdraw: bool = False) -> list[Path]:
    """Build all labs; return the files that changed.

    With `withdraw` a lab that has no source any more goes, unless somebody wrote in it.
    """
    changed: list[Path] = []
    known = sources(solutions)
    for source in known:
        changed += build_lab(source, labs / source.name)
    for lab in _without_source(known, labs) if withdraw else ():
        if not _kept_for(lab):
            gone = [*made.orphans(lab, ()), lab / made.LIST]
            made.remove(gone, lab)
            changed += gone
    return changed


def build_lab(source: Path, target: Path) -> list[Path]:
    """Build one lab directory; return the files that changed.

    What an earlier release made and no source has any more goes, unless somebody wrote in it.
    """
    wanted = _all_files(source)
    made.refuse_links(target, wanted)
    changed = made.orphans(target, wanted)
    made.remove(changed, target)
    for name, content in wanted.items():
        path = target / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            changed.append(path)
    return changed


def _all_files(source: Path) -> dict[str, bytes]:
    """Return every file of a released lab, and the list of them, which is written last."""
    files = lab_files(source)
    return files | {made.LIST: made.listing(files)}


def told(path: Path) -> str:
    """Say what `build` did with a file that it changed."""
    return f"{'wrote' if path.exists() else 'removed'} {path}"


def stale(solutions: Path, labs: Path) -> list[str]:
    """Return what in `labs` is not as `solutions` says; empty when all is current."""
    messages = []
    known = sources(solutions)
    for source in known:
        target = labs / source.name
        wanted = _all_files(source)
        for name, content in wanted.items():
            path = target / name
            if not path.exists():
                messages.append(f"{path} is missing: run make labs")
            elif path.read_bytes() != content:
                messages.append(f"{path} is not current: run make labs")
        messages += [
            f"{path} has no source: run make labs" for path in made.orphans(target, wanted)
        ]
        messages += _strangers(target, wanted)
    return messages + _lone_labs(known, labs)


def left(solutions: Path, labs: Path) -> list[str]:
    """Return what a build that is over left alone, though no source has it."""
    known = sources(solutions)
    targets = [labs / source.name for source in known]
    found = [line for target in targets for line in _strangers(target, made.listed(target))]
    return found + _lone_labs(known, labs)


def _strangers(target: Path, wanted: Collection[str]) -> list[str]:
    return [
        f"{path} has no source, and no release made it as it is: move it away"
        for path in made.strangers(target, wanted)
    ]


def _lone_labs(known: Iterable[Path], labs: Path) -> list[str]:
    lines = []
    for lab in _without_source(known, labs):
        why = _kept_for(lab)
        todo = f"and {why}: move it away" if why else "k8slab author release --withdraw removes it"
        lines.append(f"{lab} has no source, {todo}")
    return lines


def _without_source(known: Iterable[Path], labs: Path) -> list[Path]:
    """Return the labs there that have no source, whoever made them."""
    names = {source.name for source in known}
    return sorted(path.parent for path in labs.glob(f"*/{FILE}") if path.parent.name not in names)


def _kept_for(lab: Path) -> str:
    """Say why a lab without a source is not withdrawn; empty where nothing speaks against it."""
    head = (lab / FILE).read_bytes().startswith(_head(lab.name).encode())
    if lab.is_symlink() or not head or not made.listed(lab):
        return "no release made it"
    return "somebody wrote in it" if made.written_in(lab) else ""


def lab_files(source: Path) -> dict[str, bytes]:
    """Return every file of the released lab, by its path in the lab's directory."""
    load(source)  # an exercise file with a fault is not released
    files = {FILE: _sealed_exercises(source / FILE)}
    for name in NOTEBOOKS:
        if (source / f"{name}.md").exists():
            page = notebook_bytes(released(read_source(source / f"{name}.md")))
            files[notebook_file(source.name, name)] = page
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        inside = path.relative_to(source)
        top = inside.parts[0]
        if (
            path.suffix == ".ipynb"
            or path.name.startswith(".")
            or ".ipynb_checkpoints" in inside.parts
        ):
            continue
        if top not in NEVER_COPIED and inside.name not in {f"{name}.md" for name in NOTEBOOKS}:
            files[str(inside)] = path.read_bytes()
    return files


def build_solutions(solutions: Path, target: Path) -> list[Path]:
    """Write the notebooks with answers (for nbval) beside copies of their labs' files.

    `target` is a scratch directory; each lab gets its own in it. Returns the notebooks.
    """
    found = sources(solutions)
    return [page for source in found for page in build_solution(source, target / source.name)]


def build_solution(source: Path, target: Path) -> list[Path]:
    """Write one lab's notebooks with answers into a directory beside copies of its files."""
    notebooks = []
    shutil.copytree(source, target, dirs_exist_ok=True)
    for name in NOTEBOOKS:
        if (source / f"{name}.md").exists():
            path = target / notebook_file(source.name, name)
            path.write_bytes(notebook_bytes(_pass(read_source(source / f"{name}.md"), _fix)))
            notebooks.append(path)
    return notebooks


def read_source(path: Path) -> Notebook:
    """Read a notebook in MyST Markdown; raises `EnvironmentLacksError` without jupytext."""
    try:
        import jupytext  # type: ignore[import-untyped]  # noqa: PLC0415  authors only, and slow
    except ImportError as error:
        raise EnvironmentLacksError(
            "jupytext is not installed", hint="authors need the test group: make setup"
        ) from error
    return jupytext.reads(path.read_text(encoding="utf-8"), fmt="md:myst")


def released(notebook: Notebook) -> Notebook:
    """Return the notebook as the learner gets it."""
    return _pass(_pass(notebook, _without_solutions), _fix)


def _pass(notebook: Notebook, change: Callable[[Notebook], None]) -> Notebook:
    change(notebook)
    return notebook


def _without_solutions(notebook: Notebook) -> None:
    kept = []
    for cell in notebook["cells"]:
        if "solution" in cell["metadata"].get("tags", ()):  # a whole cell of an author
            continue
        if cell["cell_type"] == "code":
            cell["source"] = strip_solutions(cell["source"])
        kept.append(cell)
    notebook["cells"] = kept


def strip_solutions(source: str) -> str:
    """Replace each solution region by a line that asks for an answer, at its indentation."""
    lines: list[str] = []
    inside = False
    for line in source.splitlines():
        mark = line.strip()
        if mark == BEGIN:
            if inside:
                raise ExerciseError(f"{BEGIN} stands inside a solution region")
            inside = True
            lines.append(line[: len(line) - len(line.lstrip())] + PLACE)
        elif mark == END:
            if not inside:
                raise ExerciseError(f"{END} without {BEGIN}")
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise ExerciseError(f"{BEGIN} without {END}")
    return "\n".join(lines)


def _fix(notebook: Notebook) -> None:
    """Clear outputs, and make ids and metadata depend on the content alone."""
    notebook["metadata"] = json.loads(json.dumps(METADATA))
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    for place, cell in enumerate(notebook["cells"]):
        digest = hashlib.sha256(f"{place}\n{cell['cell_type']}\n{cell['source']}".encode())
        cell["id"] = digest.hexdigest()[:12]
        tags = cell["metadata"].get("tags")
        cell["metadata"] = {"tags": tags} if tags else {}
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None


def notebook_bytes(notebook: Notebook) -> bytes:
    """Return the file's content: keys sorted, one space of indentation, as Jupyter writes."""
    text = json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode()


def _sealed_exercises(path: Path) -> bytes:
    data = read_yaml(path)
    for key, sealed in (
        ("exercises", schema.SEALED_IN_EXERCISE),
        ("predictions", schema.SEALED_IN_PREDICTION),
    ):
        data[key] = [_sealed(entry, sealed, path.parent) for entry in data.get(key) or ()]
    made = yamlwriting.dump(data, sort_keys=False, width=100)
    return _head(path.parent.name).encode() + made


def _head(lab: str) -> str:
    return f"# Made from solutions/{lab} by `make labs`. Do not edit.\n"


def _shuffled(reasons: dict[str, str], prediction: str) -> dict[str, str]:
    """Return the reasons in an order that tells nothing: authors write the right one first."""

    def place(word: str) -> str:
        return hashlib.sha256(f"{prediction}: {word}".encode()).hexdigest()

    return {word: reasons[word] for word in sorted(reasons, key=place)}


def _sealed(entry: dict, names: tuple[str, ...], directory: Path) -> dict:
    inside = {name: entry[name] for name in names if name in entry}
    if "solution" in inside:
        text = (directory / inside["solution"]).read_text(encoding="utf-8")
        inside["solution"] = text.rstrip("\n") + "\n"  # its names are still <<words>>
    rest = {name: value for name, value in entry.items() if name not in names}
    if "reasons" in rest:
        rest["reasons"] = _shuffled(rest["reasons"], entry["id"])
    return rest | ({"sealed": seal(inside)} if inside else {})
