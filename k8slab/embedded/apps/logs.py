"""What apps write: one line for each request, straight to the descriptor.

A buffer of Python's own would cost each pod memory and delay the log.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from k8slab.embedded.apps.sockets import written

if TYPE_CHECKING:
    from k8slab.embedded.apps.messages import Request, Response


def say(line: str) -> None:
    """Write one line to stdout."""
    os.write(1, line.encode("utf-8", "replace") + b"\n")


def complain(line: str) -> None:
    """Write one line to stderr."""
    os.write(2, line.encode("utf-8", "replace") + b"\n")


def log_line(request: Request, response: Response) -> None:
    """Write source, method, path and status; the kubelet's successful probes are left out."""
    if response.status == 200 and request.header("user-agent").startswith("kube-probe/"):
        return
    say(f"{written(request.client)} {request.method} {request.target} {response.status}")


def combined_log(request: Request, response: Response) -> None:
    """Write nginx's and httpd's combined log format."""
    moment = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    agent, referer = request.header("user-agent", "-"), request.header("referer", "-")
    what = f"{request.method} {request.target} {request.version}"
    say(
        f'{request.client[0]} - - [{moment}] "{what}" {response.status} '
        f'{len(response.body)} "{referer}" "{agent}" "-"'
    )
