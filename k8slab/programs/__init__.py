"""The only door to other programs: find one, run one, explain what went wrong.

A program gets a deadline and never a shell. When it fails, the error carries the
command in a form that can be pasted into a terminal. When it is not there, the error
says what to install on this distribution.

Tests put a fake in the place of the real door with `replaced`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from k8slab.errors import EnvironmentLacksError, ProgramError
from k8slab.programs.packages import how_to_install

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Completed", "Door", "find", "how_to_install", "replaced", "run", "with_variable"]

DEADLINE = 30.0
"""Seconds that a program may take when the caller does not say."""

OUTPUT_SHOWN = 20
"""Lines of output that an error repeats: the end of it, where programs say why."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended; output is text, undecodable bytes replaced."""

    argv: tuple[str, ...]
    code: int
    stdout: str = ""
    stderr: str = ""

    @property
    def ok(self) -> bool:
        """Say whether the program succeeded."""
        return self.code == 0

    @property
    def command(self) -> str:
        """Return the command as it can be pasted into a shell."""
        return shlex.join(self.argv)


class Door(Protocol):
    """What stands between k8slab and other programs; a test may bring its own."""

    def find(self, program: str) -> str | None:
        """Return the path of the program, or ``None``."""
        ...

    def run(
        self, argv: Sequence[str], *, deadline: float, stdin: str, env: Mapping[str, str]
    ) -> Completed:
        """Run to the end; raise `TimeoutError` when the deadline passes."""
        ...


class _System:
    """The real door."""

    def find(self, program: str) -> str | None:
        # An ordinary user's PATH on Debian lacks the directories of `nft` and `ip`.
        return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")

    def run(
        self, argv: Sequence[str], *, deadline: float, stdin: str, env: Mapping[str, str]
    ) -> Completed:
        try:
            done = subprocess.run(
                argv,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=deadline,
                env={**os.environ, **env},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)


_doors: list[Door] = [_System()]


@contextmanager
def replaced(door: Door) -> Iterator[None]:
    """Send every program through `door` for the length of the body (for tests)."""
    _doors.append(door)
    try:
        yield
    finally:
        _doors.remove(door)


def find(program: str) -> str:
    """Return the path of a program; `EnvironmentLacksError` says what to install."""
    if path := _doors[-1].find(program):
        return path
    raise EnvironmentLacksError(f"{program} was not found", hint=how_to_install(program))


def run(
    argv: Sequence[str],
    *,
    deadline: float = DEADLINE,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Completed:
    """Run a program to its end and return what it said.

    `deadline` is in seconds; `env` is added to our own environment. With `check` an exit
    code other than 0 raises `ProgramError`; a passed deadline always does.
    """
    full = [find(argv[0]), *argv[1:]]
    command = shlex.join(argv)
    try:
        done = _doors[-1].run(full, deadline=deadline, stdin=stdin, env=env or {})
    except TimeoutError as error:
        raise ProgramError(
            f"{argv[0]} did not end within {deadline:g} s", command=command
        ) from error
    except OSError as error:
        raise ProgramError(f"{argv[0]} cannot be run: {error.strerror}", command=command) from error
    done = Completed(tuple(argv), done.code, done.stdout, done.stderr)
    if check and not done.ok:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-OUTPUT_SHOWN:]
        raise ProgramError(
            f"{argv[0]} failed with exit code {done.code}",
            command=command,
            output="\n".join(f"  {line}" for line in lines),
        )
    return done


@contextmanager
def with_variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of this process's environment for a block; what begins in it inherits it."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
