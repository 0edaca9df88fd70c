"""author: begin labs and exercises, judge them, build and open what a learner gets."""

from __future__ import annotations

from pathlib import Path

import click

from k8slab.cli import options
from k8slab.cli.console import show, show_json, steps, tell, writing

_SOLUTIONS = Path("solutions")
_COURSE = Path("book/course")

_solutions = click.option(
    "--solutions",
    type=click.Path(path_type=Path, file_okay=False),
    default=_SOLUTIONS,
    show_default=True,
    help="Where the labs' sources are.",
)
_labs = click.option(
    "--labs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("labs"),
    show_default=True,
    help="Where the built labs are.",
)


def _sources(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    """Offer the labs that have a source."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    root = context.params.get("solutions") or _SOLUTIONS
    names = sorted(path.parent.name for path in root.glob("*/exercises.yaml"))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command("new-lab")
@click.argument("name")
@click.option("--title", default="", help="The lab's title; made of its name otherwise.")
@_solutions
@options.as_json
def new_lab(*, name: str, title: str, solutions: Path, as_json: bool) -> None:
    """Begin a lab: a notebook, one exercise, its answers; it works at once.

    NAME is two digits, a dash and a word, for example 13-ebpf.
    """
    from k8slab.course.scaffold import new_lab as make  # noqa: PLC0415

    with writing(solutions):
        made = make(solutions, name, title)
    _tell_made(made, as_json=as_json)
    tell(f"next: change them, then k8slab author validate {name}")


@click.command("new-exercise")
@click.argument("lab", shell_complete=_sources)
@click.argument("name")
@click.option("--title", default="", help="Its title; made of its name otherwise.")
@click.option(
    "--stretch",
    is_flag=True,
    help="Put its cells into the stretch notebook; the first begins it.",
)
@_solutions
@options.as_json
def new_exercise(
    *, lab: str, name: str, title: str, stretch: bool, solutions: Path, as_json: bool
) -> None:
    """Add an exercise NAME to a lab: its entry, manifests, answers and cells.

    LAB is the lab's directory in solutions/, for example 05-network-policies.
    """
    from k8slab.course.scaffold import new_exercise as make  # noqa: PLC0415

    source = _source(solutions, lab)
    notebook = "stretch" if stretch else "lab"
    with writing(source):
        made = make(source, name, title, notebook=notebook)
    _tell_made(made, as_json=as_json)
    tell(f"next: change them, then k8slab author validate {lab}")


@click.command()
@click.argument("labs", nargs=-1, metavar="[LAB]...", shell_complete=_sources)
@_solutions
@click.option(
    "--course",
    type=click.Path(path_type=Path, file_okay=False),
    default=_COURSE,
    show_default=True,
    help="Where topics.yaml and claims.yaml are.",
)
@options.as_json
def validate(*, labs: tuple[str, ...], solutions: Path, course: Path, as_json: bool) -> int:
    """Say what is wrong with labs or missing in them, without a cluster.

    All labs unless some are named. Exit code 1 when something is. Whether the graders tell
    right answers from wrong ones is found out by `make mutants`.
    """
    from k8slab.course.release import sources  # noqa: PLC0415
    from k8slab.course.review import review  # noqa: PLC0415

    names = labs or tuple(source.name for source in sources(solutions))
    known = course if (course / "topics.yaml").is_file() else None
    found = [problem for name in names for problem in review(_source(solutions, name), known)]
    if as_json:
        show_json([problem.to_dict() for problem in found])
    else:
        for problem in found:
            show(str(problem))
        tell(f"{len(names)} labs, {len(found)} problems")
    return 1 if found else 0


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 when not current.")
@click.option(
    "--withdraw", is_flag=True, help="Remove the built labs that have no source any more."
)
@_solutions
@_labs
@options.as_json
def release(*, check: bool, withdraw: bool, solutions: Path, labs: Path, as_json: bool) -> int:
    """Build the labs that learners open from their sources (also: make labs).

    What no source has any more is removed where an earlier release made it and nobody wrote in
    it. All else that has no source stays, and is told.
    """
    from k8slab.course.release import build, left, stale, told  # noqa: PLC0415

    if check:
        return _tell_stale(stale(solutions, labs), as_json=as_json)
    with writing(labs):
        changed = build(solutions, labs, withdraw=withdraw)
        kept = left(solutions, labs)
    if as_json:
        show_json([str(path) for path in changed])
    for path in () if as_json else changed:
        show(told(path))
    for line in kept:
        tell(line)
    if not changed and not kept:
        tell("everything is current")
    return 0


def _tell_stale(lines: list[str], *, as_json: bool) -> int:
    if as_json:
        show_json(lines)
    for line in () if as_json else lines:
        show(line)
    if not lines:
        tell("everything is current")
    return 1 if lines else 0


@click.command()
@click.argument("lab", shell_complete=_sources)
@click.option("--solved", is_flag=True, help="Open the notebooks with their answers.")
@click.option("--no-browser", is_flag=True, help="Print the URL and open nothing.")
@_solutions
@options.name
def preview(*, lab: str, solved: bool, no_browser: bool, solutions: Path, name: str) -> None:
    """Open in JupyterLab what a learner gets, built from the source as it is now.

    It lies in a directory of its own that goes when you stop with Ctrl-C, and what you do in
    it is not written into your own progress.
    """
    import tempfile  # noqa: PLC0415

    from k8slab.cli.labs import open_labs  # noqa: PLC0415
    from k8slab.course.journal import VARIABLE as JOURNAL  # noqa: PLC0415
    from k8slab.course.journal import Journal  # noqa: PLC0415
    from k8slab.course.release import build_lab, build_solution, notebook_file  # noqa: PLC0415

    source = _source(solutions, lab)
    with tempfile.TemporaryDirectory(prefix="k8slab-preview-") as scratch:
        root = Path(scratch, "labs")
        journal = Journal(Path(scratch, "progress.sqlite"))
        # The own names: what the preview before set up is then one's own, and made anew.
        journal.add("", "seed", "", value=Journal().seed())
        with steps() as progress:
            progress(f"building {lab}")
            if solved:
                build_solution(source, root / source.name)
            else:
                build_lab(source, root / source.name)
        open_labs(
            root,
            notebook=f"{source.name}/{notebook_file(source.name)}",
            name=name,
            no_browser=no_browser,
            environment={JOURNAL: str(journal.path), "K8SLAB_LABS": str(root)},
        )


def _source(solutions: Path, lab: str) -> Path:
    from k8slab.errors import UsageError  # noqa: PLC0415

    source = solutions / lab
    if not (source / "exercises.yaml").is_file():
        there = sorted(path.parent.name for path in solutions.glob("*/exercises.yaml"))
        raise UsageError(
            f"there is no lab {lab!r} in {solutions}",
            hint=f"there are: {', '.join(there) or 'none'}",
        )
    return source


def _tell_made(paths: list[Path], *, as_json: bool) -> None:
    if as_json:
        show_json([str(path) for path in paths])
    else:
        for path in paths:
            show(f"wrote {path}")


COMMANDS = [new_lab, new_exercise, validate, release, preview]
