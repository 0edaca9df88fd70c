"""As whom tests run programs: the tests' own user, and for root an ordinary one as well."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import k8slab

NOBODY = 65_534


@functools.cache
def ordinary_python() -> list[str] | None:
    """Return a command that is a Python of this version or newer as an ordinary user."""
    places = [Path(k8slab.__file__).parents[1], *(p for p in sys.path if p.endswith("-packages"))]
    for interpreter in dict.fromkeys([sys.executable, "/usr/bin/python3"]):
        command = [
            "setpriv",
            f"--reuid={NOBODY}",
            f"--regid={NOBODY}",
            "--clear-groups",
            "env",
            "HOME=/tmp",
            "PYTHONDONTWRITEBYTECODE=1",
            f"PYTHONPATH={os.pathsep.join(map(str, places))}",
            interpreter,
        ]
        check = "import sys, k8slab.errors, orjson, httptools; sys.exit(sys.version_info < (3, 11))"
        if (
            subprocess.run([*command, "-c", check], capture_output=True, check=False).returncode
            == 0
        ):
            return command
    return None


def python_as(user: str) -> list[str]:
    """Return the command for ``own``, our own user, or ``ordinary``."""
    if user == "own":
        return [sys.executable]
    command = ordinary_python()
    assert command is not None
    return command


def users() -> list[str]:
    """Return the users that tests can run as here."""
    return ["own", "ordinary"] if os.geteuid() == 0 and ordinary_python() else ["own"]
