"""Open a page whose address has a secret in it.

Every user of a machine can read the arguments of all programs (/proc/PID/cmdline, proc(5)), those
of the browser too. So it is given a file that we alone can read, which leads on to the address, as
Jupyter does with ``use_redirect_file``. The file stands beside the labs where that can be: a
browser from a snap reads nothing below a hidden directory of one's home (snapcraft.io/docs,
home interface), where the state directory is. No place is readable for all of them: /tmp of a snap
is its own, and a browser outside of the machine that Linux runs in (WSL, a Chromebook) knows none
of our files. Nobody tells us what it shows, so whoever starts it says what to do then.
"""

from __future__ import annotations

import html
import os
import sys
import tempfile
import webbrowser
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PAGE = """\
<!DOCTYPE html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={url}">
<title>JupyterLab</title>
<p><a href="{url}">To the labs</a></p>
"""


@contextmanager
def opener(*directories: Path) -> Iterator[Callable[[str], bool]]:
    """Give a function that opens an address, and says whether it could; remove its files after.

    They are in the first of the directories that takes one. There may be no screen, no browser,
    and no room on the disk.
    """
    made: list[Path] = []

    def opened(url: str) -> bool:
        if not _can_open_a_window():
            return False
        for directory in directories:
            try:
                descriptor, name = tempfile.mkstemp(".html", ".k8slab-", directory)  # 0600
                made.append(Path(name))
                with os.fdopen(descriptor, "w", encoding="utf-8") as page:
                    page.write(_PAGE.format(url=html.escape(url)))
            except OSError:
                continue  # the next one may take it; the address is shown in any case
            return webbrowser.open(made[-1].absolute().as_uri())
        return False

    try:
        yield opened
    finally:
        for file in made:
            file.unlink(missing_ok=True)


def _can_open_a_window() -> bool:
    """Say whether a browser can open a window: without one a text browser would take over."""
    return sys.platform != "linux" or any(
        os.environ.get(variable) for variable in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
