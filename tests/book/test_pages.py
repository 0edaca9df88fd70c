"""What pages say of the code is so: commands, variables, and the words of the labs."""

import os
import re

import click
import pytest
from bookmaking import reference, stage

from k8slab.cli.main import k8slab

PAGES = sorted([*stage.BOOK.glob("*.md"), stage.ROOT / "README.md"])
INTRODUCED = re.compile(r"\b(?:an?|the|called|is|are|type)\s+\*\*([^*]+)\*\*", re.IGNORECASE)
"""A term where a lab introduces it: "A **node** is a machine". Other bold words are stressed."""
NOT_FOR_USERS = {"K8SLAB_FD", "K8SLAB_COMPLETE", "K8SLAB_TERMINAL"}
"""Variables between our own processes."""


def command(name, rest):
    """Return the command that a page means: of a group the one that is named, if one is."""
    found = k8slab.commands.get(name)
    first = rest.split()[:1]
    if isinstance(found, click.Group) and first and not first[0].startswith("-"):
        found = found.commands.get(first[0])
    return found


def options(found):
    """Return the options of a command; a group may have one that is meant without its name."""
    parts = [found, *(found.commands.values() if isinstance(found, click.Group) else ())]
    return {"--help", *(one for part in parts for each in part.params for one in each.opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_each_command_that_a_page_names_is_there(page):
    text = page.read_text(encoding="utf-8")
    for name, rest in re.findall(r"(?:`|\$ )k8slab ([a-z][a-z-]*)((?: [^`\n]*)?)", text):
        found = command(name, rest)
        assert found is not None, f"k8slab {name}{rest}"
        for option in re.findall(r"(?<= )--[a-z-]+", rest.partition(" -- ")[0]):
            assert option in options(found), f"k8slab {name}: {option}"


def test_each_variable_of_the_code_is_among_the_settings():
    code = [*stage.ROOT.glob("k8slab/**/*.py")]
    used = {
        name for path in code for name in re.findall(r"\bK8SLAB_[A-Z_]*[A-Z]", path.read_text())
    }
    told = re.findall(r"^\| `(K8SLAB_\w+)`", (stage.BOOK / "settings.md").read_text(), re.MULTILINE)
    private = {name for name in used if name.startswith(tuple(NOT_FOR_USERS))}
    assert set(told) == used - private


@pytest.mark.parametrize("lab", stage.sources(), ids=lambda path: path.name)
def test_each_term_that_a_lab_introduces_is_in_the_glossary(lab):
    words = stage.glossary(stage.BOOK / "glossary.md")
    text = "\n".join(page.read_text(encoding="utf-8") for page in lab.glob("*.md"))
    terms = {" ".join(found.lower().split()) for found in INTRODUCED.findall(text)}
    assert terms
    assert terms - set(words) == set(), "give book/glossary.md a sentence for these"


def test_each_entry_of_the_glossary_names_its_source():
    block = (stage.BOOK / "glossary.md").read_text(encoding="utf-8").partition(":sorted:\n")[2]
    entries = [one for one in block.split("\n\n") if one.strip()]
    assert len(entries) > 80
    assert [one for one in entries if not re.search(r"\([^()]+(\(\d\))?[^()]*\)[`\s]*$", one)] == []


def test_the_reference_lists_the_calls_of_a_notebook():
    text = reference.page()
    assert "`lab.check(exercise, *, raise_on_fail=False)`\n: Check an exercise" in text
    assert "`lab.pod(name)`" in text
    assert "`run(command, *, container='', seconds=30)`" in text
    assert "| `silent` | `.` | no answer at all" in text
    assert "``" not in text.replace("```", "")


def test_a_public_call_without_a_docstring_is_refused():
    class Bare:
        def call(self): ...

    with pytest.raises(ValueError, match=r"Bare\.call has no docstring"):
        list(reference.members(Bare))


def test_these_tests_see_the_real_book():
    assert os.access(stage.BOOK / "index.md", os.R_OK)
    assert len(PAGES) > 8
