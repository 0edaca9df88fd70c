"""What mutants of an exercise were tried for, known to all workers that share the exercise.

Two mutants that do the same are one mistake. Workers are processes, each with some of the
mutants: what one of them has begun with, the others leave out. A file for each effect is the
note: of those who try to make it, one can (open(2), ``O_EXCL``).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

Effect = str | tuple[str, ...]
"""A name, or the changes that the policy engine finds, in an order that does not vary."""


@dataclass(frozen=True, slots=True)
class Tried:
    """The effects that were tried; `directory` is made with the first one."""

    directory: Path

    def add(self, effect: Effect) -> bool:
        """Note an effect; say whether nobody had noted it before."""
        self.directory.mkdir(parents=True, exist_ok=True)
        note = self.directory / sha256(repr(effect).encode()).hexdigest()
        try:
            note.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
