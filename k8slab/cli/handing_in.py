"""submit, grade: hand answers in, and reproduce their scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from k8slab.cli import options
from k8slab.cli.completion import exercise_names
from k8slab.cli.console import (
    UNDECIDED,
    require_directory,
    require_place,
    save,
    show,
    show_json,
    steps,
    tell,
)
from k8slab.cli.signals import ended_by_signals
from k8slab.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.course.lab import Lab
    from k8slab.grading.report import Grades, Report

_ANSWERS = "answers.zip"

_RESULTS = "results.json"
"""What Gradescope reads of each learner."""


@click.command()
@click.argument("what", nargs=-1, metavar="[LAB[/EXERCISE]]...", shell_complete=exercise_names)
@options.name
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(_ANSWERS),
    show_default=True,
    callback=options.placed,
    help="The file to write.",
)
@options.as_json
def submit(*, what: tuple[str, ...], name: str, out: Path, as_json: bool) -> None:
    """Bundle your answers into one file, to be handed in.

    What you changed in the cluster, however you typed it, and what you answered; of all labs,
    or of those named. Nothing else of the machine is in it: look with unzip -p.

    \b
    k8slab submit
    k8slab submit 01 05/default-deny -o anna.zip
    unzip -p anna.zip answers.json
    """  # noqa: D301
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.course import bundle, submission  # noqa: PLC0415
    from k8slab.course.journal import Journal  # noqa: PLC0415
    from k8slab.errors import UsageError  # noqa: PLC0415

    wanted = _chosen(what)
    with steps() as progress:
        cluster = clusters.attach(name)
        found = submission.gather(wanted, cluster, Journal(), told=progress)
    for warning in found.warnings:
        tell(f"warning: {warning}")
    if found.empty:
        raise UsageError(
            f"there is nothing to hand in: no exercise was begun in the cluster {cluster.name}",
            hint="--name tells which cluster has your work",
        )
    bundle.write(out, found.answers)
    if as_json:
        show_json({"file": str(out), "exercises": found.lines, "warnings": found.warnings})
        return
    for line in found.lines:
        tell(line)
    show(str(out))


def _chosen(
    what: tuple[str, ...], find: Callable[[str], Lab] | None = None
) -> list[tuple[Lab, list[str]]]:
    """Return the labs that are meant, each once, with the exercises that are.

    Without any all those of the course are, whatever stands in the current directory.
    """
    from k8slab.cli.exercises import chosen  # noqa: PLC0415
    from k8slab.course import library  # noqa: PLC0415

    found: dict[str, tuple[Lab, list[str]]] = {}
    for each in what or library.lab_names():
        lab, exercises = chosen(each, find if what else library.named)
        _, known = found.setdefault(lab.name, (lab, []))
        known += [exercise for exercise in exercises if exercise not in known]
    return [*found.values()]


@click.command()
@click.argument("what", nargs=-1, metavar="[BUNDLE|DIR]...", type=click.Path(path_type=Path))
@click.option(
    "--run-notebook",
    "notebook",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Run this notebook, confined, and grade what it leaves; needs --lab.",
)
@click.option(
    "--lab",
    "asked",
    multiple=True,
    metavar="LAB[/EXERCISE]",
    shell_complete=exercise_names,
    help="What was asked for, again for more: all of it counts, and nothing else. "
    "Of a notebook, its lab.",
)
@click.option("--seed", default=0, help="The seed that picked the names in the notebook's lab.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="How many bundles are graded at once; one for each processor otherwise.",
)
@options.as_json
@click.option("--junit", metavar="FILE", help="Write JUnit XML too.")
@click.option("--csv", "table", metavar="FILE", help="Write CSV as nbgrader exports it.")
@click.option(
    "--gradescope",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write results.json of each learner below this directory.",
)
@click.option(
    "--require", type=click.FloatRange(0, 100), metavar="PERCENT", help="Exit code 1 below this."
)
def grade(  # noqa: PLR0913  one parameter for each option
    *,
    what: tuple[Path, ...],
    notebook: Path | None,
    asked: tuple[str, ...],
    seed: int,
    workers: int | None,
    as_json: bool,
    junit: str | None,
    table: str | None,
    gradescope: Path | None,
    require: float | None,
) -> int:
    """Grade bundles of answers by replaying each in a fresh cluster.

    Of a directory every .zip in it. A learner is called as the file is. Nothing in a bundle is
    believed: the score is what the cluster shows, beside it what the learner's journal claims.
    What of a lab was not handed in counts as not solved; --lab says what was asked for. The labs
    are those of this installation or of $K8SLAB_LABS, whatever the current directory holds.
    Exit code 1 when a bundle is none, or somebody is below --require; 4 when the grader itself
    could not judge something, at a second try either: then the grading is not complete. Else 3
    when a report could not be written.

    \b
    k8slab grade anna.zip
    k8slab grade handed-in/ --lab 05 --csv grades.csv --junit grades.xml
    k8slab grade --run-notebook 01-networking-model.ipynb --lab 01
    """  # noqa: D301
    from k8slab.course import library  # noqa: PLC0415

    _require_places(junit, table, gradescope)
    with library.graders_course():
        report = _graded(what, notebook, asked, seed, workers or 0)
    # Before they are shown, since that may fail; and what is lost of them hinders nothing else.
    written = _write(report, junit, table, gradescope)
    if as_json:
        from k8slab.grading.report import to_json  # noqa: PLC0415

        show_json(to_json(report))
    else:
        from k8slab.grading.report import text  # noqa: PLC0415

        show(text(report))
    if report.incomplete:
        return UNDECIDED
    low = require is not None and any(one.percent < require for one in report.learners)
    if report.broken or low:
        return 1
    return 0 if written else EnvironmentLacksError.exit_code


def _graded(
    what: tuple[Path, ...], notebook: Path | None, asked: tuple[str, ...], seed: int, workers: int
) -> Report:
    from k8slab.course import library, marking  # noqa: PLC0415
    from k8slab.errors import UsageError  # noqa: PLC0415

    if bool(what) == bool(notebook):
        raise UsageError(
            "name bundles, or a notebook with --run-notebook", hint="k8slab grade --help has both"
        )
    chosen = _chosen(asked, library.named) if asked else []
    counted = {lab.name: tuple(exercises) for lab, exercises in chosen}
    with ended_by_signals(), steps() as progress:
        if notebook is None:
            files = marking.find_bundles(what)
            return marking.grade_bundles(
                files,
                told=progress,
                said=progress.say,
                workers=workers,
                asked=counted or None,
            )
        from k8slab.course import notebooks  # noqa: PLC0415

        if len(chosen) != 1:
            raise UsageError("which lab is the notebook of?", hint="say it with --lab")
        ((lab, exercises),) = chosen
        return notebooks.grade_notebook(notebook, lab, seed, told=progress, exercises=exercises)


def _require_places(junit: str | None, table: str | None, gradescope: Path | None) -> None:
    """Raise `UsageError` where a report could not be written: grading may take an hour."""
    made: tuple[Path, ...] = ()
    if gradescope:
        require_directory(gradescope)
        made = (gradescope.absolute(), *gradescope.absolute().parents)
    for place in map(Path, filter(None, (junit, table))):
        if place.parent.is_dir() or place.parent.absolute() not in made:
            require_place(place)


def _write(report: Report, junit: str | None, table: str | None, gradescope: Path | None) -> bool:
    """Write what was asked for; tell what cannot be written, and say whether all was."""
    from k8slab.grading import report_junit, report_tables  # noqa: PLC0415

    saved = {}
    if junit:
        saved[junit] = save(junit, report_junit.to_junit(report).encode())
    if table:
        saved[table] = save(table, report_tables.to_csv(report).encode())
    if gradescope:
        each = [_write_results(one, gradescope) for one in report.learners]  # all are tried
        saved[str(gradescope)] = all(each)
    for place in (place for place, whole in saved.items() if whole):
        tell(f"wrote {place}")
    return all(saved.values())


def _write_results(grades: Grades, directory: Path) -> bool:
    from k8slab.grading import report_tables  # noqa: PLC0415

    found = json.dumps(report_tables.to_gradescope(grades), indent=1) + "\n"
    return save(directory / grades.learner / _RESULTS, found.encode())
