"""Programs under test as processes of their own, on loopback ports; their log is read live."""

import collections
import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time

_claims = collections.deque()
_CLAIMS = 20


def free_port(kind=socket.SOCK_STREAM):
    """Return a port that nobody has, below those that the kernel gives to other tests' clients.

    The program under test binds it later: an abstract name (unix(7)) keeps it from other tests,
    until `_CLAIMS` more ports have been taken.
    """
    while True:
        port = random.randint(20_000, 32_000)
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket(socket.AF_INET6, kind) as sock, contextlib.suppress(OSError):
            claim.bind(f"\0k8slab-test-port-{port}")
            sock.bind(("::", port))
            _claims.append(claim.detach())
            if len(_claims) > _CLAIMS:
                os.close(_claims.popleft())
            return port
        claim.close()


class LoggedProcess:
    """A Python program; its log lines are read as they come."""

    def __init__(self, code, argv, environment=None):
        self.lines = []
        self.rest = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *argv],
            env=os.environ | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
        )

    def wait_for(self, text, seconds=30.0):
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
            rest, _ = self.process.communicate(timeout=30)
        finally:
            self.process.kill()
            self.process.wait()
        return self.process.returncode, self.rest.decode() + rest.decode()
