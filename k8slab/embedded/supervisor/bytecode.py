"""Have Python's bytecode ready before the cluster's read-only root needs it.

Inside, nothing can be written beside the sources: without this, a fresh clone or an
edited file would be compiled at every start, which costs more than all the rest.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import sys
from pathlib import Path

ROOMS = ("embedded", "objects", "policy", "programs")
"""The rooms that the daemon imports from."""
THIRD_PARTY = ("cryptography", "httptools", "websockets")
"""Packages that the daemon imports and that installers may leave without bytecode."""


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
    compiled = _modification_times(f"{directory}/__pycache__")
    for name, modified in _modification_times(directory).items():
        if name.endswith(".py"):
            cached = f"{name[:-3]}.{sys.implementation.cache_tag}.pyc"
            # Import itself compares exactly; being older is what edits and clones look like.
            if compiled.get(cached, 0.0) < modified:
                py_compile.compile(f"{directory}/{name}", quiet=1)
        elif "." not in name and name != "__pycache__" and os.path.isdir(f"{directory}/{name}"):
            _refresh(f"{directory}/{name}")


def _modification_times(directory: str) -> dict[str, float]:
    try:
        with os.scandir(directory) as entries:
            return {entry.name: entry.stat().st_mtime for entry in entries}
    except FileNotFoundError:
        return {}
