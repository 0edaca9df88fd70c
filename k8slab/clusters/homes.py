"""State directories for a while: graders start clusters in one that goes afterwards.

They lie in the state directory itself, below ``grading``. Whoever uses one holds a shared lock
on it (flock(2)), which the kernel frees however that process ends. So what a grader that was
killed left behind can be told from what is in use, and is removed by the next command that
starts clusters or ends them all. What cannot be removed is told in the log, and hinders no command.

``$K8SLAB_HOME`` may have other uses, and a ``grading`` of somebody's own in it. So a home is known
by its name, which nobody else gives a directory: unlike a file in it, the name is there from
mkdtemp(3) on until the last of a home is removed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded.config import (
    ClusterPaths,
    make_own,
    make_state_home,
    state_home,
    unusable,
)
from k8slab.errors import K8slabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIRECTORY = "grading"
PREFIX = "k8slab-tmp-"
_NAME = re.compile(f"{PREFIX}[a-z0-9_]{{8}}")
"""What `tempfile` makes of the prefix."""
AT_ONCE = 200
"""Homes that a sweep holds, each by a descriptor: a process may have 1,024 (getrlimit(2))."""


class Home:
    """A state directory that is in use until it is removed."""

    def __init__(self, path: Path) -> None:
        """Hold the directory: it stays as long as this process lives or `remove` is called."""
        self.path = path
        self._held = _locked(path, fcntl.LOCK_SH)

    def remove(self) -> None:
        """Let go of the directory and remove it, with the clusters in it."""
        if self._held >= 0:
            _end(self.path)
            os.close(self._held)
            self._held = -1


def make() -> Home:
    """Make a state directory for a while."""
    import tempfile  # noqa: PLC0415  only graders make one, and `up` is to start fast

    place = make_own(make_state_home() / DIRECTORY)
    with _alone(place):  # nobody takes it for a leftover before it is held
        return Home(Path(tempfile.mkdtemp(dir=place, prefix=PREFIX)))


def sweep() -> None:
    """Remove what killed processes left, with the clusters that still run in it.

    Raises `EnvironmentLacksError` before anything is read where the state directory is somebody
    else's: its files say which processes are to end.
    """
    if not os.path.lexists(state_home() / DIRECTORY):
        return
    place = make_state_home() / DIRECTORY
    try:
        found = sorted(path for path in place.iterdir() if _NAME.fullmatch(path.name))
    except OSError as error:
        raise unusable(place, error.strerror) from error
    if not found:
        return  # whoever has a directory of this name for other things may let others write into it
    make_own(place)
    for first in range(0, len(found), AT_ONCE):
        _sweep(place, found[first : first + AT_ONCE])


def _sweep(place: Path, homes: Sequence[Path]) -> None:
    left: list[Path] = []
    with ExitStack() as held:
        # Whoever has the place just now makes a directory or sweeps as well; the next start sweeps.
        with suppress(BlockingIOError), _alone(place, fcntl.LOCK_NB):
            left += (path for path in homes if _taken(path, held))
        for path in left:  # the place is free again: to end a cluster takes its time
            _end(path)


def _taken(left: Path, held: ExitStack) -> bool:
    """Take what nobody uses any more, until `held` closes; say whether that was possible."""
    try:
        descriptor = _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):  # in use, or removed by its user just now
        return False
    except OSError as error:  # none of ours
        _tell(left, error)
        return False
    held.callback(os.close, descriptor)
    return os.fstat(descriptor).st_uid == os.geteuid()


def _end(home: Path) -> None:
    """End the clusters of a directory and remove it; what cannot be is told, and stays."""
    from k8slab.embedded import supervisor  # noqa: PLC0415  only where there are clusters

    running = False
    for cluster in home.glob("clusters/*"):
        try:
            supervisor.stop(ClusterPaths(cluster))
        except (K8slabError, OSError) as error:
            _tell(home, error)
            running = True
    if running:
        return
    shutil.rmtree(home, ignore_errors=True)
    try:  # what is left has a reason, which is told now
        if home.exists():
            shutil.rmtree(home)
    except OSError as error:
        _tell(home, error)


def _tell(left: Path, error: Exception) -> None:
    import logging  # noqa: PLC0415  seldom needed, and `up` is to start fast

    logging.getLogger(__name__).warning(
        "%s, which graders needed for a while, cannot be removed: %s\n"
        "  end what still runs in it, and remove it by hand",
        left,
        error,
    )


@contextmanager
def _alone(place: Path, how: int = 0) -> Iterator[None]:
    held = _locked(place, fcntl.LOCK_EX | how)
    try:
        yield
    finally:
        os.close(held)


def _locked(directory: Path, how: int) -> int:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
