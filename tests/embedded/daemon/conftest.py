"""Tests marked `kernel` run in a child with user and network namespaces of its own."""

import os
import signal
import sys
import traceback
import warnings
from pathlib import Path

import pytest

from k8slab.embedded import linux


def pytest_configure(config):
    config.addinivalue_line("markers", "kernel: runs in user and network namespaces of its own")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Fork, enter namespaces, run the test there, and show what went wrong here."""
    if not pyfuncitem.get_closest_marker("kernel"):
        return None
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside xdist's thread
        pid = os.fork()
    if pid == 0:
        _child(pyfuncitem.obj, writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status:
        pytest.fail(text or f"the child ended with {status}", pytrace=False)
    return True


def _child(test, writer):
    code = 1
    try:
        signal.alarm(120)
        uid, gid = os.getuid(), os.getgid()
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNET)
        maps = (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1"))
        for name, text in maps:
            Path("/proc/self", name).write_text(text)
        test()
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it was, the parent shows it
        os.write(writer, traceback.format_exc().encode()[:60_000])
    finally:
        sys.stdout.flush()
        os._exit(code)
