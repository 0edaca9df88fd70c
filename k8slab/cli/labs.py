"""lab, check, hint, progress: working through the labs."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from k8slab.cli import options
from k8slab.cli.completion import exercise_names
from k8slab.cli.console import show, show_json, steps, tell

if TYPE_CHECKING:
    from pathlib import Path

    from k8slab.course.lab import Lab


@click.command()
@click.argument("lab", required=False, default="", shell_complete=exercise_names)
@click.argument("jupyter_arguments", nargs=-1, type=click.UNPROCESSED)
@options.name
@click.option("--no-browser", is_flag=True, help="Print the URL and open nothing.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port; by default a free one.")
def lab(
    *, lab: str, jupyter_arguments: tuple[str, ...], name: str, no_browser: bool, port: int | None
) -> None:
    """Open JupyterLab on the labs, on a running cluster.

    LAB opens one of them ("01", "01-networking-model"). What follows `--` goes to JupyterLab.
    Ctrl-C stops JupyterLab and leaves the cluster running.
    """
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.cli import jupyterlab  # noqa: PLC0415
    from k8slab.clusters.records import NAME_VARIABLE  # noqa: PLC0415
    from k8slab.course import library  # noqa: PLC0415

    labs = library.labs_directory()
    notebook = f"{library.find(lab).name}/lab.ipynb" if lab else ""
    chosen = jupyterlab.choose_port(port)
    with steps() as progress:
        cluster = clusters.up(name, progress=progress)
    tell(f"the cluster {cluster.name} is ready; starting JupyterLab")

    def ready(url: str) -> None:
        show(url)
        tell("Ctrl-C stops JupyterLab; the cluster stays")
        if not no_browser and _can_open_a_browser():
            import webbrowser  # noqa: PLC0415

            webbrowser.open(url)

    try:
        jupyterlab.serve(
            labs,
            notebook=notebook,
            port=chosen,
            log=_log(cluster.name),
            environment={"KUBECONFIG": str(cluster.kubeconfig), NAME_VARIABLE: cluster.name},
            arguments=jupyter_arguments,
            ready=ready,
            port_retries=0 if port else jupyterlab.PORTS_TRIED,
        )
    except KeyboardInterrupt:
        other = "" if cluster.name == "k8slab" else f" --name {cluster.name}"
        tell(f"JupyterLab is stopped; the cluster runs on. To stop it: k8slab down{other}")


@click.command()
@click.argument("what", metavar="LAB[/EXERCISE]", shell_complete=exercise_names)
@options.name
@options.as_json
def check(*, what: str, name: str, as_json: bool) -> int:
    """Grade an exercise, or all of a lab, by what the cluster does now.

    Exit code 1 when something is not solved yet.
    """
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.course.session import Session  # noqa: PLC0415

    lab, exercises = _chosen(what)
    results = []
    with steps() as progress:
        session = Session(lab, clusters.attach(name), told=progress)
        for exercise in exercises:
            progress(f"checking {exercise}")
            results.append(session.check(exercise))
    if as_json:
        show_json([result.to_dict() for result in results])
    else:
        for result in results:
            show(result.text())
    return 0 if all(result.passed for result in results) else 1


@click.command()
@click.argument("what", metavar="LAB/EXERCISE", shell_complete=exercise_names)
@options.name
def hint(*, what: str, name: str) -> None:
    """Give the next hint of an exercise."""
    from k8slab.clusters import records  # noqa: PLC0415
    from k8slab.course.session import Session  # noqa: PLC0415
    from k8slab.errors import UsageError  # noqa: PLC0415

    lab, exercises = _chosen(what)
    if "/" not in what:
        names = ", ".join(f"{lab.name}/{exercise}" for exercise in exercises)
        raise UsageError("a hint belongs to one exercise", hint=f"name it: {names}")
    records.chosen_name(name)
    found = Session(lab, None).hint(exercises[0])
    show(found.text)
    tell(f"hint {found.number} of {found.total}")


@click.command()
@click.argument("lab", required=False, default="", shell_complete=exercise_names)
@options.name
@options.as_json
def progress(*, lab: str, name: str, as_json: bool) -> None:
    """Show how far you are, in one lab or in all."""
    from k8slab.clusters import records  # noqa: PLC0415
    from k8slab.course import library  # noqa: PLC0415
    from k8slab.course.session import Session  # noqa: PLC0415

    records.chosen_name(name)
    names = [lab] if lab else library.lab_names()
    found = [Session(library.find(each), None).progress() for each in names]
    if as_json:
        show_json([asdict(each) | {"total": each.total} for each in found])
    else:
        for each in found:
            show(each.text())


def _chosen(what: str) -> tuple[Lab, list[str]]:
    """Return the lab and the exercises that ``LAB[/EXERCISE]`` means."""
    from k8slab.course import library  # noqa: PLC0415

    name, _, exercise = what.partition("/")
    lab = library.find(name)
    return lab, [lab.exercise(exercise).id] if exercise else [*lab.exercises]


def _log(name: str) -> Path:
    from k8slab.clusters import records  # noqa: PLC0415

    return records.directory(name) / "jupyter.log"


def _can_open_a_browser() -> bool:
    """Say whether a browser can open a window: without one a text browser would take over."""
    return sys.platform != "linux" or any(
        os.environ.get(variable) for variable in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
