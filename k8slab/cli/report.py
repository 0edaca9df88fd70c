"""status, kubeconfig, env, doctor, images: what there is, and what it needs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from k8slab.cli import options
from k8slab.cli.console import show, show_json, show_table, tell

if TYPE_CHECKING:
    from k8slab.clusters import Status


@click.command()
@options.name
@options.as_json
def status(*, name: str, as_json: bool) -> int:
    """Describe a cluster. Exit code 1 when it does not run."""
    from k8slab import clusters  # noqa: PLC0415

    found = clusters.status(name)
    if as_json:
        show_json(found.to_json())
    else:
        for label, text in _lines(found):
            show(f"{label:<14} {text}")
    return 0 if found.state == "running" else 1


def _lines(found: Status) -> list[tuple[str, str]]:
    memory = f"{found.memory_bytes / 2**20:.0f} MiB" if found.memory_bytes else ""
    versions = ", ".join(f"{what} {version}" for what, version in found.versions.items())
    lines = [
        ("name", found.name),
        ("provider", found.provider),
        ("state", f"{found.state}: {found.detail}" if found.detail else found.state),
        ("kubeconfig", found.kubeconfig),
        ("nodes", ", ".join(found.nodes)),
        ("capabilities", ", ".join(found.capabilities)),
        ("versions", versions),
        ("daemon", f"pid {found.pid}" if found.pid else ""),
        ("supervisor", f"pid {found.supervisor_pid}" if found.supervisor_pid else ""),
        ("memory", memory),
    ]
    return [line for line in lines if line[1]]


@click.command()
@options.name
def kubeconfig(*, name: str) -> None:
    """Print the path of a cluster's kubeconfig."""
    from k8slab import clusters  # noqa: PLC0415

    show(str(clusters.kubeconfig_of(name)))


@click.command()
@options.name
@click.option("--shell", type=click.Choice(["sh", "fish"]), default="sh", show_default=True)
def env(*, name: str, shell: str) -> None:
    """Print the exports with which kubectl in this shell reaches a cluster.

    \b
    eval "$(k8slab env)"                in bash, zsh, sh
    k8slab env --shell fish | source    in fish
    """  # noqa: D301  (\b is click's mark for text that is not to be wrapped)
    from k8slab import clusters  # noqa: PLC0415
    from k8slab.clusters.records import NAME_VARIABLE, chosen_name  # noqa: PLC0415

    pairs = {"KUBECONFIG": str(clusters.kubeconfig_of(name)), NAME_VARIABLE: chosen_name(name)}
    for variable, value in pairs.items():
        quoted = shlex.quote(value)
        show(f"export {variable}={quoted}" if shell == "sh" else f"set -gx {variable} {quoted}")


@click.command()
@options.as_json
def doctor(*, as_json: bool) -> int:
    """Try what a cluster needs, and say for each lack what to install.

    Exit code 3 when neither an embedded nor a kind cluster can run here.
    """
    from k8slab.clusters.doctor import examine  # noqa: PLC0415

    findings, providers = examine()
    if as_json:
        show_json({"providers": providers, "findings": [finding.to_json() for finding in findings]})
    else:
        for finding in findings:
            sign = "ok     " if finding.ok else "LACKS  " if finding.required else "without"
            show(f"{sign} {finding.what}: {finding.detail}")
            if not finding.ok and finding.remedy:
                show(f"          {finding.remedy}")
        if providers:
            tell(f"clusters that can run here: {', '.join(providers)}")
        else:
            tell("no cluster can run here yet: see LACKS above")
    return 0 if providers else 3


@click.command()
@options.as_json
def images(*, as_json: bool) -> None:
    """Show the images of the embedded cluster, and what stands in for each."""
    from k8slab.embedded.runtime.images import CATALOGUE  # noqa: PLC0415

    if as_json:
        show_json([{"image": image.name, "stands_in": image.stands_in} for image in CATALOGUE])
    else:
        show_table(("image", "what runs"), [(image.name, image.stands_in) for image in CATALOGUE])
