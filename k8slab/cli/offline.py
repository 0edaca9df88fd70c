"""bundle: everything for a room without a network, in one file."""

from __future__ import annotations

from pathlib import Path

import click

from k8slab.cli import options
from k8slab.cli.console import show, show_json, steps, tell


@click.command()
@click.argument(
    "file", default="k8slab-offline.run", type=click.Path(path_type=Path, dir_okay=False)
)
@options.as_json
def bundle(*, file: Path, as_json: bool) -> None:
    """Pack the course for machines without a network, into FILE (k8slab-offline.run).

    In it are the wheels of the lock file, Envoy (for labs 04 and 06, which follow), k8slab itself
    and the labs. It is for Linux machines with
    the Python version and the processor of this one; the system's packages (nftables, iproute2,
    kubectl, ...) are to be installed on them before. It is made in a clone of the project and
    needs the network for that.

    Each learner installs their own: notebooks are saved in the installed labs. Wheels are taken
    that need no newer glibc than 2.31 (Debian 11, Ubuntu 20.04, RHEL 9).

    On the other machine `sh k8slab-offline.run DIRECTORY` installs it: its sum is looked at, a
    virtual environment and the labs are made in DIRECTORY, and what the system lacks is told.

    \b
    k8slab bundle /media/stick/k8slab-offline.run
    """  # noqa: D301
    from k8slab.course.offline import pack  # noqa: PLC0415

    with steps() as told:
        packed = pack(file, told=told)
    if as_json:
        show_json(packed.to_dict())
        return
    show(str(packed.file))
    wheels = f"{len(packed.packages) + 1} wheels, {len(packed.labs)} labs"
    tell(f"{packed.size / 1e6:.0f} MB: {wheels}; Python {packed.python} on {packed.machine}")
    tell(f"SHA-256: {packed.sha256}")
    tell(f"what a machine needs before (Debian, Ubuntu): apt-get install {' '.join(packed.system)}")
    tell(f"to install it there: sh {packed.file.name} DIRECTORY")
