"""The image catalogue: what stands in for an image, since nothing is pulled.

An entry says what runs: one of the project's apps, or the machine's own tools.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from k8slab.embedded.runtime.spec import ImageNotFoundError

WEB = "k8slab.embedded.apps.web:main"
DNS = "k8slab.embedded.dns.server:main"
WORLD = "k8slab.embedded.apps.world:main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One entry of the catalogue."""

    name: str
    """Normalised, as `normalise` returns it, without tag."""
    app: str = ""
    """``module:function`` that runs as the image's entrypoint; empty for a program."""
    entrypoint: tuple[str, ...] = ()
    """The image's ENTRYPOINT. For an app its first word is what the image calls the program."""
    command: tuple[str, ...] = ()
    """The image's CMD: the arguments when a Pod gives none."""
    app_arguments: tuple[str, ...] = ()
    """Put before the arguments of an app: which program it plays."""
    tools: bool = True
    """Whether the root has the machine's programs; without, there is no shell to exec."""
    stands_in: str = ""
    """What runs in place of the image, for ``k8slab images``."""


def _web(name: str, program: str, *command: str, mode: str) -> Image:
    return Image(
        name=name,
        app=WEB,
        entrypoint=(program,),
        command=command,
        app_arguments=("--mode", mode) if mode else (),
        stands_in=f"the project's web app{f' in the manner of {mode}' if mode else ''}",
    )


def _tools(name: str, *command: str) -> Image:
    return Image(name=name, command=command or ("sh",), stands_in="this machine's own tools")


CATALOGUE: tuple[Image, ...] = (
    _web("k8slab/app", "web", mode=""),
    Image(
        name="k8slab/app:minimal",
        app=WEB,
        entrypoint=("web",),
        tools=False,
        stands_in="the project's web app in a root without any program",
    ),
    _tools("k8slab/toolbox"),
    _tools("docker.io/library/busybox"),
    _tools("docker.io/library/alpine"),
    _tools("docker.io/library/ubuntu", "bash"),
    _tools("docker.io/library/debian", "bash"),
    _tools("docker.io/nicolaka/netshoot", "bash"),
    _tools("docker.io/curlimages/curl", "curl", "--help"),
    Image(
        name="registry.k8s.io/pause",
        command=("sleep", "infinity"),
        stands_in="a process that sleeps",
    ),
    _web("registry.k8s.io/e2e-test-images/agnhost", "/agnhost", "pause", mode="agnhost"),
    _web("docker.io/library/nginx", "nginx", mode="nginx"),
    _web("docker.io/library/httpd", "httpd-foreground", mode="httpd"),
    _web("docker.io/hashicorp/http-echo", "/http-echo", mode="http-echo"),
    _web("docker.io/traefik/whoami", "/whoami", mode="whoami"),
    Image(
        name="registry.k8s.io/coredns/coredns",
        app=DNS,
        entrypoint=("/coredns",),
        stands_in="the project's DNS server, which reads a Corefile",
    ),
)

_BY_NAME = {image.name: image for image in CATALOGUE}

APPS = (*dict.fromkeys(image.app for image in CATALOGUE if image.app), WORLD)
"""Every app there is, for the zygote to import."""


def normalise(reference: str) -> tuple[str, str]:
    """Split an image reference into its full name and its tag; a digest is left out.

    ``nginx:1.27`` gives ``("docker.io/library/nginx", "1.27")`` (distribution's reference rules:
    a first part with a dot, a colon or ``localhost`` is a registry). The project's own images
    have no registry.
    """
    name = reference.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    name, tag = (head, tail) if colon and "/" not in tail else (name, "latest")
    first = name.partition("/")[0]
    if first == "k8slab":
        return name, tag
    if "/" not in name:
        return f"docker.io/library/{name}", tag
    if "." not in first and ":" not in first and first != "localhost":
        return f"docker.io/{name}", tag
    return name, tag


def find(reference: str) -> Image:
    """Return the entry for an image reference, any tag or digest.

    Raises `ImageNotFoundError` that names the known images and the nearest one.
    """
    name, tag = normalise(reference)
    name = name.removeprefix("docker.io/") if name.startswith("docker.io/k8slab/") else name
    if image := _BY_NAME.get(f"{name}:{tag}") or _BY_NAME.get(name):
        return image
    known = {_short(image.name): image.name for image in CATALOGUE}
    near = difflib.get_close_matches(_short(name), known, n=1, cutoff=0.5)
    nearest = f"The nearest is {near[0]}. " if near else ""
    raise ImageNotFoundError(
        f'failed to pull and unpack image "{name}:{tag}": not found in the image catalogue',
        hint=f"{nearest}No image is pulled here; these stand in: {', '.join(known)}",
    )


def _short(name: str) -> str:
    return name.removeprefix("docker.io/").removeprefix("library/")
