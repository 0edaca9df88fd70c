"""catchup, check, hint, solution, and the reset of an exercise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from k8slab.cli import options
from k8slab.cli.completion import exercise_names
from k8slab.cli.console import save, show, show_json, steps, tell
from k8slab.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.course.lab import Lab
    from k8slab.grading import Result

_one = click.argument("what", metavar="LAB/EXERCISE", shell_complete=exercise_names)


@click.command()
@_one
@options.name
@options.as_json
def catchup(*, what: str, name: str, as_json: bool) -> None:
    """Set an exercise up without those before it, and start the cluster where it does not run.

    Exercises before it that are not solved are noted as passed over: they give no points, and
    can be done later. What you did in this one before stays.

    \b
    k8slab catchup 05/egress
    k8slab lab --resume
    """  # noqa: D301
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.course.catching_up import catch_up  # noqa: PLC0415
    from k8slab.course.session import Session  # noqa: PLC0415

    lab, exercise = only(what)
    with steps() as progress:
        cluster = clusters.up(name, progress=progress)
        session = Session(lab, cluster, told=progress, said=progress.say)
        progress(f"setting {exercise} up")
        found = catch_up(session, exercise)
    own, over = found.begun.exercise, list(found.passed_over)
    if as_json:
        fresh = found.begun.fresh
        values = {"exercise": f"{lab.name}/{exercise}", "namespace": own.namespace}
        show_json({**values, "fresh": fresh, "passed_over": over, "task": own.statement})
        return
    show(f"{own.title}\n\n{own.statement}\n")
    state = "set up" if found.begun.fresh else "as you left it"
    tell(f"{lab.name}/{exercise} is {state}, in the namespace {own.namespace}")
    for line in (*found.begun.told(), found.text):
        tell(line)
    tell("to go on there: k8slab lab --resume")


@click.command()
@click.argument("what", metavar="LAB[/EXERCISE]", shell_complete=exercise_names)
@options.name
@options.as_json
@click.option("--junit", metavar="FILE", callback=options.placed, help="Write JUnit XML too.")
def check(*, what: str, name: str, as_json: bool, junit: str | None) -> int:
    """Grade an exercise, or all of a lab, by what the cluster does now.

    Exit code 1 when something is not solved yet.

    \b
    k8slab check 01/same-port
    k8slab check 01 --junit results.xml
    """  # noqa: D301  (\b is click's mark for text that is not to be wrapped)
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.course import Pace  # noqa: PLC0415
    from k8slab.course.session import Session  # noqa: PLC0415
    from k8slab.grading import sums  # noqa: PLC0415

    lab, exercises = chosen(what)
    results = []
    with steps() as progress:
        session = Session(lab, clusters.attach(name), told=progress, pace=Pace())
        for exercise in exercises:
            progress(f"checking {exercise}")
            results.append(session.check(exercise))
    written = not junit or _write_junit(junit, results, lab)
    if as_json:
        show_json([result.to_dict() for result in results])
    else:
        for result in results:
            show(result.text())
        if len(results) > 1:
            show(f"{lab.name}: {sums.told(results, ' points')}")
    if not all(result.passed for result in results):
        return 1
    return 0 if written else EnvironmentLacksError.exit_code


def _write_junit(file: str, results: list[Result], lab: Lab) -> bool:
    """Write the results before they are shown: either may fail, and is told."""
    from k8slab.grading import report, report_junit  # noqa: PLC0415

    if written := save(file, report_junit.to_junit(report.checked(results, lab=lab.name)).encode()):
        tell(f"JUnit XML is in {file}")
    return written


@click.command()
@_one
@options.name
@options.as_json
def hint(*, what: str, name: str, as_json: bool) -> None:
    """Give the next hint of an exercise; each call goes one step further.

    \b
    k8slab hint 01/same-port
    """  # noqa: D301
    from k8slab.clusters import records  # noqa: PLC0415
    from k8slab.course.session import Session  # noqa: PLC0415

    lab, exercise = only(what)
    found = Session(lab, _running(records.chosen_name(name))).hint(exercise)
    if as_json:
        show_json(
            {
                "step": found.number,
                "of": found.total,
                "text": found.text,
                "cost": found.cost,
            }
        )
    else:
        show(found.text)
        cost = f", costs {found.cost:g} points" if found.cost else ""
        tell(f"hint {found.number} of {found.total}{cost}")


def _running(name: str) -> Any:
    """Return the cluster where it runs: a hint may depend on it, and is given without it too."""
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.errors import ClusterError  # noqa: PLC0415

    try:
        return clusters.attach(name)
    except ClusterError:
        return None


@click.command()
@_one
@options.name
@click.option("--force", is_flag=True, help="Show it before the exercise was tried.")
@options.as_json
def solution(*, what: str, name: str, force: bool, as_json: bool) -> None:
    """Show a reference answer, after you have checked yours once.

    That it was shown is noted in your progress. From then on checks of the exercise add no
    points, unless it is a worked one; the transfer that follows in its lab gives some.

    \b
    k8slab solution 01/same-port
    k8slab solution 01/same-port | kubectl apply -n lab01-same-port -f -
    """  # noqa: D301
    from k8slab.clusters import records  # noqa: PLC0415
    from k8slab.course.session import Session  # noqa: PLC0415

    lab, exercise = only(what)
    records.chosen_name(name)
    found = Session(lab, None).solution(exercise, force=force)
    note = "" if force else found.note  # who forces it means it
    if as_json:
        place = f"{lab.name}/{exercise}"
        show_json({"exercise": place, "solution": found.text, "note": note})
        return
    if note:
        tell(note)
    show(found.text.rstrip("\n"))


def reset_exercise(what: str, name: str, *, keep_mine: bool, as_json: bool) -> int:
    """Set an exercise up anew; returns 1 when the own work could not be done again."""
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.course.session import Session  # noqa: PLC0415

    lab, exercise = only(what)
    with steps() as told:
        session = Session(lab, clusters.attach(name), told=told, said=told.say)
        told(f"resetting {exercise}")
        begun = session.reset(exercise, keep_mine=keep_mine)
    if as_json:
        kept, refused = begun.kept, begun.refused
        show_json({"exercise": f"{lab.name}/{exercise}", "kept": kept, "refused": refused})
        return 1 if refused else 0
    tell(f"{lab.name}/{exercise} is at its start again, in {begun.exercise.namespace}")
    if keep_mine and begun.kept is None:
        tell("nothing of yours differed from the set-up")
    for line in begun.told():
        tell(line)
    return 1 if begun.refused else 0


def chosen(what: str, find: Callable[[str], Lab] | None = None) -> tuple[Lab, list[str]]:
    """Return the lab and the exercises that ``LAB[/EXERCISE]`` means; `find` finds the lab.

    Raises `UsageError` where a part is empty, as of a shell's variable that is not set: it is
    not to be guessed what somebody meant to throw away.
    """
    from k8slab.course import library  # noqa: PLC0415
    from k8slab.errors import UsageError  # noqa: PLC0415

    name, slash, exercise = what.partition("/")
    if not name or (slash and not exercise):
        raise UsageError(f"{what!r} names no {'exercise' if name else 'lab'}", hint=_named(name))
    lab = (find or library.find)(name)
    return lab, [lab.exercise(exercise).id] if exercise else [*lab.exercises]


def only(what: str) -> tuple[Lab, str]:
    """Return the lab and the one exercise that ``LAB/EXERCISE`` means; else `UsageError`."""
    from k8slab.errors import UsageError  # noqa: PLC0415

    lab, exercises = chosen(what)
    if "/" not in what:
        raise UsageError("this is about one exercise", hint=_named(what))
    return lab, exercises[0]


def _named(lab: str) -> str:
    """Say what can be named: the exercises of a lab, or the labs."""
    from k8slab.course import library  # noqa: PLC0415

    if not lab:
        return f"there are: {', '.join(library.lab_names())}"
    found = library.find(lab)
    return f"name it: {', '.join(f'{found.name}/{exercise}' for exercise in found.exercises)}"
