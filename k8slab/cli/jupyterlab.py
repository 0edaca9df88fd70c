"""Run JupyterLab on the labs, on loopback, and stop it when we are stopped.

The server gets a session of its own, so that Ctrl-C reaches us alone: we then end it with
SIGTERM, which stops its kernels, instead of letting it ask "Shut down? (y/n)". Should we be
killed, the kernel sends it that signal (prctl(2), PR_SET_PDEATHSIG). It says on stderr when
it listens; everything else that it says goes to a log file.
"""

from __future__ import annotations

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

from k8slab.errors import EnvironmentLacksError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FIRST_PORT = 8888
"""Jupyter's own default port; the next free one after it is taken."""

PORTS_TRIED = 50

STOP_DEADLINE = 10.0
"""Seconds that the server gets to stop its kernels."""

_URL = re.compile(r"http://127\.0\.0\.1:(?P<port>\d+)")

CONFIGURATION = Path(__file__).parent / "jupyter"


def choose_port(wanted: int | None) -> int:
    """Return a free loopback port; a wanted one must be free."""
    candidates = [wanted] if wanted else range(FIRST_PORT, FIRST_PORT + PORTS_TRIED)
    for port in candidates:
        with socket.socket() as probe:
            # As the server will bind it: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise UsageError(
        f"port {wanted or FIRST_PORT} is taken", hint="give another: k8slab lab --port PORT"
    )


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

    `notebook` is what to open: a path in `labs`, with ``#cell-id=ID`` for one of its cells.
    When somebody takes the port meanwhile it tries `port_retries` others.
    """
    token = secrets.token_urlsafe(24)
    argv = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        f"--ServerApp.port_retries={port_retries}",
        f"--ServerApp.root_dir={labs}",
        f"--LabApp.extra_labextensions_path={CONFIGURATION / 'labextensions'}",
        *(["--allow-root"] if os.geteuid() == 0 else []),
        *arguments,
    ]
    with (
        log.open("w", encoding="utf-8") as file,
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
        last = ""
        told = announced = False
        for line in server.stderr:
            file.write(line)
            file.flush()
            last = line.strip() or last
            announced = announced or "is running at" in line
            url = _URL.search(line) if announced and not told else None
            if url and _listens(int(url["port"]), server):
                told = True
                path, mark, cell = notebook.partition("#")
                place = f"/tree/{path}" if path else ""
                ready(f"{url[0]}/lab{place}?token={token}{mark}{cell}")
        if not told:
            raise EnvironmentLacksError(
                f"JupyterLab ended before it listened: {last}", hint=f"its log: {log}"
            )


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
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, [str(CONFIGURATION), settings])),
    }


def _die_with_parent() -> None:
    from k8slab.embedded import linux  # noqa: PLC0415

    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _stopped_at_the_end(server: subprocess.Popen[str]) -> Iterator[None]:
    """End the server whatever ends us: Ctrl-C, SIGTERM, a closed terminal, an error."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if server.poll() is None:
            server.terminate()
            try:
                # Its pipe is drained, or it could hang writing its last words.
                server.communicate(timeout=STOP_DEADLINE)
            except subprocess.TimeoutExpired:
                server.kill()
