"""``%%apply`` and ``%kubectl``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.errors import UsageError
from k8slab.notebook.places import split

if TYPE_CHECKING:
    from k8slab.notebook.face import Face

_APPLY_HELP = "%%apply [-n NAMESPACE] [--no-wait]"


def register(face: Face) -> None:
    """Register the magics with the running IPython; without one there is nothing to do."""
    try:
        from IPython import get_ipython  # noqa: PLC0415  not there outside notebooks
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return

    def apply(line: str, cell: str) -> None:
        namespace, seconds = read_apply_line(line)
        face.apply(cell, namespace, seconds=seconds)

    def kubectl(line: str, cell: str | None = None) -> None:
        for command in [line, *(cell or "").splitlines()]:
            if command.strip() and not command.strip().startswith("#"):
                face.kubectl(command)

    shell.register_magic_function(apply, "cell", "apply")
    shell.register_magic_function(kubectl, "line_cell", "kubectl")


def read_apply_line(line: str) -> tuple[str, float]:
    """Return namespace and seconds to wait; raises `UsageError`."""
    namespace, seconds = "", 20.0
    words = split(line)
    while words:
        match words:
            case ["-n" | "--namespace", name, *rest]:
                namespace, words = name, rest
            case ["--no-wait", *rest]:
                seconds, words = 0.0, rest
            case _:
                raise UsageError(f"%%apply does not know {words[0]!r}", hint=_APPLY_HELP)
    return namespace, seconds
