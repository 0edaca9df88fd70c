"""What exactly runs in a container: image defaults, a Pod's command and args, environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.embedded.runtime import capabilities
from k8slab.embedded.runtime.messages import Program
from k8slab.embedded.runtime.rootfs import PROGRAM_PATH

if TYPE_CHECKING:
    from k8slab.embedded.runtime.containers import Container
    from k8slab.embedded.runtime.images import Image
    from k8slab.embedded.runtime.spec import ContainerSpec, ExecSpec


def environment(hostname: str, *, tty: bool = False) -> dict[str, str]:
    """Return the variables that every container has.

    Where no file can be given to another user, tar must not try it: `kubectl cp` unpacks with
    tar as root, which would else end with an error after all files were copied.
    """
    base = {"PATH": PROGRAM_PATH, "HOSTNAME": hostname, "HOME": "/root"}
    if linux.has_one_id():
        base["TAR_OPTIONS"] = "--no-same-owner"
    return {**base, "TERM": "xterm"} if tty else base


def of_container(image: Image, spec: ContainerSpec, hostname: str) -> Program:
    """Return the program of a container.

    A Pod's command replaces the image's entrypoint and its default arguments; args alone
    replace only the latter (Kubernetes: "Define a Command and Arguments for a Container").
    """
    arguments = spec.args or (() if spec.command else image.command)
    argv = (*(spec.command or image.entrypoint), *arguments)
    app = ""
    if image.app and os.path.basename(argv[0]) == os.path.basename(image.entrypoint[0]):
        app = image.app
        argv = (argv[0], *image.app_arguments, *argv[1:])
    return Program(
        app=app,
        argv=argv,
        environment={**environment(hostname, tty=spec.tty), **spec.environment},
        working_directory=spec.working_directory,
        tty=spec.tty,
        user=spec.run_as_user or 0,
        capabilities=capabilities.mask(
            capabilities.choose(
                privileged=spec.privileged,
                add=spec.add_capabilities,
                drop=spec.drop_capabilities,
            )
        ),
    )


def of_exec(container: Container, spec: ExecSpec) -> Program:
    """Return the program of an exec: the container's user, rights, directory and variables."""
    terminal = {"TERM": "xterm"} if spec.tty else {}
    return Program(
        argv=spec.argv,
        environment={**container.environment, **terminal},
        working_directory=container.spec.working_directory,
        tty=spec.tty,
        user=container.spec.run_as_user or 0,
        capabilities=container.capabilities,
    )
