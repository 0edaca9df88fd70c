"""All notebooks of the course with their answers, each on a fresh cluster, side by side.

K8SLAB_BENCH_TIMES=1 tells how long each of them took, its cluster's start and end included.
"""

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster import state
from harness import Limits, bench

from k8slab import clusters
from k8slab.course import release
from k8slab.testing.notebooks import run_notebook

SOLUTIONS = Path(__file__).parents[1] / "solutions"


def run_one(notebook):
    """Run one notebook on a cluster that nobody had before."""
    name = notebook.stem  # which no other has; a directory's name before it would be too long
    began = time.perf_counter()
    clusters.up(name, provider="embedded")
    try:
        done = run_notebook(notebook, cluster=name)
    finally:
        clusters.delete(name)
    assert done.code == 0, done.stdout
    if os.environ.get("K8SLAB_BENCH_TIMES"):
        print(f"  {name}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)


@bench("notebooks", "all notebooks, solved, each on a fresh cluster", Limits("s", 120, 30))
def notebooks():
    with state(), tempfile.TemporaryDirectory(prefix="k8slab-bench-") as scratch:
        found = release.build_solutions(SOLUTIONS, Path(scratch))
        began = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            # Long ones first, or the last one would run alone at the end.
            list(workers.map(run_one, sorted(found, key=lambda path: -path.stat().st_size)))
        yield time.perf_counter() - began
