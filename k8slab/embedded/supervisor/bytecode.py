"""Have Python's bytecode ready before the cluster's read-only root needs it.

Inside, nothing can be written beside the sources: without this, a fresh clone or an
edited file would be compiled at every start, which costs more than all the rest.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import stat
import sys
from pathlib import Path

ROOMS = ("embedded", "objects", "policy", "programs")
"""The rooms that the daemon imports from."""
THIRD_PARTY = ("cryptography", "httptools", "websockets")
"""Packages that the daemon imports and that installers may leave without bytecode."""
_READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


def refresh() -> None:
    """Compile what has no bytecode or an older one, where this user may write."""
    package = Path(__file__).resolve().parents[2]
    for room in ROOMS:
        _refresh(str(package / room))
    for name in THIRD_PARTY:
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec else []:
            # One look is enough: an installed package does not change.
            if not os.path.isdir(f"{place}/__pycache__"):
                _refresh(place)


def _refresh(directory: str) -> None:
    if not os.access(directory, os.W_OK):
        return
    compiled = _files(f"{directory}/__pycache__")
    for name, source in _files(directory).items():
        if name.endswith(".py"):
            if not _is_fresh(
                compiled.get(f"{name[:-3]}.{sys.implementation.cache_tag}.pyc"), source
            ):
                _compile(f"{directory}/{name}")
        elif "." not in name and name != "__pycache__" and stat.S_ISDIR(source.st_mode):
            _refresh(f"{directory}/{name}")


def _is_fresh(compiled: os.stat_result | None, source: os.stat_result) -> bool:
    """Tell whether bytecode is as new as its source, and for all who can read that.

    Import itself compares times exactly; being older is what edits and clones look like.
    Inside, root's files are read by one of the cluster's unprivileged ids.
    """
    if compiled is None or compiled.st_mtime < source.st_mtime:
        return False
    return not source.st_mode & ~compiled.st_mode & _READABLE


def _compile(path: str) -> None:
    umask = os.umask(0o022)  # the supervisor's own would keep everybody else from reading it
    try:
        py_compile.compile(path, quiet=1)
    finally:
        os.umask(umask)


def _files(directory: str) -> dict[str, os.stat_result]:
    try:
        with os.scandir(directory) as entries:
            return {entry.name: entry.stat() for entry in entries}
    except FileNotFoundError:
        return {}
