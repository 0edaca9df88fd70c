"""The verb `make book`: run the labs, make the pages, let Sphinx build them, look at the result."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bookmaking import built, runs, stage
from k8slab import programs
from k8slab.clusters import doctor
from k8slab.errors import K8slabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SPHINX_SECONDS = 300.0
OUT = stage.BOOK / "_build" / "html"


def build(out: Path, executed: Mapping[str, Any], labs: Sequence[str] = ()) -> list[str]:
    """Build the book into a directory; return what is wrong with it.

    `executed` are notebooks that ran (`runs.Executed`). Raises `ProgramError` with Sphinx' words.
    """
    with tempfile.TemporaryDirectory(prefix="k8slab-book-") as scratch:
        place = stage.stage(Path(scratch), executed, labs)
        argv = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-E"]
        argv += ["-b", "html", "-c", str(stage.BOOK), "-d", f"{scratch}/doctrees"]
        programs.run([*argv, str(place), str(out)], deadline=SPHINX_SECONDS)
        return built.faults(out, (str(stage.ROOT), scratch))


@click.command(help=__doc__)
@click.option("--no-run", is_flag=True, help="Run no lab: chapters without outputs.")
@click.option(
    "--lab",
    "labs",
    multiple=True,
    help="A preview with this lab alone (name or number); others count as not written.",
)
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where pages go.")
def main(*, no_run: bool, labs: tuple[str, ...], out: Path) -> None:
    """Build, and exit with 1 when something is wrong."""
    began = time.monotonic()
    try:
        _make_room(out)
        executed = {}
        if not no_run and _can_run():
            executed = runs.run_labs(stage.sources(labs), stage.LABS, told=_tell)
        found = build(out.absolute(), executed, labs)
    except K8slabError as error:
        raise click.ClickException(str(error)) from error
    for fault in found:
        _tell(fault)
    _tell(f"{out}/index.html, after {time.monotonic() - began:.0f} s")
    sys.exit(1 if found else 0)


def _make_room(out: Path) -> None:
    """Remove an earlier book, whose pages may be none of this one; nothing else is removed."""
    if (out / ".buildinfo").is_file():
        shutil.rmtree(out)
    elif out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} holds something else than a book", hint="choose another --out")


def _can_run() -> bool:
    """Say whether the labs can run here; tell what is missing."""
    findings, providers = doctor.examine()
    if "embedded" in providers:
        return True
    for finding in findings:
        if finding.required and not finding.ok:
            _tell(f"the labs are not run: {finding.what}: {finding.detail} {finding.remedy}")
    return False


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
