"""Have Python's bytecode ready before the cluster's read-only root needs it.

Inside, nothing can be written beside the sources: without this, a fresh clone or an
edited file would be compiled at every start, which costs more than all the rest.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import struct
from pathlib import Path

THIRD_PARTY = ("cryptography", "httptools", "websockets")
"""Packages that the daemon imports and that installers may leave without bytecode."""
_HEADER = struct.Struct("<4sIII")  # PEP 552: magic, flags, modification time, size


def refresh() -> None:
    """Compile what is not compiled, where this user may write."""
    package = Path(__file__).resolve().parents[2]
    directories = [package / room for room in ("embedded", "objects", "policy", "programs")]
    for name in THIRD_PARTY:
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec else []:
            # One look is enough: an installed package does not change.
            if not _is_fresh(Path(place, "__init__.py")):
                directories.append(Path(place))
    for directory in directories:
        for source in directory.rglob("*.py"):
            if os.access(source.parent, os.W_OK) and not _is_fresh(source):
                py_compile.compile(str(source), quiet=1)


def _is_fresh(source: Path) -> bool:
    """Tell whether the bytecode beside `source` is the one that import would take."""
    try:
        with Path(importlib.util.cache_from_source(str(source))).open("rb") as file:
            magic, flags, modified, size = _HEADER.unpack(file.read(_HEADER.size))
    except (FileNotFoundError, struct.error):
        return False
    status = source.stat()
    seconds = int(status.st_mtime) & 0xFFFFFFFF
    return (
        magic == importlib.util.MAGIC_NUMBER
        and flags == 0
        and modified == seconds
        and size == status.st_size & 0xFFFFFFFF
    )
