"""author: begin labs and exercises, judge them, build and open what a learner gets."""

from __future__ import annotations

from pathlib import Path

import click

from k8slab.cli import options
from k8slab.cli.console import show, show_json, steps, tell

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

    _tell_made(make(solutions, name, title), as_json=as_json)
    tell(f"next: change them, then k8slab author validate {name}")


@click.command("new-exercise")
@click.argument("lab", shell_complete=_sources)
@click.argument("name")
@click.option("--title", default="", help="Its title; made of its name otherwise.")
@click.option("--stretch", is_flag=True, help="Put its cells into the stretch notebook.")
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
    _tell_made(make(source, name, title, notebook=notebook), as_json=as_json)
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
    from k8slab.course.review import review  # noqa: PLC0415

    names = labs or tuple(sorted(path.parent.name for path in solutions.glob("*/exercises.yaml")))
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
@_solutions
@_labs
@options.as_json
def release(*, check: bool, solutions: Path, labs: Path, as_json: bool) -> int:
    """Build the labs that learners open from their sources (also: make labs)."""
    from k8slab.course.release import build, stale, told  # noqa: PLC0415

    changed = [] if check else build(solutions, labs)
    lines = stale(solutions, labs) if check else [str(path) for path in changed]
    if as_json:
        show_json(lines)
        return 1 if check and lines else 0
    for line in lines if check else [told(path) for path in changed]:
        show(line)
    if not lines:
        tell("everything is current")
    return 1 if check and lines else 0


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
    from k8slab.course.release import build_lab, build_solution, notebook_file  # noqa: PLC0415

    source = _source(solutions, lab)
    with tempfile.TemporaryDirectory(prefix="k8slab-preview-") as scratch:
        root = Path(scratch, "labs")
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
            environment={JOURNAL: str(Path(scratch, "progress.sqlite")), "K8SLAB_LABS": str(root)},
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
