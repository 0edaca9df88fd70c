"""What pages say of the code is so: commands, variables, and the words of the labs."""

import os
import re

import click
import pytest
from bookmaking import reference, stage

from k8slab import clusters
from k8slab.cli.main import k8slab
from k8slab.clusters.providers.base import STOPPED
from k8slab.clusters.providers.base import Status as Stopped
from k8slab.errors import ClusterNotReadyError
from k8slab.grading import Finding, Result, Status

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


LABS = "\n".join(
    path.read_text(encoding="utf-8")
    for lab in stage.sources()
    for path in (*lab.glob("*.md"), lab / "exercises.yaml", *lab.glob("manifests/*.yaml"))
)
SAID = re.sub(r"```.*?```|`[^`]*`", "", LABS, flags=re.DOTALL)
"""What labs say, without code."""
NO_TERMS = {
    *("ACROSS", "FULL", "HOSTNAME", "NAME", "NAMESPACE", "NEAR", "PATH", "POD", "PORT", "READY"),
    *("SERVICE", "HTTP", "IP", "README", "YAML", "AWS", "ALB", "CLB", "NLB", "PCI", "DSS"),
    *("HIPAA", "SOC"),
}
"""Words that stand for others, what everybody has met, and names of products and standards."""


def test_each_abbreviation_that_labs_use_is_in_the_glossary():
    found = set(re.findall(r"\b(?!C\d)[A-Z][A-Z0-9]+\b", SAID))
    assert found > {"DNS", "TLS", "IPVS"}
    words = stage.glossary(stage.BOOK / "glossary.md")
    assert {one for one in found - NO_TERMS if one.lower() not in words} == set()


def test_each_word_of_the_glossary_is_used_in_a_lab_or_in_the_book():
    pages = [page.read_text(encoding="utf-8") for page in PAGES if page.stem != "glossary"]
    text = re.sub(r"\s", "", "".join([LABS, *pages])).lower()  # session affinity: `sessionAffinity`
    block = (stage.BOOK / "glossary.md").read_text(encoding="utf-8").partition(":sorted:\n")[2]
    for entry in block.strip("`\n").split("\n\n"):
        names = [
            line.replace(" ", "").lower() for line in entry.strip().split("\n") if line[0] != " "
        ]
        assert any(name in text for name in names), names


INSTRUCTORS = (stage.BOOK / "instructors.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("plan", INSTRUCTORS.split("| minutes | what |")[1:])
def test_a_plan_with_minutes_has_a_break_in_each_hour_and_a_half(plan):
    rows = re.findall(r"^\| (\d+) \| (.*?) \|$", plan.partition("\n\n")[0], re.MULTILINE)
    assert len(rows) > 5
    since = 0
    for minutes, what in rows:
        since = 0 if what.startswith(("break", "lunch")) else since + int(minutes)
        assert since <= 90, what


def test_what_the_instructors_guide_quotes_is_what_the_program_says(monkeypatch):
    table = INSTRUCTORS.partition("| what one sees |")[2].partition("\n\n")[0]
    quoted = set(re.findall(r'^\|[^|"]*"([^"]+)"', table, re.MULTILINE))
    said = {
        Result("x", "X", 1, (Finding("flows", status, ()),)).headline()
        for status in (Status.INCONCLUSIVE, Status.ERROR)
    }
    stopped = Stopped(name="k8slab", provider="embedded", state=STOPPED, kubeconfig="file")
    monkeypatch.setattr(clusters, "status", lambda _name: stopped)
    with pytest.raises(ClusterNotReadyError) as error:
        clusters.attach()
    assert quoted == said | {error.value.message}


def test_these_tests_see_the_real_book():
    assert os.access(stage.BOOK / "index.md", os.R_OK)
    assert len(PAGES) > 8
