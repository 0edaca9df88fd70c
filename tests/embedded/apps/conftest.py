"""Apps as processes of their own, on loopback ports."""

import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time

import pytest


def free_port(kind=socket.SOCK_STREAM):
    """Return a port that nobody has, below those that the kernel gives to other tests' clients."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket(socket.AF_INET6, kind) as sock, contextlib.suppress(OSError):
            sock.bind(("::", port))
            return port


class AppProcess:
    """One app; its log lines are read as they come."""

    def __init__(self, module, argv, environment, prelude=""):
        code = (
            f"import os, sys\nfrom {module} import main\n{prelude}\n"
            "sys.exit(main(sys.argv[1:], dict(os.environ)))"
        )
        self.lines = []
        self.rest = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *argv],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
        )

    def wait_for(self, text, seconds=10.0):
        """Read the log until a line contains `text`; return it."""
        end = time.monotonic() + seconds
        output = self.process.stdout.fileno()
        while True:
            *lines, self.rest = self.rest.split(b"\n")
            for place, line in enumerate(lines):
                self.lines.append(line.decode())
                if text in self.lines[-1]:
                    self.rest = b"\n".join([*lines[place + 1 :], self.rest])
                    return self.lines[-1]
            ready, _, _ = select.select([output], [], [], max(0, end - time.monotonic()))
            data = os.read(output, 65536) if ready else b""
            if not data:
                raise AssertionError(f"{text!r} did not come; the log: {self.lines} {self.rest}")
            self.rest += data

    def stop(self):
        """End it, and return its exit code and the rest of its log."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self.process.communicate(timeout=10)
        finally:
            self.process.kill()
            self.process.wait()
        return self.process.returncode, self.rest.decode() + rest.decode()


@contextlib.contextmanager
def running(module, *argv, environment=None, until="listening on", prelude=""):
    app = AppProcess(module, [str(word) for word in argv], environment or {}, prelude)
    try:
        app.wait_for(until)
        yield app
    finally:
        if app.process.stdout and not app.process.stdout.closed:
            app.stop()


@pytest.fixture
def start_web():
    """Start web apps: ``start_web("--port", 8080, environment={...})``."""
    with contextlib.ExitStack() as stack:

        def start(*argv, **options):
            return stack.enter_context(running("k8slab.embedded.apps.web", *argv, **options))

        yield start
