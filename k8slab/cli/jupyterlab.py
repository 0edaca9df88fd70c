"""Run JupyterLab on the labs, on loopback, and stop it when we are stopped.

The server gets a session of its own, so that Ctrl-C reaches us alone: we then end it with
SIGTERM, which stops its kernels, instead of letting it ask "Shut down? (y/n)". Should we be
killed, the kernel sends it that signal (prctl(2), PR_SET_PDEATHSIG). It says on stderr when
it listens; everything else that it says goes to a log file.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from k8slab.cli.console import tell
from k8slab.cli.signals import ended_by_signals
from k8slab.errors import EnvironmentLacksError, K8slabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from io import RawIOBase

FIRST_PORT = 8888
"""Jupyter's own default port; the next free one after it is taken."""

PORTS_TRIED = 50

STOP_DEADLINE = 10.0
"""Seconds that the server gets to stop its kernels."""

_URL = re.compile(r"https?://127\.0\.0\.1:(?P<port>\d+)/[^\s?]*")
"""As the server prints it: the learner may have a certificate, or a base_url."""

CONFIGURATION = Path(__file__).parent / "jupyter"


def choose_port(wanted: int | None) -> int:
    """Return a free loopback port; a wanted one must be free.

    Where many have taken those that are usual, the kernel names any (0, ip(7)).
    """
    candidates = [wanted] if wanted else [*range(FIRST_PORT, FIRST_PORT + PORTS_TRIED), 0]
    for port in candidates:
        with socket.socket() as probe:
            # As the server will bind it: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise UsageError(
                        f"port {port} cannot be used: {error.strerror}",
                        hint="ports below 1024 are root's; any above will do",
                    ) from error
                continue
            found: int = probe.getsockname()[1]
            return found
    raise UsageError(f"port {wanted} is taken", hint="give another: k8slab lab --port PORT")


def serve(
    labs: Path,
    *,
    notebook: str,
    port: int,
    log: Path,
    environment: Mapping[str, str],
    arguments: Sequence[str],
    ready: Callable[[str], None],
    port_retries: int = PORTS_TRIED,
) -> None:
    """Run the server until it or we are stopped; call `ready` with the URL when it listens.

    `notebook` is what to open, of `labs`, as `in_url` returns it. Who asks for another page by
    ``--LabApp.default_url`` among the arguments gets that one.
    When somebody takes the port meanwhile it tries `port_retries` others.
    """
    token = secrets.token_urlsafe(24)
    argv = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        f"--ServerApp.port_retries={port_retries}",
        f"--ServerApp.root_dir={labs}",
        "--ServerApp.custom_display_url=",
        f"--LabApp.extra_labextensions_path={CONFIGURATION / 'labextensions'}",
        *(["--allow-root"] if os.geteuid() == 0 else []),
        *arguments,
    ]
    with (
        log.open("wb", buffering=0) as file,
        subprocess.Popen(
            argv,
            env={**os.environ, **_environment(), **environment, "JUPYTER_TOKEN": token},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        ) as server,
        _stopped_at_the_end(server),
    ):
        assert server.stderr is not None
        keep = _keeper(file)
        last = ""
        told = announced = False
        for line in server.stderr:
            keep(line)
            last = line.strip() or last
            announced = announced or "is running at" in line
            url = _URL.search(line) if announced and not told else None
            if url and _listens(int(url["port"]), server):
                told = True
                path, mark, cell = notebook.partition("#")
                page = f"{url[0]}/tree/{path}" if path and url[0].endswith("/lab") else url[0]
                ready(f"{page}?token={token}{mark}{cell}")
        if not told:
            raise EnvironmentLacksError(
                f"JupyterLab ended before it listened: {last}", hint=f"its log: {log}"
            )
        if server.wait():  # 0: from its own menu, File, Shut Down
            raise K8slabError(
                f"JupyterLab ended by itself ({_ending(server.returncode)}): {last}",
                hint=f"its log: {log}; start it again: k8slab lab --resume",
            )


def in_url(notebook: str, cell: str = "") -> str:
    """Return a path, and the cell, as they stand in a URL: names may have any character."""
    return quote(os.fsencode(notebook)) + (f"#cell-id={cell}" if cell else "")


def _ending(code: int) -> str:
    """Say how a process ended, as subprocess tells it: below zero the signal."""
    return f"exit code {code}" if code > 0 else signal.strsignal(-code) or f"signal {-code}"


def _keeper(file: RawIOBase) -> Callable[[str], None]:
    """Return what writes a line into the log; where the disk is full it says so once.

    The lines are read on: a server whose pipe is full stands still, and its kernels with it.
    """
    told = False

    def keep(line: str) -> None:
        nonlocal told
        try:
            file.write(line.encode(errors="replace"))
        except OSError as error:
            if not told:
                tell(f"the log of JupyterLab cannot be written: {error.strerror}; it runs on")
            told = True

    return keep


def _listens(port: int, server: subprocess.Popen[str]) -> bool:
    """Wait until the server listens, which it does just after it has said so; false if it ends."""
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            with suppress(subprocess.TimeoutExpired):
                server.wait(0.02)
        else:
            return True
    return False


def _environment() -> dict[str, str]:
    """Return what kernels and terminals need: our programs first, our settings beside theirs."""
    settings = os.environ.get("JUPYTER_CONFIG_PATH", "")
    programs = Path(sys.executable).parent
    return {
        "K8SLAB_TERMINAL": str(CONFIGURATION / "terminal.bash"),
        "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)]),
        "JUPYTER_PREFER_ENV_PATH": "1",  # our Python's kernel, not one of the same name at home
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, [str(CONFIGURATION), settings])),
    }


def _die_with_parent() -> None:
    from k8slab.embedded import linux  # noqa: PLC0415

    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _stopped_at_the_end(server: subprocess.Popen[str]) -> Iterator[None]:
    """End the server whatever ends us: Ctrl-C, SIGTERM, a closed terminal, an error."""
    try:
        with ended_by_signals():
            yield
    finally:
        if server.poll() is None:
            server.terminate()
            try:
                # Its pipe is drained, or it could hang writing its last words.
                server.communicate(timeout=STOP_DEADLINE)
            except subprocess.TimeoutExpired:
                server.kill()
