"""``python -m k8slab.course.mutants``: try right and wrong answers on the graders, in parallel."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.course.answers import read_answers
from k8slab.course.lab import load
from k8slab.course.mutants.generate import mutants
from k8slab.course.mutants.parallel import Job, busy, jobs, rounds, run
from k8slab.course.mutants.table import plain, rows, table
from k8slab.errors import K8slabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.course.mutants.parallel import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Try the answers of the exercises named; 1 where a grader was wrong, 2 for wrong usage."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _parser().parse_args(argv)
    try:
        todo = jobs(
            options.solutions, options.exercises, repeat=options.repeat, every=options.every
        )
        if not todo:
            _tell(f"error: no exercise of {options.solutions} is meant")
            return 2
        if options.list:
            _list(todo)
            return 0
        return _run(todo, options)
    except K8slabError as error:
        _tell(f"error: {error}")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("exercises", nargs="*", help="LAB or LAB/EXERCISE; all without any")
    parser.add_argument("--workers", type=int, default=3 * (os.cpu_count() or 1))
    parser.add_argument("--json", action="store_true", help="every trial as JSON on stdout")
    parser.add_argument("--every", action="store_true", help="those too that do the same")
    parser.add_argument("--list", action="store_true", help="name the mutants, try nothing")
    parser.add_argument(
        "--repeat", type=int, default=0, metavar="N",
        help="try each reference and a near miss N times, half of them under load",
    )  # fmt: skip
    parser.add_argument("--solutions", type=Path, default=Path("solutions"))
    return parser


def _run(todo: list[Job], options: argparse.Namespace) -> int:
    began = time.monotonic()
    reports: list[Report] = []
    code = 0
    try:
        for number, part in enumerate(rounds(todo)):
            # Every second round is one under load: a run that is ended early has both.
            with busy(2 * (os.cpu_count() or 1)) if number % 2 else nullcontext():
                for report in run(part, options.workers):
                    reports.append(report)
                    _tell_progress(report, len(reports), len(todo))
    except KeyboardInterrupt:
        _tell("interrupted; this is what was done, and all clusters of this run are gone")
        code = 130
    found = rows(reports)
    sys.stdout.write(json.dumps(plain(found), indent=2) if options.json else table(found))
    sys.stdout.write("\n")
    number = sum(len(row.trials) for row in found)
    _tell(f"{number} trials, {options.workers} workers, {time.monotonic() - began:.0f} s")
    return code or int(not all(row.fine for row in found))


def _tell_progress(report: Report, done: int, number: int) -> None:
    """Say on a terminal how far it is."""
    if sys.stderr.isatty():
        _tell(f"{done}/{number} {report.lab}/{report.exercise}")


def _list(todo: list[Job]) -> None:
    for directory, name in sorted({(job.directory, job.exercise) for job in todo}):
        exercise = load(directory).exercise(name)
        for answer in read_answers(directory, exercise):
            for mutant in mutants(exercise, answer) if answer.right else ():
                sys.stdout.write(f"{directory.name}/{name} {answer.name}: {mutant.name}\n")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
