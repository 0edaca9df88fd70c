"""Pack what a learner should not trip over: keys, hints, solutions.

This is no secret and no protection: whoever wants to cheat himself can unpack it in one
line. It keeps the answer out of sight of someone who opens the file to see how a lab works.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

from k8slab.errors import ExerciseError

if TYPE_CHECKING:
    from collections.abc import Mapping


def seal(values: Mapping[str, Any]) -> str:
    """Pack JSON values into one word; the same values always give the same word."""
    plain = json.dumps(values, sort_keys=True, ensure_ascii=False).encode()
    return base64.b64encode(zlib.compress(plain, 9)).decode()


def unseal(word: str, place: str = "sealed") -> dict[str, Any]:
    """Unpack what `seal` packed; raises `ExerciseError` when it is damaged."""
    try:
        values = json.loads(zlib.decompress(base64.b64decode(word, validate=True)))
    except (ValueError, zlib.error) as error:
        raise ExerciseError(
            f"{place}: the sealed part cannot be read", hint="build the lab again: make labs"
        ) from error
    if not isinstance(values, dict):
        raise ExerciseError(f"{place}: the sealed part is no mapping")
    return values
