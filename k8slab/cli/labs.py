"""lab: open the labs in JupyterLab."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from k8slab.cli import options
from k8slab.cli.completion import exercise_names
from k8slab.cli.console import show, steps, tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@click.command()
@click.argument("lab", required=False, default="", shell_complete=exercise_names)
@click.argument("jupyter_arguments", nargs=-1, type=click.UNPROCESSED)
@options.name
@click.option("--resume", is_flag=True, help="Open the notebook, and the cell, where you were.")
@click.option("--no-browser", is_flag=True, help="Print the URL and open nothing.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port; by default a free one.")
def lab(
    *,
    lab: str,
    jupyter_arguments: tuple[str, ...],
    name: str,
    resume: bool,
    no_browser: bool,
    port: int | None,
) -> None:
    """Open JupyterLab on the labs, on a running cluster.

    LAB opens one of them ("01", "01-networking-model"). What follows `--` goes to JupyterLab.
    Ctrl-C stops JupyterLab and leaves the cluster running.
    """
    from k8slab.course import library  # noqa: PLC0415

    if lab.startswith("-"):  # `k8slab lab -- --option`: click takes it for the lab
        lab, jupyter_arguments = "", (lab, *jupyter_arguments)
    notebook = _core(library.find(lab).name) if lab else ""
    open_labs(
        library.labs_directory(),
        notebook=(_where_one_was(lab) if resume else "") or notebook,
        name=name,
        no_browser=no_browser,
        port=port,
        arguments=jupyter_arguments,
    )


def _core(lab: str) -> str:
    """Return the path of a lab's core notebook in the directory of labs."""
    from k8slab.course.release import notebook_file  # noqa: PLC0415

    return f"{lab}/{notebook_file(lab)}"


def _where_one_was(name: str) -> str:
    """Return the notebook and cell of what the journal tells last, of one lab or of all."""
    from k8slab.course import library  # noqa: PLC0415
    from k8slab.course.journal import Journal  # noqa: PLC0415
    from k8slab.course.resume import last_position  # noqa: PLC0415

    labs = [library.find(each) for each in ([name] if name else library.lab_names())]
    found = last_position(labs, Journal())
    if found is None:
        tell("nothing has been begun yet, so there is nothing to continue")
        return ""
    tell(f"going on at {found.title}")
    cell = f"#cell-id={found.cell}" if found.cell else ""
    return f"{found.lab.name}/{found.notebook}{cell}"


def open_labs(
    labs: Path,
    *,
    notebook: str,
    name: str,
    no_browser: bool,
    port: int | None = None,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> None:
    """Start the cluster and JupyterLab on a directory, and serve until Ctrl-C."""
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.cli import jupyterlab  # noqa: PLC0415
    from k8slab.clusters.records import NAME_VARIABLE  # noqa: PLC0415

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

    own = {"KUBECONFIG": str(cluster.kubeconfig), NAME_VARIABLE: cluster.name}
    try:
        jupyterlab.serve(
            labs,
            notebook=notebook,
            port=chosen,
            log=_log(cluster.name),
            environment={**own, **(environment or {})},
            arguments=arguments,
            ready=ready,
            port_retries=0 if port else jupyterlab.PORTS_TRIED,
        )
    except KeyboardInterrupt:
        other = "" if cluster.name == "k8slab" else f" --name {cluster.name}"
        tell(f"JupyterLab is stopped; the cluster runs on. To stop it: k8slab down{other}")


def _log(name: str) -> Path:
    from k8slab.clusters import records  # noqa: PLC0415

    return records.directory(name) / "jupyter.log"


def _can_open_a_browser() -> bool:
    """Say whether a browser can open a window: without one a text browser would take over."""
    return sys.platform != "linux" or any(
        os.environ.get(variable) for variable in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
