"""Apps as processes of their own, on loopback ports."""

import contextlib

import pytest

from tests.embedded.processes import LoggedProcess


@contextlib.contextmanager
def running(module, *argv, environment=None, until="listening on", prelude=""):
    code = (
        f"import os, sys\nfrom {module} import main\n{prelude}\n"
        "sys.exit(main(sys.argv[1:], dict(os.environ)))"
    )
    app = LoggedProcess(code, [str(word) for word in argv], environment)
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
