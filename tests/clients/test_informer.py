"""Informers of client-go, the client that most controllers are made with."""

import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path(__file__).with_name("informer")
BUILD_SECONDS = 900
"""For the first build, which fetches and compiles client-go; a later one takes seconds."""

SEEN = ["add seen one", "update seen two", "delete seen two"]


@pytest.fixture(scope="session")
def informer():
    """Build the program and return the command that runs it, from Go's own cache (since 1.24)."""
    if not shutil.which("go"):
        pytest.skip("there is no Go on this machine")
    command = ["go", "run", "-mod=readonly", "-buildvcs=false", "."]
    done = subprocess.run(
        command, cwd=MODULE, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if "dial tcp" in done.stderr:
        pytest.skip(f"client-go cannot be fetched: {done.stderr.splitlines()[-1]}")
    assert "usage: informer" in done.stderr, done.stderr
    return command


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "protobuf"])
def test_informers_sync_and_see_every_change(cluster, namespace, informer, form):
    """The typed client asks for `form`; it sends protobuf and takes JSON where there is no other.

    The informers ask for a list as a stream (``sendInitialEvents``), and without the bookmark
    that ends it they would never be in sync.
    """
    done = subprocess.run(
        [*informer, str(cluster.kubeconfig), namespace, form],
        cwd=MODULE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "synced"
    assert sorted(lines[1:]) == sorted(f"{kind} {e}" for kind in ("typed", "dynamic") for e in SEEN)
