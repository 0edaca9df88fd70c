"""Run a notebook by nbval on a cluster, as the test command does with every lab."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from k8slab import programs

if TYPE_CHECKING:
    from pathlib import Path

    from k8slab.programs import Completed

CELL_SECONDS = 120
"""A dead kernel is noticed after this; nbval itself would wait 2,000 s."""

# Outputs are not compared (they hold addresses): cells assert what must hold.
_OPTIONS = ["-p", "nbval.plugin", "--nbval-lax", "--nbval-current-env"]
_OPTIONS += [f"--nbval-cell-timeout={CELL_SECONDS}"]


def run_notebook(notebook: Path, *, cluster: str, deadline: float = 420.0) -> Completed:
    """Run every cell in a kernel of its own; the caller's ``K8SLAB_HOME`` holds the cluster.

    The notebook's directory is the working directory, as in JupyterLab. Returns what pytest
    said: its exit code is 0 when every cell ran.
    """
    argv = [sys.executable, "-m", "pytest", *_OPTIONS, "-p", "no:cacheprovider", "-q"]
    argv += ["-c", "/dev/null", "--rootdir", str(notebook.parent), str(notebook)]
    # Without the plugins of other tests: half a second of imports for each notebook.
    environment = {"K8SLAB_CLUSTER": cluster, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return programs.run(argv, env=environment, deadline=deadline, check=False)
