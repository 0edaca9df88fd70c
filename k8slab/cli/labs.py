"""lab: open the labs in JupyterLab."""

from __future__ import annotations

import os
import shlex
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
@click.option(
    "--no-browser",
    is_flag=True,
    help="Print the URL, and how to reach it from another machine; open nothing.",
)
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

    LAB opens one of them ("01", "01-networking-model", or the path of a lab elsewhere). What
    follows `--` goes to JupyterLab. Ctrl-C stops JupyterLab and leaves the cluster running.
    """
    from k8slab.course import library  # noqa: PLC0415
    from k8slab.course.release import notebook_file  # noqa: PLC0415

    if lab.startswith("-"):  # `k8slab lab -- --option`: click takes it for the lab
        lab, jupyter_arguments = "", (lab, *jupyter_arguments)
    found = library.find(lab) if lab else None
    labs = found.directory.parent if found else library.labs_directory()
    _require_writable([found.directory] if found else library.directories(labs))
    notebook, cell = _where_one_was(lab) if resume else ("", "")
    if found and not notebook:
        notebook = f"{found.directory.name}/{notebook_file(found.name)}"
    open_labs(
        labs,
        notebook=notebook,
        cell=cell,
        name=name,
        no_browser=no_browser,
        port=port,
        arguments=jupyter_arguments,
    )


def _require_writable(labs: Sequence[Path]) -> None:
    """Raise `UsageError` where notebooks could not be saved, as in somebody else's installation."""
    from k8slab.course.library import LABS, labs_directory  # noqa: PLC0415
    from k8slab.errors import UsageError  # noqa: PLC0415

    if not labs:
        raise UsageError(
            f"there is no lab in {labs_directory()}", hint=f"let {LABS} name a directory with labs"
        )
    shut = next((lab for lab in labs if not os.access(lab, os.W_OK)), None)
    if shut is None:
        return
    # Labs lead to each other, so they go together. With -n nothing that was answered is lost.
    if shut.parent == labs_directory():
        copy = f"cp -rn {shlex.quote(str(shut.parent))}/. ~/labs; export {LABS}=~/labs"
    else:
        name = shlex.quote(shut.name)
        copy = f"cp -rn {shlex.quote(str(shut))}/. ~/{name}; k8slab lab ~/{name}"
    raise UsageError(
        f"you may not write in {shut}: what you answer in a notebook could not be saved",
        hint=f"take a copy of your own: {copy}",
    )


def _where_one_was(name: str) -> tuple[str, str]:
    """Return the notebook and the cell of what the journal tells last, of one lab or of all."""
    from k8slab.course import library  # noqa: PLC0415
    from k8slab.course.journal import Journal  # noqa: PLC0415
    from k8slab.course.resume import last_position  # noqa: PLC0415

    labs = [library.find(name)] if name else [*map(library.named, library.lab_names())]
    found = last_position(labs, Journal())
    if found is None:
        tell("nothing has been begun yet, so there is nothing to continue")
        return "", ""
    tell(f"going on at {found.title}")
    return f"{found.lab.directory.name}/{found.notebook}", found.cell


def open_labs(
    labs: Path,
    *,
    notebook: str,
    name: str,
    cell: str = "",
    no_browser: bool,
    port: int | None = None,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> None:
    """Start the cluster and JupyterLab on a directory, and serve until Ctrl-C."""
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.cli import browser, jupyterlab  # noqa: PLC0415
    from k8slab.clusters.records import NAME_VARIABLE, directory  # noqa: PLC0415

    chosen = jupyterlab.choose_port(port)
    with steps() as progress:
        cluster = clusters.up(name, progress=progress)
    tell(f"the cluster {cluster.name} is ready; starting JupyterLab")

    state = directory(cluster.name)

    def ready(url: str) -> None:
        show(url)
        tell("Ctrl-C stops JupyterLab; the cluster stays")
        if no_browser or not opened(url):
            _tell_the_way(url)
        else:
            tell("should the browser show no page, open the address above in it")

    own = {"KUBECONFIG": str(cluster.kubeconfig), NAME_VARIABLE: cluster.name}
    try:
        with browser.opener(labs, state) as opened:
            jupyterlab.serve(
                labs,
                notebook=jupyterlab.in_url(notebook, cell),
                port=chosen,
                log=state / "jupyter.log",
                environment={**own, **(environment or {})},
                arguments=arguments,
                ready=ready,
                port_retries=0 if port else jupyterlab.PORTS_TRIED,
            )
    except KeyboardInterrupt:
        other = "" if cluster.name == "k8slab" else f" --name {cluster.name}"
        tell(f"JupyterLab is stopped; the cluster runs on. To stop it: k8slab down{other}")


def _tell_the_way(url: str) -> None:
    """Say how a browser on another machine comes to this one's loopback."""
    from socket import gethostname  # noqa: PLC0415
    from urllib.parse import urlsplit  # noqa: PLC0415

    port = urlsplit(url).port
    tell("open this address in a browser on this machine; to open it on another one, run there:")
    tell(f"  ssh -L {port}:127.0.0.1:{port} {gethostname()}")
