"""What holds for the whole house: sizes, imports, doors, documents."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "k8slab").rglob("*.py"))
MOST_LINES = 600
MOST_FUNCTION_LINES = 80

# Files above the budget, each with its reason. Tables may be long; code may not.
LONG_FILES: dict[str, str] = {}


def parsed(path):
    return ast.parse(path.read_text(), str(path))


def name_of(path):
    return str(path.relative_to(ROOT))


def test_no_file_takes_everything():
    sizes = {name_of(path): len(path.read_text().splitlines()) for path in LIBRARY}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == LONG_FILES


def test_functions_stay_readable():
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in LIBRARY
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno > MOST_FUNCTION_LINES
    ]
    assert long == []


def test_modules_with_content_say_what_they_are():
    silent = [
        name_of(p) for p in LIBRARY if p.read_text().strip() and not ast.get_docstring(parsed(p))
    ]
    assert silent == []


def imports_of(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ["objects", "policy"])
def test_pure_rooms_do_no_input_or_output(room):
    forbidden = {"socket", "subprocess", "asyncio", "os", "urllib", "http"}
    found = [
        (name_of(path), name)
        for path in (ROOT / "k8slab" / room).rglob("*.py")
        for name in imports_of(path)
        if name.split(".")[0] in forbidden
    ]
    assert found == []


def test_the_daemon_never_imports_the_models_of_the_official_client():
    found = [
        name_of(path)
        for path in (ROOT / "k8slab" / "embedded").rglob("*.py")
        if path.name != "schema_build.py"  # which compiles them into a table, before
        for name in imports_of(path)
        if name.split(".")[0] == "kubernetes"
    ]
    assert found == []


def room_of(path):
    return path.relative_to(ROOT).parts[:-1][:3]


def test_an_error_outside_the_tree_never_leaves_its_room():
    """A room may have exceptions for itself; what others meet descends from K8slabError."""
    private = {
        node.name: room_of(path)
        for path in LIBRARY
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef) and node.name != "K8slabError"
        for base in node.bases
        if isinstance(base, ast.Name) and base.id in ("Exception", "BaseException", "RuntimeError")
    }
    imported_elsewhere = [
        f"{name_of(path)} imports {name}"
        for path in LIBRARY
        for name in imports_of(path)
        if private.get(name.rpartition(".")[2], room_of(path)) != room_of(path)
    ]
    assert imported_elsewhere == []


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"]]
    for group in ("test", "lint", "book"):
        wanted += project["dependency-groups"][group]
    names = {re.split(r"[><=]", line)[0] for line in wanted}
    table = (ROOT / "CONTRIBUTING.md").read_text()
    rows = set(
        re.findall(r"[\w-]+", " ".join(re.findall(r"^\| ([\w, -]+?) \|", table, re.MULTILINE)))
    )
    assert names - rows == set()


def test_every_locked_package_is_pinned_and_names_no_server():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert [line for line in lines if not re.match(r"^[a-z0-9.-]+==[\w.]+( ;.*)?$", line)] == []


def test_the_verbs_in_the_makefile_are_those_in_contributing():
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    verbs = set(re.findall(r"^  make (\S+)", listed, re.MULTILINE)) - {"help"}
    table = (ROOT / "CONTRIBUTING.md").read_text()
    assert verbs == set(re.findall(r"^\| `make (\w+)` \|", table, re.MULTILINE))


def test_every_link_in_the_front_pages_leads_somewhere():
    broken = [
        (page, target)
        for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "book/architecture.md")
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
        if not (ROOT / page).parent.joinpath(target).exists()
    ]
    assert broken == []


def test_the_readme_names_every_command():
    from k8slab.cli.main import k8slab  # noqa: PLC0415

    text = (ROOT / "README.md").read_text()
    table = " ".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))
    told = set(re.findall(r"`(?:k8slab )?(\w+)`", table))
    assert set(k8slab.commands) - {"completion"} == told


def test_the_changelog_knows_the_version():
    from k8slab.version import __version__  # noqa: PLC0415

    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{__version__}]" in text or "## [Unreleased]" in text


def test_generated_files_are_current():
    done = subprocess.run(
        [sys.executable, "tools/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_shell_scripts_are_valid_and_stop_at_the_first_error():
    for script in ("tools/setup", "tools/test", ".ci/run"):
        path = ROOT / script
        subprocess.run(["bash", "-n", str(path)], check=True)
        assert "set -euo pipefail" in path.read_text()
        assert path.stat().st_mode & 0o100
