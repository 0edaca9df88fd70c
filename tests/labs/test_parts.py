"""Each part of a notebook stands alone: `k8slab catchup` goes to any of them without those before.

A part goes from one heading (`##`) to the next that begins an exercise. It begins every exercise
that it uses, and has no variable of another part. (A check of an exercise that was not begun says
so; it is left out here, since one lab checks an exercise in the cell that begins the next part.)
"""

import ast
import builtins
import json
import re
from pathlib import Path

import pytest

from k8slab.course import load
from k8slab.course.resume import exercise_of

LABS = Path(__file__).parents[2] / "labs"
NOTEBOOKS = sorted(LABS.glob("*/*.ipynb"))
USE = re.compile(r'\blab\.(predict|observe|explain|answer|names)\("([^"]+)"')
BEGIN = re.compile(r'\blab\.begin\("([^"]+)"')
KNOWN = {*dir(builtins), "lab"}


def parts(notebook):
    """Return heading and code of each part."""
    found = [(notebook.stem, [])]
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            found[-1][1].append(source)
        elif source.startswith("## "):
            found.append((source.splitlines()[0], []))
    joined = found[:1]
    for title, code in found[1:]:
        if BEGIN.search("\n".join(code)):
            joined.append((title, code))
        else:
            joined[-1][1].extend(code)
    return joined


def variables(code):
    """Return what is read, and what is assigned, in the cells of Python."""
    read, assigned = set(), set()
    for source in code:
        lines = [line for line in source.splitlines() if not line.startswith(("%", "!"))]
        if source.startswith("%%"):
            continue
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.Name):
                (read if isinstance(node.ctx, ast.Load) else assigned).add(node.id)
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assigned.add(node.name)
            if isinstance(node, ast.arg):
                assigned.add(node.arg)
    return read, assigned


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_part_uses_nothing_of_those_before_it(notebook):
    lab = load(notebook.parent)
    for title, code in parts(notebook):
        text = "\n".join(code)
        begun = set(BEGIN.findall(text))
        used = {exercise_of(lab, subject) for _, subject in USE.findall(text)} - {""}
        assert used <= begun, title
        read, assigned = variables(code)
        assert read - assigned <= KNOWN, title


def test_there_are_parts_to_judge():
    found = [code for notebook in NOTEBOOKS for _, code in parts(notebook)]
    assert sum(bool(BEGIN.findall("\n".join(code))) for code in found) > 30
